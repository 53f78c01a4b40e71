"""Decoding in C++ against the searches in Python: captions, scores and attention, in every shape and on any thread."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from near_ties import log_probabilities

from m2t_fast import ops, use_backend
from m2t_fast.config import PAD, SOS
from m2t_fast.ops.cases import DECODE_CASES as CASES
from m2t_fast.ops.cases import DecodeCase as Case
from m2t_fast.ops.cpu import launch
from m2t_fast.ops.decode import DecoderWeights, SearchOutput
from m2t_fast.ops.registry import why_unavailable

needs_cpu = pytest.mark.skipif(why_unavailable("cpu") is not None, reason=f"cpu backend: {why_unavailable('cpu')}")


def search(backend: str, case: Case, dtype: torch.dtype = torch.float64, seed: int = 0, **options: Any) -> SearchOutput:
    with use_backend(backend):
        return ops.search(*case.memory(dtype, seed), case.weights(dtype, seed + 1), **options)


def assert_same(actual: SearchOutput, expected: SearchOutput, tolerance: float = 1e-10) -> None:
    assert torch.equal(actual.tokens, expected.tokens)
    for name, a, e in zip(SearchOutput._fields[1:], actual[1:], expected[1:], strict=True):
        assert a.dtype == e.dtype, name
        torch.testing.assert_close(a, e, rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}")


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def instruction_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each copy of the kernels; a processor without one runs its best instead."""
    monkeypatch.setattr(launch, "instruction_set", request.param)
    yield request.param


