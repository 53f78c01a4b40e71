"""Makes the tables of README.md, docs/benchmarks.md and docs/released.md from benchmarks/results/*.json.

    python benchmarks/tables.py [--check] [--merge gpu-results.tar.gz ...]

A table has a set of columns for each device and a row for everything that was measured.
--merge first adds what an archive of `make gpu` holds: results of the same device are merged, tuned launch
configurations go to kernels/devices. --check changes nothing; exit code 1 if a document is not what it would write.
Standard library only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cpu_tables
import gpu_archive
import gpu_results
from gpu_results import identity

DOCUMENT = Path(os.environ.get("M2T_FAST_DOCUMENT") or gpu_results.ROOT / "docs" / "benchmarks.md")
NONE = "Not measured yet: `make gpu`."
Results = list[dict[str, Any]]
"""Of all devices, each as its file holds it."""


def devices() -> Results:
    """Results of every GPU that has some."""
    found = [gpu_results.read(path) for path in sorted(gpu_results.folder().glob("*.json"))]
    return [results for results in found if isinstance(results.get("sections"), dict)]


def trainings() -> Results:
    """Results of `train.py` on every device that has some, the processor first."""
    found = [gpu_results.read(path) for path in sorted(gpu_results.folder().glob("train_*.json"))]
    return sorted((x for x in found if x.get("data")), key=lambda x: x["machine"]["device"] != "cpu")


def heading(results: dict[str, Any], section: str) -> str:
    """What was measured where and when, in one line."""
    used = results.get("software", {}).get(section, {})
    line = f"{results['device']}, torch {used.get('torch')}, Triton {used.get('triton')}, {used.get('date')}"
    rates = ceilings(results)
    if "bytes_per_s" in rates and section == "attention":
        line += "; measured ceilings: "
        tanh = [f"{rates[n]:.3g} {n.split('_')[-1]} tanh per second" for n in rates if n.startswith("tanh")]
        line += ", ".join([*tanh, f"{rates['bytes_per_s'] / 1e9:.0f} GB/s copied"])
    return line + "."


def ceilings(results: dict[str, Any]) -> dict[str, float]:
    """By name, per second."""
    rows = results["sections"].get("ceilings", [])
    return {row["ceiling"]: row["ways"]["measured"]["value"] for row in rows if "value" in row["ways"]["measured"]}


def times(values: dict[str, Any]) -> list[float] | None:
    """Of a way: the device's where they are known, else the call's."""
    found = values.get("replay") or values.get("call")
    return found if found is None else list(found)


def cell(values: dict[str, Any] | None, ours: dict[str, Any] | None) -> str:
    """Milliseconds, those of an ordinary call beside those of a replay, and how many times ours they are."""
    if values is None:
        return ""
    found, base = times(values), times(ours) if ours else None
    if found is None:
        return str(values.get("note", "")).partition(":")[0][:60]
    text = f"{found[0]:.3f}"
    if "replay" in values:
        text += f" (call {values['call'][0]:.3f})"
    if base is not None and values is not ours:
        text += f", {found[0] / base[0]:.1f}x"
    return text


def attention_extra(row: dict[str, Any], results: dict[str, Any]) -> list[str]:
    """Shares of both ceilings that our fastest way reaches."""
    rates, ours = ceilings(results), fastest(row, ("triton", "cuda"))
    kind = "exact" if row["dtype"] == "float32" else "approximate"
    cells = []
    for done, ceiling in (("tanh", f"tanh_per_s_{kind}"), ("bytes", "bytes_per_s")):
        known = ours is not None and ceiling in rates and done in ours
        cells.append(f"{ours[done] / (times(ours)[0] / 1e3) / rates[ceiling]:.0%}" if known else "")  # type: ignore[index]
    return cells


def decoding_extra(row: dict[str, Any], results: dict[str, Any]) -> list[str]:
    """Words per second."""
    ours = fastest(row, ("cuda",))
    return ["" if ours is None else f"{1e3 * row['motions'] * row['words'] / times(ours)[0]:,.0f}"]  # type: ignore[index]


def guided_extra(row: dict[str, Any], results: dict[str, Any]) -> list[str]:
    """The most memory that either way holds, MiB."""
    held = [row["ways"].get(way, {}).get("peak_bytes") for way in ("folded", "apart")]
    return ["" if x is None else f"{x / 2**20:.0f}" for x in held]


def fastest(row: dict[str, Any], ways: Iterable[str]) -> dict[str, Any] | None:
    """The values of the fastest of these ways, None where none has a time."""
    timed = [row["ways"][way] for way in ways if way in row["ways"] and times(row["ways"][way])]
    return min(timed, key=lambda values: times(values)[0], default=None)  # type: ignore[index]


KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], Callable[..., list[str]]]] = {
    "attention": (
        ("triton", "cuda", "eager", "torch.compile", "word by word"),
        ("triton", "cuda"),
        ("of the tanh ceiling", "of the copy ceiling"),
        attention_extra,
    ),
    "guided": (("folded", "apart"), ("folded",), ("MiB folded", "MiB apart"), guided_extra),
    "decoding": (
        ("cuda", "cuda bfloat16", "PyTorch", "CUDA graph", "one by one", "torch.compile"),
        ("cuda",),
        ("words/s",),
        decoding_extra,
    ),
}
"""By section: its ways, those that are ours, further columns and what makes them."""


def table(section: str, found: Results) -> str:
    """The Markdown of a section over all devices."""
    ways, own, more, extra = KINDS[section]
    found = [results for results in found if any(_timed(row) for row in results["sections"].get(section, []))]
    if not found:
        return NONE
    rows: list[dict[str, Any]] = []
    for results in found:
        rows += [i for row in results["sections"][section] if _timed(row) and (i := identity(row)) not in rows]
    columns = [*rows[0]]
    for results in found:
        prefix = f"{_nickname(results['device'])}: " if len(found) > 1 else ""
        columns += [f"{prefix}{name}" for name in (*(f"{way} ms" for way in ways), *more)]
    lines = [*(heading(results, section) for results in found), "", _line(columns), "|" + " --- |" * len(columns)]
    for row in rows:
        cells = [str(value) for value in row.values()]
        for results in found:
            own_row = next((r for r in results["sections"][section] if identity(r) == row), None)
            if own_row is None:
                cells += [""] * (len(ways) + len(more))
                continue
            ours = fastest(own_row, own)
            cells += [cell(own_row["ways"].get(way), ours) for way in ways]
            cells += extra(own_row, results)
        lines.append(_line(cells))
    return "\n".join(lines)


def _timed(row: dict[str, Any]) -> bool:
    return any(times(values) for values in row["ways"].values())


def _nickname(device: str) -> str:
    """``H100`` of ``NVIDIA H100 80GB HBM3``."""
    words = [word for word in device.split() if word.upper() not in ("NVIDIA", "GEFORCE", "TESLA")]
    return words[0] if words else device


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def training_rows(found: dict[str, Any]) -> list[str]:
    """The table's rows of one data set, those of ways that were timed."""
    lines, ours = [], found["ways"].get("ours", {}).get("seconds_epoch")
    for way, row in found["ways"].items():
        full = found["seconds_full"].get(way)
        cells = [found["data"], found["dtype"], way, f"{row['samples_per_second']:,.0f}"]
        cells += [_seconds(row["seconds_epoch"]), "" if full is None else _seconds(full)]
        cells.append(f"{row['buckets_timed']} of {len(found['buckets'])}")
        cells.append("" if way == "ours" or not ours else f"{row['seconds_epoch'] / ours:.1f}x")
        validation = found.get("seconds_validation")
        whole = "" if validation is None else _seconds(found["epochs"] * (row["seconds_epoch"] + validation))
        cells.append(f"{whole} ({found['epochs']} epochs)" if way == "ours" and whole else "")
        lines.append(_line(cells))
    return lines


