"""The documentation of an op: that of its reference, and the facts of its declaration."""

from __future__ import annotations

from typing import Any


def documentation(op: Any, text: str) -> str:
    """The reference's documentation with the facts of the declaration."""
    shapes = []
    for f in op.fields:
        if f.kind is not None:
            shapes.append(f"        {f.name}: ({', '.join(f.kind.shape.split())})")
    lines = [
        text.strip(),
        "",
        "    Shapes:",
        *shapes,
        "",
        "    Differentiable in every float input and through every output." if op.differentiable else "",
        "    Under ``torch.autocast`` in its dtype, whatever the inputs' are." if op.autocast else "",
        "",
        "    Raises:",
        "        ValueError: a shape or device does not fit, or an index or option is out of range.",
        "        TypeError: a dtype does not fit.",
    ]
    return "\n".join(lines) + "\n"
