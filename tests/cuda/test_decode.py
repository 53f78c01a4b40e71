"""Decoding by the CUDA kernels on the emulated device: captions, scores, attention, sampled words, in every shape."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from m2t_fast import ops, use_backend
from m2t_fast.config import PAD
from m2t_fast.extension import record
from m2t_fast.ops.cases import DECODE_CASES, DecodeCase
from m2t_fast.ops.cuda import decode, launch
from m2t_fast.ops.decode import DecoderWeights, SearchOutput

FLOAT32, BFLOAT16 = torch.float32, torch.bfloat16
TEAMS = {"block": (1, 80), "two-blocks": (1, 90), "four-blocks": (2, 90)}
"""Multiprocessors and compute capability of a device that gives a team so many blocks."""


@pytest.fixture(autouse=True)
def small_device(device: ModuleType) -> ModuleType:
    """A team is one block: the fewest threads to emulate."""
    device.set_device(1, 232448, 80)
    return device


def search(
    case: DecodeCase,
    dtype: torch.dtype = FLOAT32,
    backend: str = "cuda",
    seed: int = 0,
    double: bool = False,
    **options: Any,
) -> SearchOutput:
    """With ``double``, the inputs rounded to ``dtype`` and computed on in float64."""
    memory, weights = case.memory(dtype, seed), case.weights(dtype, seed + 1)
    if double:
        memory = [x.double() if x.is_floating_point() else x for x in memory]
        weights = DecoderWeights(*(x.double() for x in weights))
    with use_backend(backend):
        return ops.search(*memory, weights, **options)


def assert_exact(found: SearchOutput, exact: SearchOutput, tolerance: float = 1e-4) -> None:
    """The tokens of the float64 search; scores and attention close to its."""
    assert torch.equal(found.tokens, exact.tokens)
    for name, a, e in zip(SearchOutput._fields[1:], found[1:], exact[1:], strict=True):
        short = 2e-2 if a.dtype == BFLOAT16 else tolerance
        scale = max(1.0, float(e[e.isfinite()].abs().max())) if e.isfinite().any() else 1.0
        torch.testing.assert_close(a.double(), e, rtol=0, atol=short * scale, msg=lambda m, name=name: f"{name}: {m}")


def check(case: DecodeCase, dtype: torch.dtype = FLOAT32, **options: Any) -> None:
    found = search(case, dtype, **options)
    assert found.scores.dtype == FLOAT32 and found.window.dtype == dtype
    assert_exact(found, search(case, dtype, "reference", double=True, **options))


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("name", [name for name in DECODE_CASES if name != "many-motions"])
def test_search_finds_what_the_reference_finds(name: str, beam_size: int) -> None:
    check(DECODE_CASES[name], beam_size=beam_size, max_length=4)


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize(
    "options",
    [dict(max_length=1), dict(length_penalty=0.0), dict(length_penalty=2.5), dict(force_gate=1.0), dict(scale=1 / 6)],
    ids=str,
)
def test_options(options: dict[str, Any], beam_size: int) -> None:
    check(DecodeCase(B=3, S=1), **dict(max_length=5) | options, beam_size=beam_size)


@pytest.mark.parametrize("beam_size", [1, 2, 4])
@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
def test_motions_that_end_at_different_words_make_room_for_others(dtype: torch.dtype, beam_size: int) -> None:
    """Two teams have 16, 8 or 4 motions at a time, of 40."""
    check(DecodeCase(B=40, T=3, P=2, S=2, V=6, end=1.0), dtype, beam_size=beam_size, max_length=7)


@pytest.mark.parametrize(
    ("case", "beam_size"),
    [
        (DecodeCase(B=2, T=5), 20),
        (DecodeCase(B=2, T=3, V=3), 7),
        (DecodeCase(B=1, T=2, P=2, S=2, V=150), 100),
        (DecodeCase(B=2, T=3, V=500), 2),
    ],
    ids=["more-rows-than-a-pass", "more-beams-than-words", "a-hundred-beams", "tiles-of-words"],
)
@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
def test_wide_beams_and_many_words(case: DecodeCase, beam_size: int, dtype: torch.dtype) -> None:
    check(case, dtype, beam_size=beam_size, max_length=4)


@pytest.mark.parametrize(
    "case",
    [
        DecodeCase(B=2, T=2, C=330, E=3),  # terms in two tiles
        DecodeCase(B=1, T=2, S=1, D=66, M=650, H=290),  # more columns than a block sums at a time
        DecodeCase(B=1, T=700, P=6, S=1, H=17, D=5),  # more frames than a block weighs at a time
        DecodeCase(B=2, T=3, S=6, H=32, D=12),  # loads of four
        DecodeCase(B=2, T=3, P=1, S=1, H=4, D=4),
    ],
    ids=["terms", "columns", "frames", "vectors", "one-part"],
)
@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
def test_sizes_beyond_one_piece(device: ModuleType, case: DecodeCase, dtype: torch.dtype) -> None:
    device.set_order("warps")  # the next piece comes when a warp that is behind has done with the one before
    # Weights of a trained model's size: sums over hundreds of terms of size 1 leave nothing but saturated gates.
    memory, weights = case.memory(dtype), case.weights(FLOAT32)
    weights = DecoderWeights(*(w / max(1.0, w.shape[-1] / 16) ** 0.5 if w.dim() > 1 else w for w in weights))
    weights = DecoderWeights(*(w.to(dtype) for w in weights))
    found = ops_on("cuda", "search", memory, weights, beam_size=2, max_length=3)
    assert_exact(found, ops_on("reference", "search", doubled(memory), doubled(weights), beam_size=2, max_length=3))


def doubled(tensors: Any) -> Any:
    values = [x.double() if x.is_floating_point() else x for x in tensors]
    return DecoderWeights(*values) if isinstance(tensors, DecoderWeights) else values


def ops_on(backend: str, op: str, memory: list[Tensor], weights: DecoderWeights, **options: Any) -> Any:
    with use_backend(backend):
        return getattr(ops, op)(*memory, weights, **options)


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_bfloat16_is_stored_short_and_computed_in_float32(beam_size: int, S: int) -> None:
    check(DecodeCase(S=S), BFLOAT16, beam_size=beam_size, max_length=4)


def equal(a: SearchOutput, b: SearchOutput) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
@pytest.mark.parametrize("value", [float("inf"), 3e38], ids=str)
def test_an_embedding_without_bounds_saturates_what_it_reaches(value: float, dtype: torch.dtype) -> None:
    case = DecodeCase(B=2, T=3, P=2, S=2, V=9)
    memory, weights = case.memory(dtype), case.weights(dtype)
    weights.embedding[:, 0] = value
    for x in (weights.bottom_input, weights.mixture):
        x[:, 0] = 1.0
    weights.gate_word.view(-1)[0] = 1.0
    found = ops_on("cuda", "search", memory, weights, beam_size=1, max_length=3)
    assert found.scores.isfinite().all()
    assert_exact(found, ops_on("reference", "search", doubled(memory), doubled(weights), beam_size=1, max_length=3))


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
def test_neither_blocks_nor_threads_nor_batch_mates_change_a_bit(
    device: ModuleType, dtype: torch.dtype, beam_size: int
) -> None:
    case, options = DecodeCase(B=7, T=4, V=140, H=40, end=2.0), dict(beam_size=beam_size, max_length=3)
    expected = search(case, dtype, **options)
    for multiprocessors, capability in TEAMS.values():
        device.set_device(multiprocessors, 232448, capability)
        for order in ("forward", "backward", "shuffled", "warps"):
            device.set_order(order)
            assert equal(search(case, dtype, **options), expected), (multiprocessors, capability, order)
    device.set_order("forward")
    memory, weights = case.memory(dtype), case.weights(dtype)
    for n in (0, 3):
        alone = ops_on("cuda", "search", [x[n : n + 1] for x in memory], weights, **options)
        width = alone.tokens.shape[2]
        assert torch.equal(alone.tokens[0], expected.tokens[n, :, :width])
        assert torch.equal(alone.scores[0], expected.scores[n])
        assert torch.equal(alone.spatial[0], expected.spatial[n, :width])


def test_a_whole_cluster_for_one_caption(device: ModuleType) -> None:
    device.set_device(132, 232448, 90)
    check(DecodeCase(B=1, T=5, V=20), beam_size=2, max_length=2)


@settings(max_examples=20)
@given(
    sizes=st.fixed_dictionaries(
        {k: st.integers(1, n) for k, n in dict(B=3, T=12, P=7, H=20, D=20, C=20, E=20, M=20).items()}
    ),
    V=st.integers(3, 200),
    frame=st.booleans(),
    beam_size=st.integers(1, 6),
    max_length=st.integers(1, 4),
    dtype=st.sampled_from([FLOAT32, BFLOAT16]),
)
def test_search_in_any_shape(
    sizes: dict[str, int], V: int, frame: bool, beam_size: int, max_length: int, dtype: torch.dtype
) -> None:
    case = DecodeCase(**sizes, V=V, S=1 if frame else sizes["P"])
    check(case, dtype, beam_size=beam_size, max_length=max_length)


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
def test_padding_is_neither_read_nor_written(dtype: torch.dtype) -> None:
    case = DecodeCase(B=4)
    memory, weights = case.memory(dtype), case.weights(dtype)
    outside = torch.arange(case.T) >= memory[3][:, None]
    clean = ops_on("cuda", "search", memory, weights, max_length=3)
    for x in memory[:3]:
        x[outside] = torch.nan
    dirty = ops_on("cuda", "search", memory, weights, max_length=3)
    assert equal(clean, dirty)
    assert not dirty.window[outside[:, None].expand_as(dirty.window)].any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_logits_that_are_no_numbers_end_in_a_score_that_is_none(value: float, beam_size: int) -> None:
    case = DecodeCase(B=2, T=3)
    weights = case.weights(FLOAT32)
    for bad in (case.V, 1):
        broken = weights._replace(output_bias=weights.output_bias.clone())
        broken.output_bias[:bad] = value
        found = ops_on("cuda", "search", case.memory(FLOAT32), broken, beam_size=beam_size, max_length=3)
        assert ((found.tokens >= 0) & (found.tokens < case.V)).all()
        if value == -torch.inf and bad == 1:  # one impossible word
            assert found.scores.isfinite().all()
        else:
            assert found.scores.isnan().all() and (found.tokens == PAD).all()
            assert not any(x.any() for x in found[2:])


def test_tiles_of_impossible_words_leave_the_others() -> None:
    case = DecodeCase(B=2, T=3, V=400)
    weights = case.weights(FLOAT32)
    weights.output_bias[130:] = -torch.inf
    found = ops_on("cuda", "search", case.memory(FLOAT32), weights, beam_size=3, max_length=3)
    exact = ops_on("reference", "search", doubled(case.memory(FLOAT32)), doubled(weights), beam_size=3, max_length=3)
    assert_exact(found, exact)


@pytest.mark.parametrize("broken", ["parts", "temporal_keys"])
@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
def test_a_motion_of_nan_leaves_the_others_alone(dtype: torch.dtype, broken: str) -> None:
    """The others' rows stand beside its own in the tiles of the matrix units."""
    case = DecodeCase()
    memory, weights = case.memory(dtype), case.weights(dtype)
    expected = ops_on("cuda", "search", memory, weights, max_length=3)
    memory[0 if broken == "parts" else 1][2] = torch.nan
    found = ops_on("cuda", "search", memory, weights, max_length=3)
    others = [0, 1, 3, 4]
    assert found.scores[2].isnan().all() and equal(*([x[others] for x in y] for y in (found, expected)))


