"""Packing one batch of ragged motions: the native extension, its torch fallback, and a Python loop over samples."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from m2t_fast import native


def looped(values: Tensor, offsets: Tensor, index: Tensor, width: int) -> Tensor:
    """The same batch as one slice per sample, padded by torch to the longest."""
    return pad_sequence([values[offsets[i] : offsets[i + 1]] for i in index.tolist()], batch_first=True)


@pytest.mark.parametrize("batch", [64, 128])
@pytest.mark.parametrize("way", ["extension", "torch", "loop"])
def bench_pack_ragged(benchmark: BenchmarkFixture, monkeypatch: pytest.MonkeyPatch, way: str, batch: int) -> None:
    """5,000 motions of 20 to 100 frames and 22 joints, float32."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(20, 101, (5000,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    values = torch.randn(int(offsets[-1]), 22, 3, generator=generator)
    index = torch.randint(0, 5000, (batch,), generator=generator)
    width = int(lengths[index].max())
    if way == "extension" and not native.available():
        pytest.skip(native.why_unavailable() or "")
    if way == "torch":
        monkeypatch.setattr(native, "_native", None)
    out = benchmark(looped if way == "loop" else native.pack_ragged, values, offsets, index, width)
    assert torch.equal(out, looped(values, offsets, index, width))
