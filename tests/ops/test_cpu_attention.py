"""The C++ attention: gradients, layouts, padding, determinism. Its accuracy is in test_cpu_policy.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from m2t_fast import ops, reference, use_backend
from m2t_fast.ops.attention import AttentionOutput
from m2t_fast.ops.cases import AttentionCase
from m2t_fast.ops.cpu import attention, launch
from m2t_fast.ops.registry import OPS, why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable("cpu") is not None, reason=f"cpu backend: {why_unavailable('cpu')}")

NAMES = [
    "context", "window", "spatial", "mean", "std", "d_parts", "d_temporal_keys", "d_spatial_keys", "d_temporal_query",
    "d_spatial_query", "d_temporal_weight", "d_spatial_weight", "d_spatial_bias",
]  # fmt: skip


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def instruction_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each copy of the kernels; a processor without one runs its best instead."""
    monkeypatch.setattr(launch, "instruction_set", request.param)
    yield request.param


def results(function, inputs: list[Tensor], scale: float, used=range(5)) -> list[Tensor]:
    """The five outputs and the eight gradients of a weighted sum of those in ``used``."""
    *tensors, lengths = inputs
    leaves = [x.detach().requires_grad_() for x in tensors]
    outputs = function(*leaves, lengths, scale)
    g = torch.Generator().manual_seed(1)
    weights = [torch.randn(o.shape, generator=g, dtype=torch.float64).to(o.dtype) for o in outputs]
    total = sum((outputs[i] * weights[i]).sum() for i in used)
    return [*outputs, *torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)]


def on_cpu(inputs: list[Tensor], scale: float = 1.0, used=range(5)) -> list[Tensor]:
    with use_backend("cpu"):
        return results(ops.spatio_temporal_attention, inputs, scale, used)


@pytest.mark.parametrize("S", [1, 6])
def test_every_combination_of_used_outputs(S: int) -> None:
    inputs = AttentionCase(S=S).inputs()
    for bits in range(1, 32):
        used = [i for i in range(5) if bits >> i & 1]
        expected = results(reference.spatio_temporal_attention, inputs, 0.5, used)
        for name, ours, exact in zip(NAMES, on_cpu(inputs, 0.5, used), expected, strict=True):
            torch.testing.assert_close(
                ours, exact, rtol=1e-9, atol=1e-10, msg=lambda m, n=name, u=used: f"{n} {u}: {m}"
            )


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_layout_gives_the_same_bits(S: int, dtype: torch.dtype) -> None:
    inputs = AttentionCase(S=S, B=3).inputs(dtype)
    expected = on_cpu(inputs)
    transposed = [x.transpose(0, -1).contiguous().transpose(0, -1) for x in inputs[:8]]
    strided = [torch.stack([x, torch.full_like(x, torch.nan)], dim=-1)[..., 0] for x in inputs[:8]]
    lengths = torch.stack([inputs[8], inputs[8] + 100], dim=-1)[..., 0]
    for layout in ([*transposed, inputs[8]], [*strided, lengths]):
        assert all(torch.equal(a, b) for a, b in zip(on_cpu(layout), expected, strict=True))


@pytest.mark.parametrize("S", [1, 6])
def test_expanded_inputs(S: int) -> None:
    inputs = AttentionCase(S=S, B=3).inputs()
    expanded = [x[:1].expand(x.shape) for x in inputs[:5]] + [x[..., :1].expand(x.shape) for x in inputs[5:8]]
    expected = on_cpu([*(x.contiguous() for x in expanded), inputs[8]])
    assert all(torch.equal(a, b) for a, b in zip(on_cpu([*expanded, inputs[8]]), expected, strict=True))


@pytest.mark.parametrize("S", [1, 6])
def test_padding_is_neither_read_nor_left_unwritten(S: int) -> None:
    case = AttentionCase(S=S, B=4, T=20)
    clean = case.inputs(torch.float32)
    dirty = [x.clone() for x in clean]
    outside = torch.arange(case.T) >= clean[8][:, None]
    for x in dirty[:3]:
        x[outside] = torch.nan
    expected, actual = on_cpu(clean), on_cpu(dirty)
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))
    window, spatial, d_parts, d_temporal_keys, d_spatial_keys = (actual[i] for i in (1, 2, 5, 6, 7))
    assert not window.transpose(1, 2)[outside].any() and not spatial.transpose(1, 2)[outside].any()
    assert not any(x[outside].any() for x in (d_parts, d_temporal_keys, d_spatial_keys))


def test_nan_in_a_valid_frame_shows() -> None:
    inputs = AttentionCase(S=6).inputs(torch.float32)
    inputs[1][0, 0, 0, 0] = torch.nan
    out = on_cpu(inputs)
    assert torch.isnan(out[0][0]).all() and torch.isnan(out[3][0]).all() and not torch.isnan(out[0][1]).any()


