"""Captions with a forced gate beside those with the model's own (table 3 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from m2t_fast.evaluation.tables import escape_markdown
from m2t_fast.wording import counted

SHOWN = 5


def compare_gates(
    forced: Sequence[dict[str, Any]], adaptive: Sequence[dict[str, Any]], force_gate: float
) -> list[dict[str, Any]]:
    """Side by side, from the records of :func:`m2t_fast.evaluation.evaluate` with and without ``force_gate``.

    Returns:
        per motion ``id``, ``force_gate``, ``forced`` and ``adaptive`` (the captions as they were compared), and
        ``references``.

    Raises:
        ValueError: the records are not of the same motions.
    """
    if [record["id"] for record in forced] != [record["id"] for record in adaptive]:
        raise ValueError("adaptive: got records of other motions than in forced, expected the same in the same order")
    return [
        {
            "id": one["id"],
            "force_gate": force_gate,
            "forced": one.get("processed", one["prediction"]),
            "adaptive": other.get("processed", other["prediction"]),
            "references": one["references"],
        }
        for one, other in zip(forced, adaptive, strict=True)
    ]


def format_gates(comparison: Sequence[dict[str, Any]]) -> str:
    """The first few motions whose captions differ, or the first few where none does, for a terminal."""
    different = [entry for entry in comparison if entry["forced"] != entry["adaptive"]]
    motions = counted(len(comparison), "motion")
    lines = [f"the forced gate changes the captions of {len(different):,} of {motions}, such as"]
    for entry in (different or list(comparison))[:SHOWN]:
        lines += [
            f"  {entry['id']}",
            f"    gate {entry['force_gate']:<6g} {entry['forced']}",
            f"    adaptive    {entry['adaptive']}",
            f"    reference   {entry['references'][0]}",
        ]
    if not different:
        lines[0] = f"the forced gate changes no caption of {motions}; the first:"
    return "\n".join(lines)


def gates_markdown(comparison: Sequence[dict[str, Any]]) -> str:
    """All motions as a pipe table with the columns of table 3; the reference is the first of each motion."""
    if not comparison:
        return ""
    lines = [f"| motion | β = {comparison[0]['force_gate']:g} | adaptive β | reference |", "| --- | --- | --- | --- |"]
    for entry in comparison:
        cells = (entry["id"], entry["forced"], entry["adaptive"], entry["references"][0])
        lines.append(f"| {' | '.join(map(escape_markdown, cells))} |")
    return "\n".join(lines) + "\n"
