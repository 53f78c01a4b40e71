"""The table of ops and what runs each, from the registry: `python docs/ops_table.py` writes docs/ops.md."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from m2t_fast.ops.registry import BACKENDS, OPS

PAGE = Path(__file__).parent / "ops.md"
HEAD = """# Ops

Every op is called as `m2t_fast.ops.NAME`, on whatever device its tensors are on. `m2t-fast info` shows what runs an op
on this machine, and why nothing faster does. [A tutorial](tutorials/ops.md) calls some of them.

{backends}
What falls back, and an op that a backend does not have (an empty cell below), runs on the ops that it is made of, else
on `reference`. float32 means float32: [the numerics policy](numerics.md#the-numerics-policy) holds on every backend.

"""


BACKEND_ROWS = {
    "reference": (
        "any device of torch",
        "any float dtype",
        "nothing: it is plain PyTorch with gradients written out",
    ),
    "cpu": (
        "any processor; AVX2 or AVX-512 where there is one",
        "float32, float64; 16-bit dtypes are computed in float32, with AVX512_BF16 products of bfloat16 in bfloat16",
        "`gather_motions` of other dtypes than float32 and float64",
    ),
    "triton": (
        "NVIDIA GPUs, compute capability 7.5 and newer",
        "float32, float16; bfloat16 from 8.0 on",
        "float64",
    ),
    "cuda": (
        "NVIDIA GPUs, compute capability 7.5 and newer, where it was built with nvcc",
        "float32; float16 is computed in float32, but for sums on the matrix units; bfloat16 from 8.0 on",
        "float64; searches on 7.5, and with more than 1,024 beams or 2,048 parts",
    ),
}
"""By backend: where it runs, in which dtypes, and which inputs fall back."""


def functions(backend: str, file: str) -> set[str]:
    """The functions of a backend's module, without importing it: it may need a GPU."""
    spec = importlib.util.find_spec(f"m2t_fast.ops.{backend}.{file}")
    if spec is None or spec.origin is None:
        return set()
    names: set[str] = set()
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def page() -> str:
    """The page as text."""
    lines = [f"| op | gradient | {' | '.join(BACKENDS)} |", f"| --- | --- | {' | '.join('---' for _ in BACKENDS)} |"]
    for name in sorted(OPS):
        op = OPS[name]
        have = ["yes" if backend == "reference" or name in functions(backend, op.file) else "" for backend in BACKENDS]
        lines.append(f"| `{name}` | {'yes' if op.gradients else 'none'} | {' | '.join(have)} |")
    backends = ["| backend | runs on | dtypes | what falls back |", "| --- | --- | --- | --- |"]
    backends += [f"| `{name}` | {' | '.join(BACKEND_ROWS[name])} |" for name in BACKENDS]
    return HEAD.format(backends="\n".join(backends) + "\n") + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
