"""The table of ops and what runs each, from the registry: `python docs/ops_table.py` writes docs/ops.md."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

from m2t_fast.ops.registry import BACKENDS, OPS

PAGE = Path(__file__).parent / "ops.md"
HEAD = """# Ops

Every op is called as `m2t_fast.ops.NAME`, on whatever device its tensors are. `cpu` runs on any processor, `triton` and
`cuda` on NVIDIA GPUs (compute capability 8.0 and newer). `m2t-fast info` says what runs an op on this machine, and why
nothing faster. An op that a backend does not have (an empty cell), and inputs that it does not take, run on the ops
that it is made of, else on `reference`, which is PyTorch on any device.

"""


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
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
