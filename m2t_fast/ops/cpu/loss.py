"""Launches ``spatial_loss`` and its gradient."""

from __future__ import annotations

from torch import Tensor

from m2t_fast.ops.cpu.launch import empty, ready, run
from m2t_fast.reference.loss import LossInputs


def spatial_loss(x: LossInputs) -> Tensor:
    """The loss of ``ops.spatial_loss``."""
    return _run("spatial_loss_forward", x, ())


def spatial_loss_backward(grad: Tensor, x: LossInputs) -> dict[str, Tensor]:
    """Gradient (B, L, T, P) of ``spatial``."""
    return dict(spatial=_run("spatial_loss_backward", x, x.spatial.shape, grad=float(grad)))


def _run(name: str, x: LossInputs, shape: tuple[int, ...], **more: float) -> Tensor:
    spatial = ready(x.spatial)
    target, lengths = x.target.to(spatial.dtype).contiguous(), x.lengths.contiguous()
    batch, words, frames, parts = spatial.shape
    out = empty(shape, spatial)
    run(
        name,
        spatial.dtype,
        sizes=dict(batch=batch, words=words, frames=frames, parts=parts),
        inputs=dict(spatial=spatial, target=target, lengths=lengths),
        outputs=dict(out=out),
        **more,
    )
    return out.to(x.spatial.dtype)
