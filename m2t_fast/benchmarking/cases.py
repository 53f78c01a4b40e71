"""All that can be measured, by name."""

from __future__ import annotations

import torch

from m2t_fast.benchmarking.case import Case
from m2t_fast.benchmarking.model_cases import DecodingCase, TrainingCase
from m2t_fast.benchmarking.op_case import OpCase
from m2t_fast.benchmarking.sizes import OP_INPUTS, Size

CASES: tuple[str, ...] = (*OP_INPUTS, "training_step", "greedy", "beam")
"""Names for :func:`case_of`."""


def case_of(name: str, size: Size, scoring: str, device: torch.device, backward: bool = True) -> Case:
    """The case ``name`` of CASES; ``backward`` matters to ops alone.

    Raises:
        ValueError: no such case.
    """
    if name in OP_INPUTS:
        return OpCase(name, size, scoring, device, backward)
    if name == "training_step":
        return TrainingCase(name, size, scoring, device)
    if name in ("greedy", "beam"):
        return DecodingCase(name, size, scoring, device)
    raise ValueError(f"name: got {name!r}, expected one of {', '.join(CASES)}")
