"""Launches ``spatial_loss`` and its gradient."""

from __future__ import annotations

from torch import Tensor

from m2t_fast.ops.cpu.launch import empty, how, kernel, ready


def spatial_loss(spatial: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
    """The loss of ``ops.spatial_loss``."""
    return _run(None, spatial, target, lengths)


def spatial_loss_backward(grad: Tensor, spatial: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
    """Gradient (B, L, T, P) of ``spatial``."""
    return _run(grad, spatial, target, lengths)


def _run(grad: Tensor | None, spatial: Tensor, target: Tensor, lengths: Tensor) -> Tensor:
    """The loss, or with the gradient of the loss that of ``spatial``."""
    dtype, alpha = spatial.dtype, ready(spatial)
    target, lengths = target.to(alpha.dtype).contiguous(), lengths.contiguous()
    out = empty(() if grad is None else alpha.shape, alpha)
    name = "spatial_loss_forward" if grad is None else "spatial_loss_backward"
    kernel(name, dtype)(
        sizes=list(alpha.shape),
        spatial=alpha.data_ptr(),
        target=target.data_ptr(),
        lengths=lengths.data_ptr(),
        grad=1.0 if grad is None else float(grad),
        out=out.data_ptr(),
        threads=how()["threads"],
    )
    return out.to(dtype)
