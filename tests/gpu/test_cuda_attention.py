"""Attention in CUDA on a GPU: the policy, equal bits, poisoned memory, graphs, streams, devices, beside Triton."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from m2t_fast import numerics, ops, reference, use_backend
from m2t_fast.ops.cases import AttentionCase
from m2t_fast.ops.cuda import launch
from m2t_fast.ops.registry import why_unavailable

NAME = "spatio_temporal_attention"
POLICY = [(case, dtype) for case in numerics.OPS[NAME].cases for dtype in (torch.float32, torch.bfloat16)]
MEDIUM = dict(B=8, T=97, L=21, H=128, D=128)
BOTH = pytest.mark.parametrize("S", [1, 6])
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


@pytest.fixture(autouse=True)
def on_cuda() -> Iterator[None]:
    with use_backend("cuda"):
        yield


def inputs_of(case: AttentionCase, dtype: torch.dtype = torch.float32, device: str = "cuda") -> list[Tensor]:
    """Weights of a trained model's size: the float32 kernels then take their fast way to tanh."""
    inputs = case.inputs(dtype)
    return [(x / case.D**0.5 if i in (5, 6) else x).to(device) for i, x in enumerate(inputs)]


def results(inputs: list[Tensor]) -> list[Tensor]:
    """Outputs, and gradients of a weighted sum of them."""
    leaves = [x.detach().requires_grad_() for x in inputs[:8]]
    outputs = ops.spatio_temporal_attention(*leaves, inputs[8])
    weights = [torch.linspace(-1, 2, o.numel(), device=o.device).view(o.shape).to(o.dtype) for o in outputs]
    total = sum((o * w).float().sum() for o, w in zip(outputs, weights, strict=True))
    return [*(o.detach() for o in outputs), *torch.autograd.grad(total, leaves)]


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def assert_close(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    """Outputs each on its own scale, gradients on one: some are 0 by cancellation."""
    largest = max(float(x.norm()) for x in expected[5:])
    for i, (x, y) in enumerate(zip(found, expected, strict=True)):
        assert float((x.double() - y).norm()) <= tolerance * (float(y.norm()) if i < 5 else largest), i


@pytest.mark.parametrize(("case", "dtype"), POLICY, ids=lambda x: str(x).removeprefix("torch."))
def test_policy(case: str, dtype: torch.dtype) -> None:
    row = numerics.row(NAME, case, "cuda", dtype, device="cuda")
    assert row.passed, row


@DTYPES
@BOTH
@pytest.mark.parametrize(
    "sizes",
    [dict(T=100, L=23, D=256, H=256), dict(B=1, T=2000, L=3, D=64, H=32, sharp=30.0), dict(T=40, L=2, P=16, D=128)],
    ids=["humanml3d", "long", "many-parts"],
)
def test_larger_sizes(sizes: dict, S: int, dtype: torch.dtype) -> None:
    case = AttentionCase(**sizes, S=1 if S == 1 else sizes.get("P", 6))
    inputs = inputs_of(case, dtype)
    with use_backend("reference"):
        exact = results([*(x.double() for x in inputs[:8]), inputs[8]])
    assert_close(results(inputs), exact, 2e-5 if dtype == torch.float32 else 3e-2)


@DTYPES
@BOTH
def test_a_thousand_runs_give_equal_bits_from_poisoned_memory(S: int, dtype: torch.dtype) -> None:
    inputs = inputs_of(AttentionCase(S=S, **MEDIUM), dtype)
    expected = results(inputs)
    assert all(x.isfinite().all() for x in expected)
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    try:
        # In this mode torch fills what an allocation gives with NaN.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = True
        assert torch.empty(3, device="cuda").isnan().all()
        for _ in range(1000):
            assert equal(results(inputs), expected)
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]


def guided(inputs: list[Tensor], target: Tensor) -> list[Tensor]:
    """Context, spatial loss, mean and std, and gradients of a weighted sum of them."""
    leaves = [x.detach().requires_grad_() for x in inputs[:8]]
    context, loss, mean, std = ops.guided_attention(*leaves, inputs[8], target)
    total = (context.float() * torch.linspace(-1, 2, context.shape[2], device="cuda")).sum() + loss.sum()
    total = total + mean.float().sum() - 2 * std.float().sum()
    return [*(x.detach() for x in (context, loss, mean, std)), *torch.autograd.grad(total, leaves)]


