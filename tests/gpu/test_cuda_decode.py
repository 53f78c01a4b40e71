"""The CUDA decoder on a GPU: the captions of the reference, equal bits, poisoned memory, graphs, streams, devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from near_ties import near_ties
from torch import Tensor

from m2t_fast import Captioner, CaptionerConfig, ops, use_backend
from m2t_fast.ops import registry
from m2t_fast.ops.cases import DECODE_CASES, DecodeCase
from m2t_fast.ops.decode import DecoderWeights, SearchOutput

FLOAT32, BFLOAT16 = torch.float32, torch.bfloat16
HUMANML3D = dict(T=100, H=256, D=256, C=256, E=128, M=640, V=3200)
KIT = dict(T=100, H=128, D=128, C=128, E=64, M=320, V=1100)


@pytest.fixture(autouse=True)
def on_cuda() -> Iterator[None]:
    with use_backend("cuda"):
        yield


def inputs_of(
    case: DecodeCase, dtype: torch.dtype = FLOAT32, device: str = "cuda", seed: int = 0
) -> tuple[list[Tensor], DecoderWeights]:
    """Weights of a trained model's size: sums over hundreds of terms of size 1 leave nothing but saturated gates."""
    weights = (w / max(1.0, w.shape[-1] / 16) ** 0.5 if w.dim() > 1 else w for w in case.weights(FLOAT32, seed + 1))
    memory = [x.to(device) for x in case.memory(dtype, seed)]
    return memory, DecoderWeights(*(w.to(device, dtype) for w in weights))


def doubled(memory: list[Tensor], weights: DecoderWeights) -> tuple[list[Tensor], DecoderWeights]:
    memory = [x.double() if x.is_floating_point() else x for x in memory]
    return memory, DecoderWeights(*(w.double() for w in weights))


def search(memory: list[Tensor], weights: DecoderWeights, backend: str = "cuda", **options: Any) -> SearchOutput:
    with use_backend(backend):
        return ops.search(*memory, weights, **options)


def equal(a: SearchOutput, b: SearchOutput) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def assert_exact(
    found: SearchOutput, exact: SearchOutput, inputs: tuple[list[Tensor], DecoderWeights], allowed: float = 0.0
) -> None:
    """The reference's tokens, close scores and attention. Near ties may decide otherwise, and behind them a share of
    motions: the device's exponential and division are not the processor's."""
    width = max(found.tokens.shape[2], exact.tokens.shape[2])
    tokens = [torch.nn.functional.pad(x.tokens, (0, width - x.tokens.shape[2])) for x in (found, exact)]
    same = (tokens[0] == tokens[1]).flatten(1).all(1)
    other = ~same & ~near_ties(found, exact, *doubled(*inputs))
    assert int(other.sum()) <= allowed * len(same)
    words = min(found.tokens.shape[2], exact.tokens.shape[2])
    torch.testing.assert_close(found.scores[same].double(), exact.scores[same], rtol=1e-4, atol=1e-4)
    for name in ("gate", "window", "spatial"):
        a, e = (getattr(x, name)[same][:, :words].double() for x in (found, exact))
        limit = 1e-3 if found.window.dtype == FLOAT32 else 3e-2
        torch.testing.assert_close(a, e, rtol=0, atol=limit, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
@pytest.mark.parametrize("beam_size", [1, 2, 5, 16])
@pytest.mark.parametrize("name", DECODE_CASES)
def test_search_finds_what_the_reference_finds(name: str, beam_size: int, dtype: torch.dtype) -> None:
    inputs = inputs_of(DECODE_CASES[name], dtype)
    options: dict[str, Any] = dict(beam_size=beam_size, max_length=8)
    allowed = 0.1 if DECODE_CASES[name].B > 10 else 0.0
    assert_exact(search(*inputs, **options), search(*doubled(*inputs), "reference", **options), inputs, allowed)


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize(("batch", "beam_size"), [(1, 1), (1, 10), (7, 2), (64, 2), (600, 2), (40, 5)])
@pytest.mark.parametrize("sizes", [KIT, HUMANML3D], ids=["kit", "humanml3d"])
def test_a_models_sizes(sizes: dict[str, int], batch: int, beam_size: int, S: int, dtype: torch.dtype) -> None:
    """From one team of a whole cluster to more motions than the device holds at a time."""
    inputs = inputs_of(DecodeCase(B=batch, S=S, end=3.0, **sizes), dtype)
    options: dict[str, Any] = dict(beam_size=beam_size, max_length=8)
    exact = search(*doubled(*inputs), "reference", **options)
    assert_exact(search(*inputs, **options), exact, inputs, allowed=0.0 if batch == 1 else 0.15)


@pytest.mark.parametrize("case", [DecodeCase(B=2, V=50_000, T=20), DecodeCase(B=2, T=2000, S=1)], ids=["V", "T"])
@pytest.mark.parametrize("beam_size", [1, 100])
def test_large_sizes(case: DecodeCase, beam_size: int) -> None:
    inputs = inputs_of(case)
    found = search(*inputs, beam_size=beam_size, max_length=4)
    exact = search(*doubled(*inputs), "reference", beam_size=beam_size, max_length=4)
    # Of a hundred hypotheses some are as good as equal; their scores are in order all the same.
    torch.testing.assert_close(found.scores.double(), exact.scores, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.tokens[:, 0], exact.tokens[:, 0])


@pytest.mark.parametrize("beam_size", [1, 2, 5])
def test_a_thousand_runs_give_equal_bits_from_poisoned_memory(beam_size: int) -> None:
    inputs = inputs_of(DecodeCase(B=200, T=30, S=6, H=64, D=64, C=64, E=32, M=160, V=500, end=2.0))
    expected = search(*inputs, beam_size=beam_size, max_length=10)
    assert expected.scores.isfinite().all() and expected.spatial.isfinite().all()
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    try:
        # In this mode torch fills what an allocation gives with NaN.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = True
        assert torch.empty(3, device="cuda").isnan().all()
        for _ in range(1000):
            assert equal(search(*inputs, beam_size=beam_size, max_length=10), expected)
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]


