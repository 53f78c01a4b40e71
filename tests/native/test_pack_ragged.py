"""Packing a ragged batch: the extension and the torch fallback against a loop over rows, and every refused argument."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from m2t_fast import native

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.complex64,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.uint8,
    torch.bool,
]


@pytest.fixture(params=["extension", "torch"])
def pack(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tensor]:
    """`pack_ragged` by the extension, then by its fallback."""
    if request.param == "torch":
        monkeypatch.setattr(native, "_native", None)
    elif not native.available():
        if shutil.which("c++") is None and shutil.which("g++") is None:
            pytest.skip("no C++ compiler on this machine, so the extension was not built")
        pytest.fail(native.why_unavailable() or "")
    return native.pack_ragged


def looped(values: Tensor, offsets: Tensor, index: Tensor, width: int, fill: float) -> Tensor:
    """The same by one assignment a row."""
    out = torch.full((len(index), width, *values.shape[1:]), fill, dtype=values.dtype)
    for i, sample in enumerate(index.tolist()):
        for row in range(int(offsets[sample]), int(offsets[sample + 1])):
            out[i, row - int(offsets[sample])] = values[row]
    return out


def ragged(
    lengths: list[int], row: tuple[int, ...] = (3,), dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """(values, offsets) with samples of these lengths."""
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    return (torch.randn(sum(lengths), *row) * 10).to(dtype), offsets


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(pack: Callable[..., Tensor], dtype: torch.dtype) -> None:
    values, offsets = ragged([3, 0, 5, 1], (2, 3), dtype)
    index = torch.tensor([2, 0, 1, 3, 2])
    out = pack(values, offsets, index, 7, 1)
    assert out.dtype == dtype and out.shape == (5, 7, 2, 3)
    assert torch.equal(out, looped(values, offsets, index, 7, 1))


@given(
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=8),
    row=st.sampled_from([(), (1,), (3,), (2, 3), (0,)]),
    extra=st.integers(0, 3),
    threads=st.integers(1, 4),
    data=st.data(),
)
def test_every_shape(lengths: list[int], row: tuple[int, ...], extra: int, threads: int, data: st.DataObject) -> None:
    values, offsets = ragged(lengths, row)
    index = torch.tensor(data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=10)), dtype=torch.int64)
    width = max((lengths[i] for i in index.tolist()), default=0) + extra
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        out = native.pack_ragged(values, offsets, index, width, -2.5)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(out, looped(values, offsets, index, width, -2.5))


def test_nan_fill_and_default_fill(pack: Callable[..., Tensor]) -> None:
    values, offsets = ragged([1, 2])
    assert pack(values, offsets, torch.tensor([0]), 4, math.nan)[0, 1:].isnan().all()
    assert torch.equal(pack(values, offsets, torch.tensor([0]), 4)[0, 1:], torch.zeros(3, 3))


def test_non_contiguous_index_and_offsets(pack: Callable[..., Tensor]) -> None:
    values, offsets = ragged([1, 2, 3, 4])
    index = torch.tensor([3, 9, 0, 9, 1, 9])[::2]
    padded = torch.stack([offsets, offsets - 99], dim=1)[:, 0]
    assert torch.equal(pack(values, padded, index, 5, 0.0), looped(values, offsets, index, 5, 0.0))


def test_the_inputs_stay_and_the_result_is_new(pack: Callable[..., Tensor]) -> None:
    values, offsets = ragged([2, 2])
    before = values.clone()
    pack(values, offsets, torch.tensor([0, 1]), 2).zero_()
    assert torch.equal(values, before)


GOOD: dict[str, Any] = {
    "values": torch.arange(12.0).reshape(6, 2),
    "offsets": torch.tensor([0, 2, 6]),
    "index": torch.tensor([0, 1]),
    "width": 4,
    "fill": 0.0,
}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"values": [1.0]}, TypeError, "values: expected a torch.Tensor, got list"),
        (
            {"values": torch.zeros(6, 2, device="meta")},
            ValueError,
            "values: expected a tensor on the CPU, got one on meta",
        ),
        ({"values": torch.tensor(1.0)}, ValueError, r"values: .* got shape \(\)"),
        ({"values": torch.zeros(2, 6).T}, ValueError, r"values: expected a contiguous tensor .* strides \(1, 6\)"),
        ({"values": torch.zeros(6, 2, requires_grad=True)}, ValueError, "values: .* no gradient"),
        ({"offsets": torch.tensor([0.0, 6.0])}, TypeError, "offsets: expected dtype torch.int64, got torch.float32"),
        ({"offsets": torch.zeros(2, 2, dtype=torch.int64)}, ValueError, r"offsets: expected one dimension, .*\(2, 2\)"),
        ({"offsets": torch.zeros(0, dtype=torch.int64)}, ValueError, r"offsets: expected at least one entry .*\(0,\)"),
        ({"offsets": torch.tensor([0, 2, 7])}, ValueError, "offsets: sample 1 is given rows 2 to 7, .* within 0 to 6"),
        ({"offsets": torch.tensor([-1, 2, 6])}, ValueError, "offsets: sample 0 is given rows -1 to 2"),
        ({"offsets": torch.tensor([0, 5, 3])}, ValueError, "offsets: sample 1 is given rows 5 to 3"),
        ({"index": torch.tensor([0, 1], dtype=torch.int32)}, TypeError, "index: expected dtype torch.int64, got"),
        ({"index": torch.tensor(0)}, ValueError, r"index: expected one dimension, got shape \(\)"),
        ({"index": torch.tensor([0, 2])}, ValueError, r"index\[1\]: expected at least 0 and less than 2, got 2"),
        ({"index": torch.tensor([-1])}, ValueError, r"index\[0\]: expected at least 0 and less than 2, got -1"),
        ({"width": 3}, ValueError, "width: expected at least 4, the rows of sample 1, got 3"),
        ({"width": -1}, ValueError, "width: expected at least 0, got -1"),
        ({"width": 4.0}, TypeError, "width: expected an int, got float"),
        ({"width": True}, TypeError, "width: expected an int, got bool"),
        ({"fill": "0"}, TypeError, "fill: expected a number, got str"),
        (
            {"fill": 0.5, "values": torch.zeros(6, dtype=torch.int64)},
            ValueError,
            "fill: .* torch.int64 can hold, got 0.5",
        ),
        (
            {"fill": 256, "values": torch.zeros(6, dtype=torch.uint8)},
            ValueError,
            "fill: .* torch.uint8 can hold, got 256",
        ),
    ],
)
def test_bad_arguments_are_named(
    pack: Callable[..., Tensor], changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    assert pack(**GOOD).shape == (2, 4, 2)
    with pytest.raises(error, match=message):
        pack(**{**GOOD, **changed})