@DTYPES
@BOTH
def test_the_loss_folded_into_the_attention(S: int, dtype: torch.dtype) -> None:
    inputs = inputs_of(AttentionCase(S=S, **MEDIUM), dtype)
    target = torch.randint(-1, 2, (8, 21, 6), generator=torch.Generator().manual_seed(3)).cuda()
    with use_backend("reference"):
        exact = guided([*(x.double() for x in inputs[:8]), inputs[8]], target)
    found = guided(inputs, target)
    largest = max(float(x.norm()) for x in exact[4:])
    for i, (x, y) in enumerate(zip(found, exact, strict=True)):
        scale = float(y.norm()) if i < 4 else largest
        assert float((x.double() - y).norm()) <= (2e-5 if dtype == torch.float32 else 3e-2) * scale, i
    for _ in range(100):
        assert equal(guided(inputs, target), found)


@BOTH
def test_padding_may_hold_anything(S: int) -> None:
    clean = inputs_of(AttentionCase(S=S, **MEDIUM))
    dirty = [x.clone() for x in clean]
    outside = torch.arange(MEDIUM["T"], device="cuda") >= clean[8][:, None]
    for x in dirty[:3]:
        x[outside] = torch.nan
    assert equal(results(dirty), results(clean))


@BOTH
def test_nothing_of_words_times_frames_times_features_is_held(S: int) -> None:
    case = AttentionCase(B=4, T=200, L=40, S=S, H=256, D=256)
    inputs = inputs_of(case)
    results(inputs)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    results(inputs)
    held = torch.cuda.max_memory_allocated() - before
    assert held < case.B * case.L * case.T * case.D * 4


@pytest.mark.parametrize("L", [1, 2, 10])
@BOTH
def test_the_context_alone(S: int, L: int) -> None:
    inputs = inputs_of(AttentionCase(S=S, B=4, T=300, L=L, H=64, D=64, sharp=160.0))
    exact = reference.spatio_temporal_attention(*(x.double() for x in inputs[:8]), inputs[8]).context
    torch.testing.assert_close(ops.spatio_temporal_context(*inputs, 1.0).double(), exact, rtol=2e-5, atol=2e-5)


@pytest.mark.skipif(why_unavailable("triton") is not None, reason=f"backend triton: {why_unavailable('triton')}")
@DTYPES
@BOTH
def test_triton_agrees(S: int, dtype: torch.dtype) -> None:
    inputs = inputs_of(AttentionCase(S=S, **MEDIUM), dtype)
    with use_backend("triton"):
        other = results(inputs)
    assert_close(results(inputs), [x.double() for x in other], 2e-5 if dtype == torch.float32 else 3e-2)


@BOTH
def test_other_streams(S: int) -> None:
    inputs = inputs_of(AttentionCase(S=S, **MEDIUM))
    expected = results(inputs)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = results(inputs)
    stream.synchronize()
    assert equal(found, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
@BOTH
def test_another_device(S: int) -> None:
    case = AttentionCase(S=S, **MEDIUM)
    expected = results(inputs_of(case))
    with torch.cuda.device(0):
        found = results(inputs_of(case, device="cuda:1"))
        assert torch.cuda.current_device() == 0
    assert all(x.device.index == 1 for x in found) and equal([x.to("cuda:0") for x in found], expected)


@BOTH
def test_a_captured_graph(S: int) -> None:
    inputs = inputs_of(AttentionCase(S=S, **MEDIUM))
    # torch asks that what is captured ran before, in a stream of its own; it also loads the kernels.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        expected = results(inputs)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = results(inputs)
    for _ in range(3):
        for x in found:
            x.zero_()
        graph.replay()
        torch.cuda.synchronize()
        assert equal(found, expected)


@pytest.mark.parametrize(("weight", "largest"), [(1.0, 4e-7), (100.0, 3e-7)], ids=["product", "sum"])
def test_error_of_both_tanh(weight: float, largest: float) -> None:
    """Absolute, of tanh(key + query): the product of exponentials, and the sum where the weight is too large for it."""
    keys = torch.linspace(-10.9, 10.9, 4001, device="cuda").view(1, 4001, 1, 1)
    query = torch.cat([torch.linspace(-10.9, 10.9, 300), torch.logspace(-6, 0, 300)]).cuda().view(1, 600, 1)
    weights, out = torch.full((1, 1), weight, device="cuda"), torch.empty(1, 600, 4001, device="cuda")
    lengths = torch.tensor([4001], device="cuda")
    launch.run(
        NAME, "attention_scores", keys, {}, shape=[1, 4001, 600, 1, 1, 1, 1], rows=1, keys=keys.data_ptr(),
        query=query.data_ptr(), weight=weights.data_ptr(), lengths=lengths.data_ptr(), stats=0,
        scores=out.data_ptr(), rest=0,
    )  # fmt: skip
    error = float((out.double() / weight - torch.tanh(keys[:, :, 0, 0].double()[:, None] + query.double())).abs().max())
    print(f"tanh, weight {weight}: {error:.3g}")
    assert error <= largest