def sampled(backend: str, case: DecodeCase, dtype: torch.dtype, arguments: dict[str, Any]) -> Tensor:
    memory, weights = case.memory(dtype), case.weights(dtype)
    if backend == "reference":  # exact, of the same rounded inputs
        memory, weights = doubled(memory), doubled(weights)
        if arguments["dropout"] is not None:
            arguments = arguments | dict(dropout=tuple(x.double() for x in arguments["dropout"]))
    return ops_on(backend, "sample_words", memory, weights, **arguments)


@pytest.mark.parametrize("dropped", [True, False])
@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
@pytest.mark.parametrize("name", [name for name in DECODE_CASES if name != "many-motions"])
def test_sampled_words_are_those_of_the_reference(name: str, dtype: torch.dtype, dropped: bool) -> None:
    case = DECODE_CASES[name]
    arguments = case.sampling(5, dtype) | ({} if dropped else dict(dropout=None))
    assert torch.equal(*(sampled(backend, case, dtype, arguments) for backend in ("cuda", "reference")))


@pytest.mark.parametrize("coins", [[True] * 4, [False] * 4, [True, False], [False], [True, True, False, True], []])
def test_sampled_words_for_any_coins(coins: list[bool]) -> None:
    case = DecodeCase(S=1, T=3)
    arguments = case.sampling(len(coins), FLOAT32) | dict(coins=torch.tensor(coins, dtype=torch.bool))
    before = arguments["words"].clone()
    found = [sampled(backend, case, FLOAT32, arguments) for backend in ("cuda", "reference")]
    assert torch.equal(*found) and torch.equal(arguments["words"], before)