@pytest.mark.parametrize("S", [1, 6])
def test_words_without_a_gradient_change_nothing(S: int) -> None:
    inputs = AttentionCase(S=S, L=7, B=3).inputs()
    few = [x[:, [1, 4, 5]] if i in (3, 4) else x for i, x in enumerate(inputs)]

    def gradients(x: list[Tensor], words: list[int]) -> list[Tensor]:
        leaves = [v.detach().requires_grad_() for v in x[:8]]
        with use_backend("cpu"):
            context = ops.spatio_temporal_attention(*leaves, x[8]).context
        return list(torch.autograd.grad(context[:, words].square().sum(), leaves))

    all_words, few_words = gradients(inputs, [1, 4, 5]), gradients(few, [0, 1, 2])
    for i, (a, b) in enumerate(zip(all_words, few_words, strict=True)):
        if i in (3, 4):
            assert not a[:, [0, 2, 3, 6]].any()
            a = a[:, [1, 4, 5]]
        assert torch.equal(a, b)


@pytest.mark.parametrize("B", [1, 5])
@pytest.mark.parametrize("S", [1, 6])
def test_equal_bits_for_any_number_of_threads_in_every_run(S: int, B: int) -> None:
    inputs = AttentionCase(S=S, B=B, T=33, L=11, D=40, H=24).inputs(torch.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = on_cpu(inputs)
        for threads in (2, 3, 8):
            torch.set_num_threads(threads)
            for _ in range(70):
                assert all(torch.equal(a, b) for a, b in zip(on_cpu(inputs), expected, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_without_what_the_forward_pass_kept(S: int, dtype: torch.dtype, instruction_set: str) -> None:
    case = AttentionCase(S=S, T=40, D=33, sharp=0.3)
    x = case.record(dtype)._replace(scale=0.5)
    outputs, (gamma,) = attention.spatio_temporal_attention(x, keep=True)
    assert gamma.shape == (case.B, case.L, case.T, S)
    torch.testing.assert_close(gamma.sum((2, 3)), torch.ones(case.B, case.L, dtype=dtype))
    generator = torch.Generator
    grads = AttentionOutput(*(torch.randn(o.shape, generator=generator().manual_seed(2)).to(o) for o in outputs))
    nothing = OPS["spatio_temporal_attention"].nothing_saved
    kept = attention.spatio_temporal_attention_backward(
        grads, x, nothing._replace(spatial=outputs.spatial, gamma=gamma)
    )
    again = attention.spatio_temporal_attention_backward(grads, x, nothing)
    for a, b in zip(kept.values(), again.values(), strict=True):
        torch.testing.assert_close(
            a, b, rtol=0, atol=float(b.abs().max()) * (1e-5 if dtype == torch.float32 else 1e-13)
        )


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keys_and_queries_beyond_every_exponential(S: int, dtype: torch.dtype, instruction_set: str) -> None:
    """One motion's keys are huge and its queries cancel them, another's are infinite, the third's are ordinary."""
    case = AttentionCase(S=S, B=3, D=33, sharp=0.3)
    inputs = case.inputs(dtype)
    for keys, query in ((1, 3), (2, 4)):
        inputs[keys][0] += 800
        inputs[query][0] -= 800
        inputs[keys][1, 0] = torch.inf
    expected = results(
        reference.spatio_temporal_attention, [x.double() if i < 8 else x for i, x in enumerate(inputs)], 1.0
    )
    for name, ours, exact in zip(NAMES, on_cpu(inputs), expected, strict=True):
        scale = max(float(exact.detach().abs().max()), 1e-3)
        tolerance = scale * (3e-4 if dtype == torch.float32 else 1e-11)
        torch.testing.assert_close(ours.double(), exact, rtol=0, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("S", [1, 2])
def test_gradcheck(S: int, instruction_set: str) -> None:
    *tensors, lengths = AttentionCase(B=2, T=4, L=2, P=2, S=S, H=3, D=3).inputs()
    leaves = [x.requires_grad_() for x in tensors]
    with use_backend("cpu"):
        assert torch.autograd.gradcheck(lambda *x: tuple(ops.spatio_temporal_attention(*x, lengths, 0.7)), leaves)


def test_a_clamped_sigma_carries_no_gradient() -> None:
    inputs = AttentionCase(S=6, T=1).inputs()
    out = on_cpu(inputs, used=[1, 3, 4])
    assert torch.equal(out[4], torch.full_like(out[4], 1e-3)) and torch.equal(out[1], torch.ones_like(out[1]))
    assert not any(g.any() for g in out[5:])


def test_lengths_out_of_range_are_clamped() -> None:
    """The op checks them; called below the op, the kernel must still stay inside its tensors."""
    case = AttentionCase(S=6)
    x = case.record()
    full, wrong, empty = (
        attention.spatio_temporal_attention(x._replace(lengths=torch.full_like(x.lengths, length)))
        for length in (case.T, 10**12, -5)
    )
    assert all(torch.equal(a, b) for a, b in zip(wrong, full, strict=True))
    assert not empty[0].any() and not empty[1].any() and torch.isnan(empty[3]).all()