def _seconds(value: float) -> str:
    if value >= 7200:
        return f"{value / 3600:,.1f} h"
    return f"{value / 60:.1f} min" if value >= 120 else f"{value:.3g} s"


def training_table(found: Results) -> str:
    """The Markdown of the training results of these devices."""
    if not found:
        return NONE
    lines = []
    for result in found:
        machine = result["machine"]
        device = "" if machine["device"] == "cpu" else f"{machine['device']}, "
        threads = f"{machine['threads']} thread{'s' if machine['threads'] > 1 else ''}"
        versions = f"torch {machine['torch']}, m2t_fast {machine['m2t_fast']}"
        lines += [f"{device}{machine['processor']}, {threads}, {versions}, {machine['date']}.", ""]
        names = ("data", "dtype", "way", "samples/s", "epoch (extrapolated)", "epoch (run whole)", "buckets timed")
        names = (*names, "ours is faster", "whole run")
        lines += [_line(names), "|" + " --- |" * len(names)]
        lines += [line for data in result["data"] for line in training_rows(data)] + [""]
    return "\n".join(lines).rstrip()


def document() -> str:
    """docs/benchmarks.md with its tables as the results have them."""
    text, gpus, training = DOCUMENT.read_text(), devices(), trainings()
    for section in KINDS:
        text = _between(text, f"gpu {section}", table(section, gpus))
    for kind in ("cpu", "cuda"):
        chosen = [x for x in training if (x["machine"]["device"] == "cpu") == (kind == "cpu")]
        text = _between(text, f"training table, {kind}", training_table(chosen))
    text = _between(text, "cpu ways", cpu_tables.ways_table("../benchmarks/results", front=False))
    for name, made in (
        ("step", cpu_tables.step_table),
        ("ops", cpu_tables.ops_line),
        ("lengths", cpu_tables.lengths_line),
    ):
        text = _between(text, f"cpu {name}", made())
    return text


