"""A motion that a caller gives as numbers, an array or a tensor of any kind, as a NumPy array."""

from __future__ import annotations

import numpy as np
import torch

from m2t_fast.errors import UserError


def as_array(given: np.ndarray | torch.Tensor) -> np.ndarray:
    """A motion's numbers as a NumPy array, on whatever device and in whatever layout a tensor holds them.

    Raises:
        ValueError: a tensor that holds none, as on ``meta``. UserError: some values of an array are masked.
    """
    if isinstance(given, torch.Tensor):
        if given.is_meta:
            raise ValueError("motion: got a tensor on meta, which holds no numbers")
        dense = (given if given.layout is torch.strided else given.to_dense()).detach().to("cpu")
        dense = dense.resolve_conj().resolve_neg()
        return (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()
    if np.ma.is_masked(given):
        count = np.ma.count_masked(given)
        raise UserError(
            f"motion: {count} of {given.size} values are masked, expected none (fill them, or cut the frames)"
        )
    return given
