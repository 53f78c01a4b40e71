"""Decoding a batch: the Python searches on the ops of the cpu backend, and the C++ searches; and scheduled sampling."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from m2t_fast import Captioner, CaptionerConfig, use_backend
from m2t_fast.config import EOS
from m2t_fast.ops.cpu import decode as cpu
from m2t_fast.ops.reference import decode as reference
from m2t_fast.ops.registry import why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable("cpu") is not None, reason=f"cpu backend: {why_unavailable('cpu')}")
CONFIGS = {"kit": CaptionerConfig.kit(vocab_size=1100), "humanml3d": CaptionerConfig.humanml3d(vocab_size=3200)}
MOTIONS = {"kit": 64, "humanml3d": 128}


@contextlib.contextmanager
def decoded_by(way: str) -> Iterator[None]:
    """The cpu backend, with its own decoding or with the fallback of backends that have none."""
    with use_backend("cpu"), pytest.MonkeyPatch.context() as patch:
        if way == "python":
            for name in ("search", "sample_words"):
                patch.setattr(cpu, name, getattr(reference, name))
        yield


def motions(config: CaptionerConfig, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random motions of 20 to 100 frames."""
    g = torch.Generator().manual_seed(0)
    lengths = torch.randint(20, 101, (count,), generator=g)
    lengths[0] = 100
    return torch.randn(count, 100, config.joints, 3, generator=g), lengths


@pytest.mark.parametrize("sizes", CONFIGS)
@pytest.mark.parametrize("beam_size", [1, 2])
@pytest.mark.parametrize("way", ["c++", "python"])
def bench_search(benchmark: BenchmarkFixture, way: str, beam_size: int, sizes: str) -> None:
    """64 motions from joints to captions of 40 words that never end, and their attention."""
    torch.manual_seed(0)
    model = Captioner(CONFIGS[sizes]).eval()
    with torch.no_grad():
        model.output.bias[EOS] = -1e4
    motion, lengths = motions(CONFIGS[sizes], 64)
    with decoded_by("python" if way == "c++" else "c++"):
        expected = model.generate(motion, lengths, beam_size)
    with decoded_by(way):
        found = benchmark(model.generate, motion, lengths, beam_size)
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sizes", CONFIGS)
@pytest.mark.parametrize("way", ["c++", "python"])
def bench_sample_words(benchmark: BenchmarkFixture, way: str, sizes: str) -> None:
    """The gradient-free decode of a training step: 23 words, half of the coins false."""
    torch.manual_seed(0)
    model, words = Captioner(CONFIGS[sizes]).train(), 23
    motion, lengths = motions(CONFIGS[sizes], MOTIONS[sizes])
    g = torch.Generator().manual_seed(1)
    tokens = torch.randint(3, 1000, (len(lengths), words + 1), generator=g)
    draws = model.draw(len(lengths), words, 0.5, g)
    with torch.no_grad():
        memory = model.encode(motion, lengths)
    with decoded_by("python" if way == "c++" else "c++"):
        expected = model.input_words(memory, tokens, draws)
    with decoded_by(way):
        found = benchmark(model.input_words, memory, tokens, draws)
    assert (found == expected).float().mean() > 0.99  # near ties may fall either way
