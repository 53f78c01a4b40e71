"""Padding of ragged rows against a loop over rows."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from m2t_fast.data.ragged import pad_ragged


def loop(values: Tensor, offsets: Tensor, index: Tensor, width: int, fill: float) -> Tensor:
    padded = values.new_full((len(index), width, *values.shape[1:]), fill)
    for row, number in enumerate(index.tolist()):
        begin, end = offsets[number], offsets[number + 1]
        padded[row, : end - begin] = values[begin:end]
    return padded


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=6),
    st.sampled_from([torch.float32, torch.float64, torch.int64, torch.int8]),
    st.sampled_from([(), (3,), (2, 3)]),
    st.integers(0, 3),
    st.data(),
)
def test_equals_a_loop(
    lengths: list[int], dtype: torch.dtype, shape: tuple[int, ...], extra: int, data: st.DataObject
) -> None:
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    values = torch.randint(-100, 100, (sum(lengths), *shape)).to(dtype)
    index = torch.tensor(data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=7)), dtype=torch.int64)
    longest = max((lengths[i] for i in index.tolist()), default=0)
    padded, found = pad_ragged(values, offsets, index, fill=-1)
    assert padded.dtype == dtype and torch.equal(padded, loop(values, offsets, index, longest, -1))
    assert found.dtype == torch.int64 and found.tolist() == [lengths[i] for i in index.tolist()]
    wider, _ = pad_ragged(values, offsets, index, width=longest + extra)
    assert torch.equal(wider, loop(values, offsets, index, longest + extra, 0))


def test_bad_arguments() -> None:
    values, offsets = torch.zeros(4, 3), torch.tensor([0, 3, 4])
    for wrong in (2, -1):
        with pytest.raises(ValueError, match=rf"index: got {wrong}, expected 0 to 1 \(2 rows\)"):
            pad_ragged(values, offsets, torch.tensor([0, wrong]))
    with pytest.raises(ValueError, match="width: got 2, expected at least 3"):
        pad_ragged(values, offsets, torch.tensor([1, 0]), width=2)
    with pytest.raises(TypeError, match="index: got torch.int32"):
        pad_ragged(values, offsets, torch.tensor([0], dtype=torch.int32))
    with pytest.raises(ValueError, match=r"offsets: got shape \(1, 3\)"):
        pad_ragged(values, offsets[None], torch.tensor([0]))
    with pytest.raises(ValueError, match="offsets"):
        pad_ragged(values[:3], offsets, torch.tensor([1]))