def test_sampled_words_of_more_motions_than_fit_at_a_time(device: ModuleType) -> None:
    case = DecodeCase(B=70, T=3, P=2, S=2)
    arguments = case.sampling(5, BFLOAT16)
    expected = sampled("reference", case, BFLOAT16, arguments)
    for multiprocessors, capability in TEAMS.values():
        device.set_device(multiprocessors, 232448, capability)
        assert torch.equal(sampled("cuda", case, BFLOAT16, arguments), expected)


def test_inputs_in_any_layout_are_left_as_they_were() -> None:
    case = DecodeCase(B=3)
    memory, weights, arguments = case.memory(FLOAT32), case.weights(FLOAT32), case.sampling(4, FLOAT32)
    expected = ops_on("cuda", "search", memory, weights, max_length=3)
    memory = [torch.stack([x, x + 1], dim=-1)[..., 0] for x in memory]
    weights = DecoderWeights(*(torch.stack([x, x + 1], dim=-1)[..., 0] for x in weights))
    before = [x.clone() for x in (*memory, *weights, arguments["words"])]
    found = ops_on("cuda", "search", memory, weights, max_length=3)
    ops_on("cuda", "sample_words", memory, weights, **arguments)
    assert all(torch.equal(a, b) for a, b in zip(before, (*memory, *weights, arguments["words"]), strict=True))
    assert equal(found, expected)


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
def test_odd_addresses(dtype: torch.dtype) -> None:
    """Tensors whose first element is no multiple of a vector: views into larger ones, where all sizes are multiples."""

    def shifted(x: Tensor) -> Tensor:
        return torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape)

    case = DecodeCase(B=2, T=3, H=8, D=8, C=4, E=4, M=12)
    memory, weights, arguments = case.memory(dtype), case.weights(dtype), case.sampling(4, dtype)
    moved = [shifted(x) for x in memory], DecoderWeights(*map(shifted, weights))
    expected = ops_on("cuda", "search", memory, weights, max_length=3)
    assert equal(ops_on("cuda", "search", *moved, max_length=3), expected)
    words = ops_on("cuda", "sample_words", memory, weights, **arguments)
    for dropout in (arguments["dropout"], tuple(map(shifted, arguments["dropout"]))):
        for inputs in ((memory, weights), moved):
            given = arguments | dict(dropout=dropout)
            assert torch.equal(ops_on("cuda", "sample_words", *inputs, **given), words)


