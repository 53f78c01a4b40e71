"""The op ``gather_motions``: motions of a ragged store as one batch that the encoder reads, in one pass."""

from __future__ import annotations

from m2t_fast import reference
from m2t_fast.ops.define import define
from m2t_fast.reference.gather import GatherInputs

__all__ = ["GatherInputs", "gather_motions"]

NAME = "gather_motions"


def _check(x: GatherInputs) -> None:
    if (x.mean is None) != (x.std is None):
        raise ValueError(f"{NAME}: got one of mean and std, expected both or none")
    if len(x.offsets) < 1 or x.frames.shape[1] < 1:
        raise ValueError(f"{NAME}: offsets has no entry or frames no joint, expected at least one")
    if isinstance(x.width, bool) or not isinstance(x.width, int):
        raise TypeError(f"{NAME}: width must be an int, got {type(x.width).__name__}")


def _check_values(x: GatherInputs) -> None:
    lengths = x.offsets.diff()
    if bool((lengths < 0).any()):
        raise ValueError(f"{NAME}: offsets descend, expected each motion to begin where the last one ends")
    longest = int(lengths[x.index].max()) if x.index.numel() else 0
    if x.width < longest:
        raise ValueError(f"{NAME}: width is {x.width}, expected at least {longest}, the longest of the motions")


gather_motions = define(
    reference.gather_motions,
    file="gather",
    differentiable=False,
    autocast=False,
    check=_check,
    check_values=_check_values,
)