def documents() -> dict[Path, str]:
    """Every document with its tables as the results have them."""
    found = {DOCUMENT: document()}
    docs = gpu_results.ROOT / "docs"
    readme, released, kernels = gpu_results.ROOT / "README.md", docs / "released.md", docs / "kernels-cpu.md"
    # Results from elsewhere, or a bundle without the checkout's documents, leave them alone.
    if readme.exists() and released.exists() and not {"M2T_FAST_DOCUMENT", "M2T_FAST_RESULTS"} & os.environ.keys():
        text = _between(readme.read_text(), "speed", cpu_tables.ways_table())
        found[readme] = _between(text, "first caption", cpu_tables.first_caption())
        found[released] = _between(released.read_text(), "cpu drop-in", cpu_tables.drop_in_table())
        found[kernels] = _between(kernels.read_text(), "cpu waiting", cpu_tables.waiting_table())
    return found


def _between(text: str, name: str, new: str) -> str:
    """The text with a table between its marks; without results in M2T_FAST_RESULTS the earlier table stays."""
    if new in (NONE, cpu_tables.NONE) and "M2T_FAST_RESULTS" in os.environ:
        return text
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    head, rest = text.split(begin)
    return f"{head}{begin}\n{new}{chr(10) * bool(new)}{end}{rest.split(end)[1]}"


def write() -> None:
    """Write the documents, each in one step."""
    for path, text in documents().items():
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text)
        os.replace(temporary, path)


def merge(archive: Path) -> list[Path]:
    """The files that an archive's results and tuned configurations went to."""
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for path in gpu_archive.unpack(archive, Path(folder)):
            if path.parent.name == "results" and path.suffix == ".json":
                made.append(gpu_results.merge_file(path))
            elif path.parent.name == "devices" and path.suffix == ".json":
                made.append(gpu_results.tuned() / path.name)
                shutil.copy(path, made[-1])
    return made


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--merge", type=Path, nargs="+", default=[], help="archives of `make gpu`")
    arguments = parser.parse_args()
    if arguments.check:
        stale = [path for path, text in documents().items() if text != path.read_text()]
        for path in stale:
            print(f"{path} is not what `python benchmarks/tables.py` writes", file=sys.stderr)
        return 1 if stale else 0
    try:
        for archive in arguments.merge:
            for path in merge(archive):
                print(f"merged into {path}")
    except (OSError, ValueError, gpu_archive.tarfile.TarError) as error:
        print(f"benchmarks/tables.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    write()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
