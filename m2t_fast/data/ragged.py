"""Gathers rows of a ragged array into a padded tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast import native
from m2t_fast.wording import counted


def pad_ragged(
    values: Tensor, offsets: Tensor, index: Tensor, width: int | None = None, fill: float = 0
) -> tuple[Tensor, Tensor]:
    """The rows ``index`` of a ragged array, padded to one width.

    Args:
        values: (N, ...) contiguous, on the CPU, any dtype: the entries of all M rows, one row after the other.
        offsets: (M+1,) int64; row m is ``values[offsets[m]:offsets[m + 1]]``.
        index: (B,) int64, 0 <= index < M; any order, repeats allowed.
        width: W; None: the longest of the rows.
        fill: value beyond the end of a row.

    Returns:
        padded (B, W, ...) of the dtype of ``values``, and lengths (B,) int64.

    Raises:
        ValueError: an index out of range, a row longer than ``width``, a wrong shape, layout or device.
        TypeError: ``offsets`` or ``index`` is not int64.
    """
    for name, tensor in (("offsets", offsets), ("index", index)):
        if tensor.dtype != torch.int64:
            raise TypeError(f"{name}: got {tensor.dtype}, expected torch.int64")
        if tensor.dim() != 1:
            raise ValueError(f"{name}: got shape {tuple(tensor.shape)}, expected one dimension")
    rows = offsets.numel() - 1
    wrong = (index < 0) | (index >= rows)
    if bool(wrong.any()):
        raise ValueError(f"index: got {int(index[wrong][0])}, expected 0 to {rows - 1} ({counted(rows, 'row')})")
    begin = offsets[index]
    lengths = offsets[index + 1] - begin
    longest = int(lengths.max()) if index.numel() else 0
    if width is None:
        width = longest
    elif width < longest:
        raise ValueError(f"width: got {width}, expected at least {longest}, the longest of the rows")
    return native.pack_ragged(values, offsets, index, width, fill), lengths
