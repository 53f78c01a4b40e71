"""Compiles csrc/cuda for every target, and writes what each kernel takes to docs/kernels-counted.md.

python docs/cuda_resources.py [--check]

Needs the nvcc that setup.py finds, and c++filt. With --check nothing is written.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "kernels-counted.md"
MARKS = "<!-- ptxas table -->", "<!-- end of ptxas table -->"
TARGETS = ("80", "90", "100")


class Resources(NamedTuple):
    """What ptxas says of one kernel for one target; registers of a thread, the rest in bytes."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


def measure(nvcc: str) -> dict[tuple[str, str], Resources]:
    """(kernel with its template arguments, target) -> resources.

    Raises:
        RuntimeError: nvcc or the host compiler refuses a source or warns of it; with its output.
    """
    found: dict[tuple[str, str], Resources] = {}
    with tempfile.TemporaryDirectory() as folder:
        jobs = [(source, target) for source in sorted((ROOT / "csrc/cuda").glob("*.cu")) for target in TARGETS]
        with ThreadPoolExecutor(2) as pool:
            for (_, target), text in zip(jobs, pool.map(lambda job: _compile(nvcc, *job, folder), jobs), strict=True):
                found |= {(kernel, f"sm_{target}"): resources for kernel, resources in _parse(text)}
    return found


def _compile(nvcc: str, source: Path, target: str, folder: str) -> str:
    """The words of ptxas."""
    command = [
        nvcc,
        "-std=c++17",
        "-O3",
        f"-I{ROOT / 'csrc'}",
        "-Xcompiler=-fPIC,-Wall,-Wextra,-Werror",
        "-Werror=all-warnings",
        "-Xptxas=-v,-warn-spills,-warn-lmem-usage",
        f"-gencode=arch=compute_{target},code=sm_{target}",
        "-c",
        str(source),
        "-o",
        f"{folder}/{source.stem}_{target}.o",
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    text = run.stdout + run.stderr
    if run.returncode != 0 or "warning" in text:
        raise RuntimeError(f"{source.name} for sm_{target}: {text}")
    return text


_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


def _parse(text: str) -> list[tuple[str, Resources]]:
    rows = []
    for entry in _ENTRY.finditer(text):
        shared = re.search(r"(\d+) bytes smem", entry["rest"])
        numbers = (int(entry[key]) for key in ("registers", "stack", "stores", "loads"))
        rows.append((readable(entry["name"]), Resources(*numbers, int(shared[1]) if shared else 0)))
    return rows


def readable(mangled: str) -> str:
    """A kernel's name with its template arguments, without namespaces and parameters."""
    full = subprocess.run(["c++filt", mangled], capture_output=True, text=True, check=True).stdout.strip()
    name = re.search(r"(\w+_kernel)(<.*?>)?\(", full)
    if name is None:
        raise RuntimeError(f"{full}: expected a name that ends in _kernel")
    arguments = (name[2] or "").replace("__nv_bfloat16", "bfloat16").replace("m2t::cuda::", "")
    return name[1] + re.sub(r"\((?:int|unsigned int|bool)\)|(?<=\d)u", "", arguments)


def table(found: dict[tuple[str, str], Resources], release: str) -> str:
    """The table of the docs."""
    head = " | ".join(f"sm_{target}" for target in TARGETS)
    lines = [f"| registers per thread, nvcc {release} | {head} |", f"| --- |{' --- |' * len(TARGETS)}"]
    for kernel in sorted({kernel for kernel, _ in found}):
        cells = " | ".join(str(found[kernel, f"sm_{target}"].registers) for target in TARGETS)
        lines.append(f"| `{kernel.removesuffix('_kernel').replace('_kernel<', '<')}` | {cells} |")
    return "\n".join(lines) + "\n"


def in_document() -> str:
    """The table that stands in docs/kernels-counted.md."""
    return DOCUMENT.read_text(encoding="utf-8").split(MARKS[0] + "\n")[1].split(MARKS[1])[0]


def replace_in_document(marks: tuple[str, str], text: str) -> None:
    """Writes what stands between two marks of docs/kernels-counted.md."""
    head, rest = DOCUMENT.read_text(encoding="utf-8").split(marks[0] + "\n")
    DOCUMENT.write_text(head + marks[0] + "\n" + text + marks[1] + rest.split(marks[1])[1], encoding="utf-8")


def main() -> int:
    """Compiles, prints, writes; 1 where a kernel spills."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from setup import find_cuda

    reason, compiler = find_cuda()
    if compiler is None:
        print(reason, file=sys.stderr)
        return 2
    nvcc, release, _ = compiler
    found = measure(nvcc)
    made = table(found, release)
    print(made)
    if not options.check:
        replace_in_document(MARKS, made)
    spilled = {key: resources for key, resources in found.items() if resources.spill_stores or resources.spill_loads}
    for key, resources in spilled.items():
        print(*key, resources, file=sys.stderr)
    return int(bool(spilled))


if __name__ == "__main__":
    sys.exit(main())
