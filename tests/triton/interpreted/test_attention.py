"""The attention's Triton kernels, interpreted: values, gradients, layouts, padding, what is skipped."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest
import torch
from support import assert_close, assert_within_policy, equal, exact, poisoned_memory, results, targets
from torch import Tensor

from m2t_fast import ops, reference, use_backend
from m2t_fast.ops.attention import AttentionInputs
from m2t_fast.ops.cases import AttentionCase, GateCase
from m2t_fast.ops.triton import attention, attention_with_loss, launch

pytestmark = pytest.mark.interpreted


NAMES = [
    "context", "window", "spatial", "mean", "std", "d_parts", "d_temporal_keys", "d_spatial_keys", "d_temporal_query",
    "d_spatial_query", "d_temporal_weight", "d_spatial_weight", "d_spatial_bias",
]  # fmt: skip


def on_triton(inputs: list[Tensor], scale: float = 1.0, used: Iterable[int] | None = None) -> list[Tensor]:
    with use_backend("triton"):
        return results(ops.spatio_temporal_attention, inputs, used, scale=scale)


def close_to_reference(inputs: list[Tensor], scale: float = 1.0, used: Iterable[int] | None = None) -> None:
    truth = results(reference.spatio_temporal_attention, exact(inputs), used, scale=scale)
    assert_close(on_triton(inputs, scale, used), truth, names=NAMES)


@pytest.mark.parametrize("S", [1, 6])
def test_the_block_sizes_of_a_gpu(S: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "assumed", "default")
    close_to_reference(AttentionCase(S=S, B=1, T=19, L=9, D=37, H=21).inputs(torch.float32))


@pytest.mark.parametrize("sizes", [dict(P=1, S=1), dict(P=3, S=3), dict(P=9, S=1), dict(P=9, S=9)], ids=str)
def test_other_numbers_of_parts(sizes: dict) -> None:
    close_to_reference(AttentionCase(**sizes, B=3, T=7, D=9).inputs(torch.float32))


@pytest.mark.parametrize("S", [1, 6])
def test_features_and_keys_wider_than_a_block(S: int) -> None:
    close_to_reference(AttentionCase(S=S, B=1, T=5, L=3, H=attention.LARGEST_BLOCK_H + 44, D=300).inputs(torch.float32))


@pytest.mark.parametrize("used", [[0], [1], [2], [3], [4], [0, 2], [1, 3, 4]], ids=str)
def test_some_outputs_used(used: list[int]) -> None:
    for S in (1, 6):
        close_to_reference(AttentionCase(S=S).inputs(torch.float32), 0.5, used)


@pytest.mark.parametrize("S", [1, 6])
def test_any_layout_gives_the_same_bits(S: int) -> None:
    inputs = AttentionCase(S=S, B=3).inputs(torch.float32)
    expected = on_triton(inputs)
    transposed = [x.transpose(0, -1).contiguous().transpose(0, -1) for x in inputs[:8]]
    strided = [torch.stack([x, torch.full_like(x, torch.nan)], dim=-1)[..., 0] for x in inputs[:8]]
    lengths = torch.stack([inputs[8], inputs[8] + 100], dim=-1)[..., 0]
    for layout in ([*transposed, inputs[8]], [*strided, lengths]):
        assert equal(on_triton(layout), expected)


@pytest.mark.parametrize("S", [1, 6])
def test_padding_is_neither_read_nor_left_unwritten(S: int) -> None:
    case = AttentionCase(S=S, B=3, T=131)  # more frames than a tile
    clean = case.inputs(torch.float32)
    clean[8] = torch.tensor([3, 128, 130])
    dirty = [x.clone() for x in clean]
    outside = torch.arange(case.T) >= clean[8][:, None]
    for x in dirty[:3]:
        x[outside] = torch.nan
    expected, actual = on_triton(clean), on_triton(dirty)
    assert equal(actual, expected)
    assert not any(actual[i].transpose(1, 2)[outside].any() for i in (1, 2))
    assert not any(actual[i][outside].any() for i in (5, 6, 7))


@pytest.mark.parametrize("S", [1, 6])
def test_nothing_is_read_that_was_not_written(S: int) -> None:
    inputs = AttentionCase(S=S, B=3).inputs(torch.float32)
    functions = [
        lambda: on_triton(inputs),
        lambda: results(ops.guided_attention, [*inputs, torch.ones(3, 5, 6, dtype=torch.int64)]),
        lambda: [attention.spatio_temporal_context(AttentionInputs(*inputs))],
        lambda: results(ops.gated_decoder_step, GateCase().inputs(torch.float32)),
        lambda: results(ops.guided_decoder_step, [*GateCase().inputs(torch.float32), targets(2, 5)]),
    ]
    with use_backend("triton"):
        expected = [function() for function in functions]
        with poisoned_memory():
            found = [function() for function in functions]
    assert all(equal(a, b) for a, b in zip(found, expected, strict=True))


def test_nan_in_a_valid_frame_shows() -> None:
    inputs = AttentionCase(S=6).inputs(torch.float32)
    inputs[1][0, 0, 0, 0] = torch.nan
    out = on_triton(inputs)
    assert torch.isnan(out[0][0]).all() and torch.isnan(out[3][0]).all() and not torch.isnan(out[0][1]).any()
    context = attention.spatio_temporal_context(AttentionInputs(*inputs))
    assert torch.isnan(context[0]).all() and torch.equal(context[1], out[0][1])


def test_a_clamped_sigma_carries_no_gradient() -> None:
    out = on_triton(AttentionCase(S=6, T=1).inputs(torch.float32), used=[1, 3, 4])
    assert torch.equal(out[4], torch.full_like(out[4], 1e-3)) and torch.equal(out[1], torch.ones_like(out[1]))
    assert not any(g.any() for g in out[5:])


def test_lengths_out_of_range_are_clamped() -> None:
    """The op checks them; called below the op, the kernel must still stay inside its tensors."""
    case = AttentionCase(S=6)
    x = case.record(torch.float32)
    full, wrong, empty = (
        attention.spatio_temporal_attention(x._replace(lengths=torch.full_like(x.lengths, length)))
        for length in (case.T, 10**12, -5)
    )
    assert equal(wrong, full)
    assert not empty[0].any() and not empty[1].any() and not empty[2].any() and torch.isnan(empty[4]).all()


@pytest.mark.parametrize(
    ("S", "sharp", "dtype"),
    [(1, 1.0, torch.float32), (6, 1.0, torch.float32), (1, 300.0, torch.float32), (6, 300.0, torch.float32)]
    + [(6, 300.0, torch.bfloat16), (6, 300.0, torch.float16)],
    ids=str,
)
def test_the_context_alone_skips_what_cannot_be_seen(S: int, sharp: float, dtype: torch.dtype) -> None:
    inputs = AttentionCase(S=S, B=2, T=400, L=1, D=16, sharp=sharp).inputs(dtype)
    expected = reference.spatio_temporal_attention(*(x.double() for x in inputs[:8]), inputs[8])
    if sharp > 1:  # frames outside the window may hold anything: they are not read
        far = (torch.arange(400) - expected.mean).abs() > 10 * expected.std + 128
        assert far.any()
        inputs[0][far], inputs[2][far] = torch.nan, torch.nan
    context = attention.spatio_temporal_context(AttentionInputs(*inputs))
    tolerance = max(2e-5, torch.finfo(dtype).eps)
    torch.testing.assert_close(context.double(), expected.context, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_what_is_skipped_is_below_the_resolution(dtype: torch.dtype) -> None:
    """Frames are left out a block at a time: those within reach of the mean are read, the blocks beyond are not."""
    inputs = AttentionCase(S=1, B=1, T=1000, L=1, D=16, sharp=300.0).inputs(dtype)
    inputs[1].zero_()
    inputs[1][0, 500] = 1.0
    inputs[3].zero_()
    inputs[5].fill_(30.0)  # all attention on frame 500: the window is as narrow as it gets
    assert torch.finfo(dtype).eps / 20 < math.exp(-(attention.reach(dtype) ** 2) / 2) < torch.finfo(dtype).eps / 10
    expected = attention.spatio_temporal_context(AttentionInputs(*inputs))
    block = 128  # of the interpreter's configuration; frame 500 lies in the fourth
    for first, changed in ((0, False), (3 * block, True), (4 * block, False)):
        poisoned = [x.clone() for x in inputs]
        poisoned[0][:, first : first + block] = torch.nan
        found = attention.spatio_temporal_context(AttentionInputs(*poisoned))
        assert bool(found.isnan().all()) == changed and (changed or torch.equal(found, expected))


def test_moments_keep_their_digits_far_into_a_long_motion() -> None:
    """Two frames share the attention at frame 1,900: the mean is between them, sigma is half a frame."""
    inputs = AttentionCase(B=1, T=2000, L=1, S=1, D=1).inputs(torch.float32)
    for i in (1, 3):
        inputs[i].zero_()
    inputs[1][0, 1900:1902] = 5.0
    inputs[5].fill_(400.0)
    with use_backend("triton"), torch.no_grad():
        out = ops.spatio_temporal_attention(*inputs)
    assert float(out.mean) == 1900.5 and float(out.std) == 0.5


@pytest.mark.parametrize("S", [1, 6])
def test_kept_scores_change_no_bit_of_a_gradient(S: int) -> None:
    guided = AttentionCase(S=S, B=2, T=11, L=4).guided(torch.float32)
    made, kept = attention_with_loss.guided_attention(guided, keep=True)
    saved = ops.guided_attention._saved(*kept)
    expected = attention_with_loss.guided_attention_backward(made, guided)
    for _ in range(2):  # what was kept is there for a second time
        found = attention_with_loss.guided_attention_backward(made, guided, saved)
        assert equal(list(found.values()), list(expected.values()))


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_the_loss_folded_into_the_attention(S: int, spread: float) -> None:
    inputs = AttentionCase(S=S, B=3, T=11, L=4).inputs(torch.float32)
    inputs[6] *= spread  # 40: weights that round to 0 and 1
    target = targets(3, 4, 6)
    target[1] = -1
    arguments = [*inputs, target]
    truth, plain = (results(reference.guided_attention, x) for x in (exact(arguments), arguments))
    with use_backend("triton"):
        found = results(ops.guided_attention, arguments)
    assert_within_policy(found, plain, truth, outputs=4)


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize(("weight", "largest"), [(2.0**-14, 0.05), (1.0, 2.0), (30000.0, 12.0)])
def test_sums_of_rows_on_the_matrix_units(weight: float, largest: float, short: bool, monkeypatch) -> None:
    """By pairs and one at a time, for bfloat16 and float16: a tanh, rounded to float16, times each row of weights.

    The interpreter, where tensors are float32, cuts digits off where a GPU rounds to nearest.
    """
    monkeypatch.setattr(attention, "on_matrix_units", lambda tensor: True)
    monkeypatch.setattr(attention, "short", lambda tensor: short)
    g = torch.Generator().manual_seed(0)
    keys, query = ((torch.rand(2, n, 1, 40, generator=g) * 2 - 1) * largest for n in (9, 5))
    keys, query, weights = (
        keys.half().float(),
        query[:, :, 0].half().float(),
        (torch.rand(6, 40) * weight).half().float(),
    )
    lengths = torch.tensor([9, 4])
    found, rest = attention.scores(keys, query, weights, lengths, exact=False)
    true = torch.tanh(keys[:, None, :, 0].double() + query[:, :, None].double()) @ weights.double().T
    error = (found.view(2, 5, 9, 6) - true).abs() / weights.double().sum(1)
    assert rest is None and float(error[0].max()) < 2**-11 and float(error[1, :, :4].max()) < 2**-11
    assert float(error[0].max()) > 1e-7
