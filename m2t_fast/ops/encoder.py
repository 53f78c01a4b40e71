"""The op ``part_encoder``: body-part features of joint positions."""

from __future__ import annotations

from m2t_fast import reference
from m2t_fast.ops.define import define
from m2t_fast.reference.encoder import EncoderInputs

__all__ = ["EncoderInputs", "part_encoder"]


def _check(x: EncoderInputs) -> None:
    joints = x.motion.shape[2]
    for joint in (joint for part in x.parts for joint in part):
        if not 0 <= joint < joints:
            raise ValueError(f"part_encoder: parts names joint {joint}, expected 0 to {joints - 1}")


part_encoder = define(
    reference.part_encoder,
    file="encoder",
    saves=["parts"],
    on_request=["motion"],  # training never asks for it, and it costs a third of the gradient
    check=_check,
)
