"""Launches ``spatial_loss`` and its gradient."""

from __future__ import annotations

from torch import Tensor

from m2t_fast.ops.cpu.launch import address, empty, how, kernel, ready
from m2t_fast.reference.loss import LossInputs


def spatial_loss(x: LossInputs) -> Tensor:
    """The loss of ``ops.spatial_loss``."""
    return _run("spatial_loss_forward", x, (), 1.0)


def spatial_loss_backward(grad: Tensor, x: LossInputs) -> dict[str, Tensor]:
    """Gradient (B, L, T, P) of ``spatial``."""
    return dict(spatial=_run("spatial_loss_backward", x, x.spatial.shape, float(grad)))


def _run(name: str, x: LossInputs, shape: tuple[int, ...], grad: float) -> Tensor:
    alpha = ready(x.spatial)
    target, lengths = x.target.to(alpha.dtype).contiguous(), x.lengths.contiguous()
    out = empty(shape, alpha)
    kernel(name, x.spatial.dtype)(
        sizes=list(alpha.shape),
        spatial=address(alpha),
        target=address(target),
        lengths=address(lengths),
        grad=grad,
        out=address(out),
        threads=how()["threads"],
    )
    return out.to(x.spatial.dtype)