@pytest.mark.parametrize("dtype", [FLOAT32, BFLOAT16], ids=str)
def test_what_scratch_held_before_does_not_matter(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packed columns beyond a layer's last are left as they were and multiplied; as numbers of 0xff bytes are NaN."""
    empty, held = torch.empty, 0

    def used_before(*size: int, **options: Any) -> Tensor:
        made: Tensor = empty(*size, **options)
        return made.fill_(held) if made.dtype == torch.uint8 else made

    monkeypatch.setattr(decode.torch, "empty", used_before)
    case = DecodeCase(B=3, T=2, V=140)
    arguments = case.sampling(3, dtype)
    expected, words = search(case, dtype, max_length=2), sampled("cuda", case, dtype, arguments)
    for held in (0xFF, 0x7F):
        assert equal(search(case, dtype, max_length=2), expected), held
        assert torch.equal(sampled("cuda", case, dtype, arguments), words), held


@pytest.mark.parametrize("query", [0.0, -3.0, 11.0, -50.0])
def test_error_of_the_tanh_of_a_search(query: float) -> None:
    """Absolute: 5.3e-7, half a last place more by the emulated reciprocal, and 6e-8 of a query that a key cancels.

    Found in the attention to two parts: a score of large weight, which the bias brings near 0, beside one that is 0.
    """
    weight, error = 2000.0, 0.0
    case = DecodeCase(B=1, T=40, P=2, S=1, D=2)
    memory, weights = case.memory(FLOAT32), case.weights(FLOAT32)
    memory[3][:] = case.T
    weights.spatial_query.zero_()
    weights.spatial_query_bias.copy_(torch.tensor([query, 0.3]))
    weights.spatial_weight.copy_(torch.tensor([[0.0, 0.0], [weight, 0.0]]))
    weights.spatial_bias.zero_()
    for middle in torch.linspace(-4, 4, 33):
        keys = memory[2][0, :, 0, 0] = middle - query + torch.linspace(-2e-3, 2e-3, case.T)
        weights.spatial_bias[1] = -weight * torch.tanh(middle)
        alpha = ops_on("cuda", "search", memory, weights, beam_size=1, max_length=1).spatial[0, 0].double()
        found = ((alpha[:, 1] / alpha[:, 0]).log() - weights.spatial_bias[1].double()) / weight
        error = max(error, float((found - torch.tanh(keys.double() + query)).abs().max()))
    assert 1e-9 < error <= 6e-7 + 6e-8 * abs(query) + 2.0**-23  # of scores and biases of this weight


def test_what_does_not_fit_into_shared_memory_runs_on_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    case = DecodeCase(B=2, T=3)
    monkeypatch.setattr(decode, "LARGEST_BEAM", 2)
    monkeypatch.delattr(decode, "_launch")
    found = search(case, beam_size=3, max_length=3)
    assert_exact(found, search(case, backend="reference", double=True, beam_size=3, max_length=3))


def test_float64_runs_on_the_reference(device: ModuleType) -> None:
    before = device.launches()
    found = search(DecodeCase(B=2, T=3), torch.float64, max_length=3)
    assert found.scores.dtype == torch.float64 and device.launches() == before


def test_memory_is_bounded_by_decoding_fewer_motions_at_a_time(device: ModuleType) -> None:
    """The plan alone: nothing of these sizes is made."""
    device.set_device(132, 232448, 90)
    sizes = dict(batch=4160, frames=2000, parts=6, slots=6, part_dim=256, attention_dim=256, hidden=256, word=128)
    for beams, most in ((2, 3 << 30), (100, 3 << 30)):
        given = dict(sizes=dict(sizes, mixture=640, vocabulary=50000), beams=beams, max_length=40, sampling=False)
        made = launch.run("search", "plan_decode", torch.empty(0), {}, **given)
        plan = record(device, "DecodePlan").unpacked(made)
        assert plan["teams"] >= 1 and plan["slots"] >= 1 and plan["cluster"] in (1, 2, 4, 8, 16)
        assert plan["bytes"] < most


def test_opcheck() -> None:
    case = DecodeCase(B=2, T=3)
    memory, weights, arguments = case.memory(FLOAT32), list(case.weights(FLOAT32)), case.sampling(3, FLOAT32)
    torch.library.opcheck(torch.ops.m2t_fast.search, (*memory, weights, 2, 2, 1.0, None, 1.0, "cuda"))
    words, coins, (first, second) = arguments["words"], arguments["coins"], arguments["dropout"]
    torch.library.opcheck(
        torch.ops.m2t_fast.sample_words, (*memory, weights, words, coins, [first, second], 1.0, "cuda")
    )