def test_batch_mates_change_no_bit() -> None:
    """One caption runs on a cluster, hundreds on single blocks: the same sums in the same order."""
    memory, weights = inputs_of(DecodeCase(B=700, S=6, end=2.0, **KIT))
    together = search(memory, weights, beam_size=2, max_length=10)
    for n in (0, 1, 350, 699):
        alone = search([x[n : n + 1] for x in memory], weights, beam_size=2, max_length=10)
        width = alone.tokens.shape[2]
        assert torch.equal(alone.tokens[0], together.tokens[n, :, :width])
        assert torch.equal(alone.scores[0], together.scores[n])
        assert torch.equal(alone.spatial[0], together.spatial[n, :width])


def test_padding_may_hold_anything() -> None:
    memory, weights = inputs_of(DecodeCase(B=9, S=6, **KIT))
    expected = search(memory, weights, max_length=6)
    outside = torch.arange(KIT["T"], device="cuda") >= memory[3][:, None]
    for x in memory[:3]:
        x[outside] = torch.nan
    assert equal(search(memory, weights, max_length=6), expected)


def test_other_streams() -> None:
    inputs = inputs_of(DecodeCase(B=9, S=6, **KIT))
    expected = search(*inputs, max_length=6)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = search(*inputs, max_length=6)
    stream.synchronize()
    assert equal(found, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
def test_another_device() -> None:
    case = DecodeCase(B=9, S=6, **KIT)
    expected = search(*inputs_of(case), max_length=6)
    with torch.cuda.device(0):
        found = search(*inputs_of(case, device="cuda:1"), max_length=6)
    assert all(x.device.index == 1 for x in found)
    assert all(torch.equal(a.to("cuda:0"), b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("batch", [1, 300])
def test_a_captured_graph(batch: int) -> None:
    memory, weights = inputs_of(DecodeCase(B=batch, S=6, end=2.0, **KIT))
    run = torch.ops.m2t_fast.search
    arguments = (*memory, list(weights), 2, 8, 1.0, None, 1.0, "cuda")
    expected = [x.clone() for x in run(*arguments)]  # also loads the kernels
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = run(*arguments)
    for _ in range(3):
        for x in found:
            x.zero_()
        graph.replay()
        torch.cuda.synchronize()
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("dropped", [True, False])
@pytest.mark.parametrize("name", DECODE_CASES)
def test_sampled_words_are_those_of_the_reference(name: str, dropped: bool) -> None:
    case = DECODE_CASES[name]
    memory, weights = inputs_of(case)
    sampling = case.sampling(9, FLOAT32) | ({} if dropped else dict(dropout=None))
    words, coins = sampling["words"].cuda(), sampling["coins"].cuda()
    dropout = None if not dropped else tuple(x.cuda() for x in sampling["dropout"])
    found = ops.sample_words(*memory, weights, words, coins, dropout)
    memory, weights = doubled(memory, weights)
    with use_backend("reference"):
        dropout = None if dropout is None else tuple(x.double() for x in dropout)
        exact = ops.sample_words(*memory, weights, words, coins, dropout)
    same = (found == exact).all(1).float().mean() if len(found) else torch.tensor(1.0)
    assert float(same) >= (0.9 if case.B > 10 else 1.0)


def test_sampling_in_a_captured_graph_reads_the_coins_of_the_replay() -> None:
    case = DecodeCase(B=128, S=6, **KIT)
    memory, weights = inputs_of(case)
    sampling = case.sampling(23, FLOAT32)
    words, coins = sampling["words"].cuda(), sampling["coins"].cuda()
    first, second = (x.cuda() for x in sampling["dropout"])
    run = torch.ops.m2t_fast.sample_words
    arguments = (*memory, list(weights), words, coins, [first, second], 1.0, "cuda")
    run(*arguments)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = run(*arguments)
    for tossed in (torch.zeros, torch.ones):
        coins.copy_(tossed(23, dtype=torch.bool))
        graph.replay()
        assert torch.equal(found, run(*arguments))
    assert torch.equal(found, words)


@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_auto_captions_with_this_decoder(scoring: str) -> None:
    assert registry.resolve("search", "auto", "cuda") == "cuda"
    assert registry.resolve("sample_words", "auto", "cuda") == "cuda"
    torch.manual_seed(0)
    model = Captioner(CaptionerConfig.kit(vocab_size=30, scoring=scoring)).cuda().eval()
    motion, lengths = torch.randn(4, 30, 21, 3, device="cuda"), torch.tensor([30, 9, 1, 20], device="cuda")
    with use_backend("auto"):
        found = model.generate(motion, lengths, beam_size=3, max_length=9)
    with use_backend("reference"):
        expected = model.generate(motion, lengths, beam_size=3, max_length=9)
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
