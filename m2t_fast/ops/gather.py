"""The op ``gather_motions``: its contract, registration and dispatch."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.ops.checks import check_same_float, check_shape, checked_indices
from m2t_fast.ops.registry import chosen_backend, implementation

NAME = "gather_motions"


def gather_motions(
    frames: Tensor,
    offsets: Tensor,
    index: Tensor,
    width: int,
    mean: Tensor | None = None,
    std: Tensor | None = None,
) -> Tensor:
    """Motions of a ragged store as one batch that the encoder reads, in one pass (contract, model point 1).

    Args:
        frames: (F, J, 3) float, the positions of all N motions, one after the other; joint 0 is the root.
        offsets: (N+1,) int64; motion n is ``frames[offsets[n]:offsets[n + 1]]``.
        index: (B,) int64, 0 <= index < N; any order, repeats allowed.
        width: T, frames of the result; no motion asked for may be longer.
        mean: (3,) of each axis, and std (3,): standardise by them; None: the frames are standardised.

    Returns:
        (B, T, J, 3) in the dtype of ``frames``: every joint but the root relative to the root of its frame, as
        ``part_encoder(..., relative=True)`` takes it; 0 behind the end of a motion. Not differentiable: it is made for
        data.

    Raises:
        ValueError: a shape, device, offset, index or the width does not fit, one of mean and std is missing, or a
            tensor requires a gradient. TypeError: a dtype does not fit.
    """
    sizes: dict[str, int] = {}
    check_shape(NAME, "frames", frames, ("F", "J", 3), sizes)
    check_shape(NAME, "offsets", offsets, ("N+1",), sizes)
    check_shape(NAME, "index", index, ("B",), sizes)
    if (mean is None) != (std is None):
        raise ValueError(f"{NAME}: got one of mean and std, expected both or none")
    statistics = {} if mean is None or std is None else {"mean": mean, "std": std}
    for name, tensor in statistics.items():
        check_shape(NAME, name, tensor, (3,), sizes)
    check_same_float(NAME, frames=frames, **statistics)
    for name, tensor in {"frames": frames, **statistics}.items():
        if tensor.requires_grad:
            raise ValueError(f"{NAME}: {name} requires a gradient, expected data")
    for name, tensor in (("offsets", offsets), ("index", index)):
        if tensor.device != frames.device:
            raise ValueError(f"{NAME}: {name} is on {tensor.device}, expected {frames.device} as frames")
    motions = sizes["N+1"] - 1
    if motions < 0 or sizes["J"] < 1:
        raise ValueError(f"{NAME}: offsets has no entry or frames no joint, expected at least one")
    offsets = checked_indices(f"{NAME}: offsets", offsets, 0, sizes["F"])
    index = checked_indices(f"{NAME}: index", index, 0, motions - 1)
    if bool((offsets.diff() < 0).any()):
        raise ValueError(f"{NAME}: offsets descend, expected each motion to begin where the last one ends")
    if isinstance(width, bool) or not isinstance(width, int):
        raise TypeError(f"{NAME}: width must be an int, got {type(width).__name__}")
    longest = int(offsets.diff()[index].max()) if index.numel() else 0
    if width < longest:
        raise ValueError(f"{NAME}: width is {width}, expected at least {longest}, the longest of the motions")
    return unchecked(frames, offsets, index, width, mean, std)


def unchecked(
    frames: Tensor,
    offsets: Tensor,
    index: Tensor,
    width: int,
    mean: Tensor | None = None,
    std: Tensor | None = None,
) -> Tensor:
    """:func:`gather_motions` for callers that have checked their arguments; waits for no device."""
    return torch.ops.m2t_fast.gather_motions(frames, offsets, index, width, mean, std, chosen_backend())


@torch.library.custom_op("m2t_fast::gather_motions", mutates_args=())
def _forward(
    frames: Tensor,
    offsets: Tensor,
    index: Tensor,
    width: int,
    mean: Tensor | None,
    std: Tensor | None,
    backend: str,
) -> Tensor:
    return implementation(NAME, backend, frames)(frames, offsets, index, width, mean, std)


@_forward.register_fake
def _(frames, offsets, index, width, mean, std, backend):
    return frames.new_empty(index.shape[0], width, *frames.shape[1:])