@pytest.fixture
def threads() -> Iterator[None]:
    """Restores the number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@needs_cpu
@pytest.mark.parametrize("beam_size", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_search_finds_what_the_python_search_finds(case: Case, beam_size: int) -> None:
    options: dict[str, Any] = dict(beam_size=beam_size, max_length=8)
    assert_same(search("cpu", case, **options), search("reference", case, **options))


@needs_cpu
@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize(
    "options",
    [dict(max_length=1), dict(length_penalty=0.0), dict(length_penalty=2.5), dict(force_gate=1.0), dict(scale=1 / 6)],
)
def test_search_options(options: dict[str, Any], beam_size: int) -> None:
    options = dict(max_length=8) | options
    for case in (Case(), Case(S=1)):
        found = search("cpu", case, beam_size=beam_size, **options)
        assert_same(found, search("reference", case, beam_size=beam_size, **options))


@needs_cpu
@pytest.mark.parametrize("seed", range(10))
def test_captions_that_end_at_different_words(seed: int) -> None:
    case = Case(B=30, V=6, end=1.0)
    for beam_size in (1, 2, 4):
        found = search("cpu", case, seed=seed, beam_size=beam_size, max_length=12)
        assert_same(found, search("reference", case, seed=seed, beam_size=beam_size, max_length=12))


@needs_cpu
@pytest.mark.parametrize("beam_size", [1, 2, 5])
@pytest.mark.parametrize("case", [Case(B=20), Case(B=20, S=1, H=30, D=40, C=33)], ids=["part", "frame"])
def test_float32_on_every_instruction_set(case: Case, beam_size: int, instruction_set: str) -> None:
    options: dict[str, Any] = dict(beam_size=beam_size, max_length=7)
    found = search("cpu", case, torch.float32, **options)
    assert_same(found, search("reference", case, torch.float32, **options), tolerance=1e-4)
    assert_same(search("cpu", case, **options), search("reference", case, **options))


@needs_cpu
def test_shorter_formats_are_stored_short_and_computed_in_float32() -> None:
    found = search("cpu", Case(), torch.bfloat16, beam_size=2, max_length=5)
    assert found.scores.dtype == torch.float32 and found.window.dtype == torch.bfloat16
    memory = [x.bfloat16().float() if x.is_floating_point() else x for x in Case().memory()]
    weights = DecoderWeights(*(x.bfloat16().float() for x in Case().weights()))
    with use_backend("reference"):
        expected = ops.search(*memory, weights, beam_size=2, max_length=5)
    assert torch.equal(found.tokens, expected.tokens)
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-2, atol=1e-2)


@needs_cpu
@given(
    sizes=st.fixed_dictionaries(
        {k: st.integers(1, n) for k, n in dict(B=3, T=12, P=7, H=20, D=20, C=20, E=20, M=20).items()}
    ),
    V=st.integers(3, 200),
    frame=st.booleans(),
    beam_size=st.integers(1, 6),
    max_length=st.integers(1, 6),
    seed=st.integers(0, 100),
)
def test_search_in_any_shape(
    sizes: dict[str, int], V: int, frame: bool, beam_size: int, max_length: int, seed: int
) -> None:
    case = Case(**sizes, V=V, S=1 if frame else sizes["P"])
    found, expected = (
        search(backend, case, seed=seed, beam_size=beam_size, max_length=max_length) for backend in ("cpu", "reference")
    )
    assert_same(found, expected, tolerance=1e-9)


@needs_cpu
@pytest.mark.parametrize("beam_size", [1, 3])
def test_neither_threads_nor_runs_nor_batch_mates_change_a_bit(beam_size: int, threads: None) -> None:
    case, options = Case(B=30, end=1.0), dict(beam_size=beam_size, max_length=6)
    expected = search("cpu", case, torch.float32, **options)
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        for _ in range(70):
            again = search("cpu", case, torch.float32, **options)
            assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))
    memory, weights = case.memory(torch.float32), case.weights(torch.float32)
    for n in range(0, 30, 7):
        alone = ops.search(*(x[n : n + 1] for x in memory), weights, **options)
        width = alone.tokens.shape[2]
        assert torch.equal(alone.tokens[0], expected.tokens[n, :, :width])
        assert torch.equal(alone.scores[0], expected.scores[n])
        assert torch.equal(alone.spatial[0], expected.spatial[n, :width])


@needs_cpu
def test_padding_is_neither_read_nor_written() -> None:
    case = Case(B=6)
    memory, weights = case.memory(), case.weights()
    outside = torch.arange(case.T) >= memory[3][:, None]
    clean = ops.search(*memory, weights)
    for x in memory[:3]:
        x[outside] = torch.nan
    dirty = ops.search(*memory, weights)
    assert all(torch.equal(a, b) for a, b in zip(clean, dirty, strict=True))
    assert not dirty.window[outside[:, None].expand_as(dirty.window)].any()


@needs_cpu
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_logits_that_are_no_numbers_end_in_a_score_that_is_none(value: float, beam_size: int) -> None:
    case = Case()
    weights = case.weights()
    for bad in (weights.output_bias, weights.output_bias[:1]):
        with use_backend("cpu"):
            broken = weights._replace(output_bias=weights.output_bias.clone())
            broken.output_bias[: len(bad)] = value
            found = ops.search(*case.memory(), broken, beam_size=beam_size, max_length=5)
        assert ((found.tokens >= 0) & (found.tokens < case.V)).all()
        if value == -torch.inf and len(bad) == 1:  # one impossible word
            assert found.scores.isfinite().all()
        else:
            assert found.scores.isnan().all() and (found.tokens == PAD).all()


@needs_cpu
@pytest.mark.parametrize("broken", ["parts", "temporal_keys", "embedding"])
def test_a_motion_of_nan_leaves_the_others_alone(broken: str) -> None:
    case = Case()
    memory, weights = case.memory(), case.weights()
    expected = ops.search(*memory, weights)
    if broken == "embedding":
        weights.embedding.fill_(torch.nan)
    else:
        memory[0 if broken == "parts" else 1][2] = torch.nan
    with use_backend("cpu"):
        found = ops.search(*memory, weights)
    if broken == "embedding":
        assert found.scores.isnan().all()
    else:
        others = [0, 1, 3, 4]
        assert found.scores[2].isnan().all()
        assert torch.equal(found.scores[others], expected.scores[others])


def test_near_the_limit_of_keys_kept_as_exponentials(instruction_set: str) -> None:
    """Motions whose largest key lies just within or beyond the limit, words that saturate every tanh."""
    case = Case(B=8)
    memory, weights = case.memory(torch.float32), case.weights(torch.float32)
    for n, most in enumerate((0.01, 1.0, 10.0, 15.9, 16.0, 16.1, 50.0, 1e6)):
        for keys in memory[1:3]:
            keys[n] *= most / keys[n].abs().max()
    for size in (0.1, 1.0, 30.0, 1e5):
        large = weights._replace(
            temporal_query=weights.temporal_query * size, spatial_query=weights.spatial_query * size
        )
        results = []
        for backend in ("auto", "reference"):
            with use_backend(backend):
                results.append(ops.search(*memory, large, beam_size=2, max_length=4))
        assert_same(results[0], results[1], tolerance=1e-3)


@needs_cpu
@pytest.mark.parametrize("dropped", [True, False])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_sampled_words_are_those_of_the_python_loop(case: Case, dropped: bool) -> None:
    for seed in range(3):
        arguments = case.sampling(9, seed=seed) | ({} if dropped else dict(dropout=None))
        found = []
        for backend in ("cpu", "reference"):
            with use_backend(backend):
                found.append(ops.sample_words(*case.memory(), case.weights(), **arguments))
        assert torch.equal(*found)


@needs_cpu
@pytest.mark.parametrize("coins", [[True] * 6, [False] * 6, [True, False], [False], [True, True, False, True], []])
def test_sampled_words_for_any_coins(coins: list[bool]) -> None:
    case = Case(S=1)
    arguments = case.sampling(len(coins)) | dict(coins=torch.tensor(coins, dtype=torch.bool))
    found = []
    for backend in ("cpu", "reference"):
        with use_backend(backend):
            found.append(ops.sample_words(*case.memory(), case.weights(), **arguments))
    assert torch.equal(*found)
    given_words = arguments["coins"].clone()
    given_words[:1] = True
    assert torch.equal(found[0][:, given_words], arguments["words"][:, given_words])


@needs_cpu
def test_sampled_words_on_any_number_of_threads(instruction_set: str, threads: None) -> None:
    case = Case(B=40, V=50)
    arguments = case.sampling(12, torch.float32)
    with use_backend("cpu"):
        torch.set_num_threads(1)
        expected = ops.sample_words(*case.memory(torch.float32), case.weights(torch.float32), **arguments)
        torch.set_num_threads(3)
        for _ in range(50):
            again = ops.sample_words(*case.memory(torch.float32), case.weights(torch.float32), **arguments)
            assert torch.equal(again, expected)


@needs_cpu
@pytest.mark.parametrize(
    "case",
    [
        Case(B=30, H=20, D=24, C=16, E=12, M=34, V=70),
        Case(B=30, S=1, H=20, D=24, C=16, E=12, M=34, V=70),
        Case(B=30, D=24, C=16, E=12, H=20, M=34, V=70, keys=20.0),
        Case(B=30),
        Case(B=230, T=3, P=2, S=2, H=4, D=4, C=4, E=2, M=6),
    ],
    ids=["part", "frame", "large keys", "odd", "many motions"],
)
def test_words_sampled_in_bfloat16_are_the_likeliest_but_for_rounding(case: Case) -> None:
    memory, weights = case.memory(torch.bfloat16), case.weights(torch.bfloat16)
    words = torch.full((case.B, 2), SOS)
    with use_backend("cpu"):
        sampled = ops.sample_words(*memory, weights, words, torch.tensor([True, False]))[:, 1]
    exact = [x.double() if x.is_floating_point() else x for x in memory]
    exact_weights = DecoderWeights(*(x.double() for x in weights))
    likely = log_probabilities(exact, exact_weights, sampled.new_zeros(0), case.B)
    found, best = likely[torch.arange(case.B), sampled], likely.max(-1)
    assert float((best.values - found).max()) <= 0.02 * float(likely.max() - likely.min())
    assert float((best.indices == sampled).double().mean()) >= 0.9


@needs_cpu
def test_words_sampled_in_bfloat16_on_any_number_of_threads_and_beside_any_motions(threads: None) -> None:
    case = Case(B=40, V=50, C=8, E=4, D=8, M=10)
    arguments = case.sampling(12, torch.bfloat16)
    memory, weights = case.memory(torch.bfloat16), case.weights(torch.bfloat16)
    with use_backend("cpu"):
        torch.set_num_threads(1)
        expected = ops.sample_words(*memory, weights, **arguments)
        torch.set_num_threads(3)
        for _ in range(20):
            assert torch.equal(ops.sample_words(*memory, weights, **arguments), expected)
        first = dict(
            words=arguments["words"][:7], coins=arguments["coins"], dropout=tuple(x[:7] for x in arguments["dropout"])
        )
        assert torch.equal(ops.sample_words(*(x[:7] for x in memory), weights, **first), expected[:7])


@pytest.mark.parametrize("strided", [True, False])
def test_inputs_in_any_layout_are_left_as_they_were(strided: bool, backend: str) -> None:
    case = Case()
    memory, weights, arguments = case.memory(), case.weights(), case.sampling(6)
    if strided:
        memory = [torch.stack([x, x + 1], dim=-1)[..., 0] for x in memory]
        weights = DecoderWeights(*(torch.stack([x, x + 1], dim=-1)[..., 0] for x in weights))
    before = [x.clone() for x in (*memory, *weights, arguments["words"])]
    with use_backend(backend):
        found = ops.search(*memory, weights, max_length=4)
        sampled = ops.sample_words(*memory, weights, **arguments)
        expected = ops.search(*case.memory(), case.weights(), max_length=4)
    assert all(torch.equal(a, b) for a, b in zip(before, (*memory, *weights, arguments["words"]), strict=True))
    assert sampled.data_ptr() != arguments["words"].data_ptr()
    assert_same(found, expected)


def test_opcheck(backend: str) -> None:
    case = Case(B=2)
    memory, weights, arguments = case.memory(), list(case.weights()), case.sampling(4)
    torch.library.opcheck(torch.ops.m2t_fast.search, (*memory, weights, 2, 4, 1.0, None, 1.0, backend))
    words, coins, (first, second) = arguments["words"], arguments["coins"], arguments["dropout"]
    torch.library.opcheck(
        torch.ops.m2t_fast.sample_words, (*memory, weights, words, coins, [first, second], 1.0, backend)
    )


@pytest.mark.parametrize("name", DecoderWeights._fields)
def test_a_weight_of_another_shape_is_refused_by_name(name: str) -> None:
    case = Case(M=16)
    weights = case.weights()
    wrong = weights._replace(**{name: getattr(weights, name)[..., None].expand(*getattr(weights, name).shape, 2)})
    with pytest.raises(ValueError, match=rf"^search: {name} has shape \(.*expected \("):
        ops.search(*case.memory(), wrong)


def test_other_dtypes_and_values_are_refused_by_name() -> None:
    case = Case()
    memory, weights, arguments = case.memory(), case.weights(), case.sampling(6)
    with pytest.raises(TypeError, match="search: output has dtype torch.float32, expected torch.float64 as parts"):
        ops.search(*memory, weights._replace(output=weights.output.float()))
    with pytest.raises(ValueError, match=r"search: lengths\[1\] is 10, expected 1 to 9"):
        ops.search(*memory[:3], torch.tensor([1, 10, 1, 1, 1]), weights)
    with pytest.raises(ValueError, match=r"sample_words: words\[0, 0\] is 13, expected 0 to 12"):
        ops.sample_words(*memory, weights, **arguments | dict(words=torch.full((5, 6), 13)))
    with pytest.raises(ValueError, match=r"sample_words: coins has shape \(5,\), expected \(L=6\)"):
        ops.sample_words(*memory, weights, **arguments | dict(coins=torch.ones(5, dtype=torch.bool)))
    with pytest.raises(TypeError, match="sample_words: coins has dtype torch.float32, expected torch.bool"):
        ops.sample_words(*memory, weights, **arguments | dict(coins=torch.ones(6)))
    with pytest.raises(ValueError, match="search: embedding has V=2 words"):
        ops.search(
            *memory,
            Case(V=3)
            .weights()
            ._replace(
                embedding=torch.zeros(2, 5).double(),
                output=torch.zeros(2, 11).double(),
                output_bias=torch.zeros(2).double(),
            ),
        )
