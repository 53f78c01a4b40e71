"""``spatial_loss`` and its gradient."""

from __future__ import annotations

from torch import Tensor

from m2t_fast import reference
from m2t_fast.reference.loss import LossInputs, not_half, spatial_terms_count, spatial_terms_gradient


def spatial_loss(x: LossInputs) -> Tensor:
    """``reference.spatial_loss``."""
    return reference.spatial_loss(*x)


def spatial_loss_backward(grad: Tensor, x: LossInputs) -> dict[str, Tensor]:
    """Gradient (B, L, T, P) of ``spatial``."""
    count = spatial_terms_count(x.target, x.lengths.clamp(max=x.spatial.shape[2]))
    slope = spatial_terms_gradient(not_half(x.spatial), x.target, x.lengths)
    return dict(spatial=(grad / count.clamp(min=1) * slope).to(x.spatial.dtype))
