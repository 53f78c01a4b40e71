"""Reads from the machine code what each CUDA kernel takes, and writes it to docs/kernels-counted.md.

python docs/cuda_resources.py [--check]

Needs m2t_fast built with its CUDA kernels, the package triton, which carries cuobjdump, and c++filt. With --check
nothing is written.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import machine_code  # noqa: E402

DOCUMENT = ROOT / "docs" / "kernels-counted.md"
MARKS = "<!-- ptxas table -->", "<!-- end of ptxas table -->"


class Extension(NamedTuple):
    """The extension that is installed: its file, the nvcc that compiled its kernels, and the targets of its code."""

    path: Path
    release: str
    targets: tuple[int, ...]


def extension() -> Extension | None:
    """The one of this environment; None where it was built without CUDA."""
    from m2t_fast import native

    info = native.build_info()
    if "cuda" not in info:
        return None
    from m2t_fast import _native

    return Extension(
        Path(_native.__file__), info["cuda"], tuple(map(int, re.findall(r"sm_(\d+)", info["cuda_targets"])))
    )


def measure(built: Extension) -> dict[tuple[str, int], machine_code.Resources]:
    """(kernel with its template arguments, target) -> what it takes."""
    found = {}
    for target in built.targets:
        taken = machine_code.resources(built.path, target)
        found |= {(name, target): taken[symbol] for symbol, name in readable(taken).items()}
    return found


def readable(symbols: Iterable[str]) -> dict[str, str]:
    """Kernels' names with their template arguments, without namespaces and parameters, by symbol."""
    symbols = list(symbols)
    said = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True).stdout
    return dict(zip(symbols, map(_short, said.splitlines()), strict=True))


def _short(full: str) -> str:
    name = re.search(r"(\w+_kernel)(<.*?>)?\(", full)
    if name is None:
        raise RuntimeError(f"{full}: expected a name that ends in _kernel")
    arguments = (name[2] or "").replace("__nv_bfloat16", "bfloat16").replace("m2t::cuda::", "")
    return name[1] + re.sub(r"\((?:int|unsigned int|bool)\)|(?<=\d)u", "", arguments)


def table(found: dict[tuple[str, int], machine_code.Resources], release: str) -> str:
    """The table of the docs."""
    targets = sorted({target for _, target in found})
    head = " | ".join(f"sm_{target}" for target in targets)
    lines = [f"| registers per thread, nvcc {release} | {head} |", f"| --- |{' --- |' * len(targets)}"]
    for kernel in sorted({kernel for kernel, _ in found}):
        taken = (found.get((kernel, target)) for target in targets)
        cells = " | ".join("" if x is None else str(x.registers) for x in taken)
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
    """Reads, prints, writes; 1 where a kernel spills."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    built = extension()
    if built is None:
        print("m2t_fast was built without its CUDA kernels", file=sys.stderr)
        return 2
    found = measure(built)
    made = table(found, built.release)
    print(made)
    if not options.check:
        replace_in_document(MARKS, made)
    spilled = {key: taken for key, taken in found.items() if taken.spilled}
    for key, taken in spilled.items():
        print(*key, taken, file=sys.stderr)
    return int(bool(spilled))


if __name__ == "__main__":
    sys.exit(main())
