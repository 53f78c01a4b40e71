"""Runs the GPU benchmarks within a budget of seconds, one section after the other, and keeps what each has measured.

    python benchmarks/gpu.py [--budget SECONDS] [--section NAME ...] [--no-write]

Writes benchmarks/results/DEVICE.json and the tables of docs/benchmarks.md as soon as a line of them is measured: a run
that is killed leaves the lines it came to. A section is one line of SECTIONS and a module in this folder.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import gpu_attention
import gpu_ceilings
import gpu_decoding
import gpu_guided
import torch
from gpu_part import Part

from m2t_fast.files import atomic_path
from m2t_fast.kernels.devices import file_name
from m2t_fast.ops.registry import why_unavailable

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENT = ROOT / "docs" / "benchmarks.md"


class Section(NamedTuple):
    """One line of the run."""

    name: str
    """Its key in the results, and its table's place in the document: between `gpu NAME` and `end of gpu NAME`."""
    measure: Callable[[Part], None]
    """Fills ``part.values`` and calls ``part.save()`` after every line; asks ``part.spent()`` before the next."""
    share: float
    """Of the budget, relative to the others'; what a section leaves goes to those behind it."""
    table: Callable[[dict[str, Any]], str] | None
    """The Markdown of its results, from all of them; None: it has no table."""


SECTIONS = (
    Section("ceilings", gpu_ceilings.measure, 0.05, None),
    Section("decoding", gpu_decoding.measure, 0.35, gpu_decoding.table),
    Section("attention", gpu_attention.measure, 0.5, gpu_attention.table),
    Section("guided", gpu_guided.measure, 0.1, gpu_guided.table),
)


def run(sections: tuple[Section, ...], budget: float, device: str, name: str, write: bool) -> dict[str, Any]:
    """All ``sections`` on ``device``, whose results and tables bear ``name``; what fails says so in its results."""
    started = time.monotonic()
    results: dict[str, Any] = {
        "device": name,
        "torch": torch.__version__,
        "triton": importlib.metadata.version("triton"),
        "cuda": torch.version.cuda,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "budget": round(budget, 1),
        "sections": {},
    }
    for i, section in enumerate(sections):
        values = results["sections"][section.name] = {}
        left = max(0.0, started + budget - time.monotonic())
        until = time.monotonic() + left * section.share / sum(s.share for s in sections[i:])

        def save(section: Section = section) -> None:
            results["seconds"] = round(time.monotonic() - started, 1)
            if write:
                write_results(results)
                write_table(section, results)

        try:
            section.measure(Part(device, until, values, results, save))
        except Exception as error:  # one section's failure must not cost the others their numbers
            values["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
            print(f"{section.name}: {values['error']}", file=sys.stderr, flush=True)
        save()
    return results


def write_results(results: dict[str, Any]) -> None:
    """The numbers, to benchmarks/results/."""
    RESULTS.mkdir(exist_ok=True)
    with atomic_path(RESULTS / file_name(results["device"])) as path:
        path.write_text(json.dumps(results, indent=1) + "\n")


def write_table(section: Section, results: dict[str, Any]) -> None:
    """A section's table into the document, once it has a line."""
    if section.table is None or not results["sections"][section.name].get("rows"):
        return
    begin, end = f"<!-- gpu {section.name} -->", f"<!-- end of gpu {section.name} -->"
    head, rest = DOCUMENT.read_text().split(begin)
    _, tail = rest.split(end)
    with atomic_path(DOCUMENT) as path:
        path.write_text(f"{head}{begin}\n{heading(results)}\n\n{section.table(results)}\n{end}{tail}")


def heading(results: dict[str, Any]) -> str:
    """What was measured where and when, in one line."""
    versions = f"torch {results['torch']}, Triton {results['triton']}, CUDA {results['cuda']}"
    line = f"{results['device']}, {versions}, {results['date']}"
    rate = results["sections"].get("ceilings", {})
    if "bytes_per_s" in rate:
        line += (
            f"; measured ceilings: {rate['tanh_per_s_exact']:.3g} exact and {rate['tanh_per_s_approximate']:.3g} "
            f"approximate tanh a second, {rate['bytes_per_s'] / 1e9:.0f} GB/s copied"
        )
    return line + "."


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=240.0, help="seconds after which lines are left out")
    parser.add_argument("--section", action="append", choices=[s.name for s in SECTIONS], help="default: all")
    parser.add_argument("--no-write", action="store_true", help="print alone")
    arguments = parser.parse_args()
    reason = why_unavailable("triton") or (None if torch.cuda.is_available() else "no CUDA device")
    if reason is not None:
        print(f"benchmarks/gpu.py: {reason}", file=sys.stderr)
        return 2
    sections = tuple(s for s in SECTIONS if arguments.section is None or s.name in arguments.section)
    results = run(sections, arguments.budget, "cuda", torch.cuda.get_device_name(), not arguments.no_write)
    for section in sections:
        if section.table is not None and results["sections"][section.name].get("rows"):
            print(section.table(results))
    failed = [name for name, values in results["sections"].items() if "error" in values]
    if failed:
        print(f"benchmarks/gpu.py: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
