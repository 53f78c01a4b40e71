"""The op ``spatial_loss``: eq. 13."""

from __future__ import annotations

from m2t_fast import reference
from m2t_fast.ops.define import define
from m2t_fast.reference.loss import LossInputs

__all__ = ["LossInputs", "spatial_loss"]

spatial_loss = define(reference.spatial_loss, file="loss", autocast=False)
