"""Attention in CUDA, on the emulated device: values and gradients against the float64 reference, and equal bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from m2t_fast import numerics, ops, reference, use_backend
from m2t_fast.ops.cases import AttentionCase
from m2t_fast.ops.cuda import attention as kernels
from m2t_fast.ops.cuda import attention_with_loss, launch
from m2t_fast.ops.cuda.attention_call import SIZES, Call
from m2t_fast.ops.registry import has_kernel

NAME = "spatio_temporal_attention"
OP = numerics.OPS[NAME]
ODD = dict(B=3, T=37, L=7, H=70, D=67)


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Memory that is allocated and not written is NaN."""
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.utils.deterministic.fill_uninitialized_memory = before[1]


@dataclass(frozen=True)
class Scaled(AttentionCase):
    """A case with larger or smaller keys and queries, and weights of the scores."""

    keys: float = 1.0
    weights: float = 1.0

    def inputs(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> list[Tensor]:
        factors = [1.0, *[self.keys] * 4, *[self.weights] * 2, 1.0, 1]
        return [x * factor for x, factor in zip(super().inputs(dtype, seed), factors, strict=True)]


def assert_policy(case: AttentionCase, dtype: torch.dtype = torch.float32, draws: int = 3) -> None:
    drawn = [numerics._draw(OP, case, dtype, seed, "cpu") for seed in range(draws)]
    row = numerics._row(NAME, OP, "", case, "cuda", dtype, drawn)
    assert row.passed, row


def results(inputs: list[Tensor], used: Sequence[int] = range(5), backend: str = "cuda") -> list[Tensor]:
    """The outputs, and gradients of a weighted sum of those in ``used``."""
    leaves = [x.detach().requires_grad_() for x in inputs[:8]]
    with use_backend(backend):
        outputs = ops.spatio_temporal_attention(*leaves, inputs[8], scale=0.5)
        weights = [torch.linspace(-1, 2, o.numel(), dtype=o.dtype).view(o.shape) for o in outputs]
        total = sum((outputs[i] * weights[i]).double().sum() for i in used)
        gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [*(o.detach() for o in outputs), *gradients]


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def exact(inputs: list[Tensor], used: Sequence[int] = range(5)) -> list[Tensor]:
    return results([*(x.double() for x in inputs[:8]), inputs[8]], used, "reference")


def assert_close(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for i, (x, y) in enumerate(zip(found, expected, strict=True)):
        error, size = float((x.double() - y).abs().max()), float(y.abs().max())
        assert error <= tolerance * max(1.0, size), (i, error, size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", OP.cases)
def test_policy(device: ModuleType, case: str, dtype: torch.dtype) -> None:
    row = numerics.row(NAME, case, "cuda", dtype, draws=3 if dtype == torch.float32 else 2)
    assert row.passed, row


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize("weights", [0.02, 0.2, 0.3, 3.0])
@pytest.mark.parametrize("keys", [0.001, 3.0, 12.0])
def test_small_and_saturated_keys(device: ModuleType, S: int, keys: float, weights: float) -> None:
    """Both ways to tanh(key + query) in float32, which the sizes of keys, queries and weights decide between."""
    assert_policy(Scaled(S=S, T=19, L=5, D=67, keys=keys, weights=weights))


@pytest.mark.parametrize("S", [1, 6])
def test_long_motions_at_the_sizes_of_a_model(device: ModuleType, S: int) -> None:
    assert_policy(Scaled(S=S, B=1, T=600, L=3, H=16, D=64, weights=0.1, sharp=30.0), draws=2)


@pytest.mark.parametrize("sizes", [dict(P=1, S=1), dict(P=7, S=1), dict(P=16, S=1), dict(P=16, S=16)], ids=str)
def test_other_numbers_of_parts(device: ModuleType, sizes: dict) -> None:
    assert_policy(AttentionCase(**sizes, B=3, T=7, D=9))


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.fixed_dictionaries({k: st.integers(1, n) for k, n in dict(B=3, T=40, L=9, P=9, H=70, D=140).items()}),
    frame=st.booleans(),
    short=st.booleans(),
)
def test_any_shape(device: ModuleType, sizes: dict, frame: bool, short: bool) -> None:
    case = AttentionCase(**sizes, S=1 if frame else sizes["P"])
    assert_policy(case, torch.bfloat16 if short else torch.float32, draws=4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("S", [1, 6])
def test_every_order_of_threads_gives_the_same_bits(device: ModuleType, S: int, dtype: torch.dtype) -> None:
    inputs = Scaled(S=S, **ODD, weights=0.2).inputs(dtype)
    inputs[1][1, 0, 0, 0] = 100.0  # one tile of one motion takes the other way to tanh
    expected = results(inputs)
    assert all(x.isfinite().all() for x in expected)
    for order in ("backward", "shuffled", "warps"):
        device.set_order(order)
        assert equal(results(inputs), expected)


@pytest.mark.parametrize("S", [1, 6])
def test_padding_is_neither_read_nor_left_unwritten(device: ModuleType, S: int) -> None:
    case = AttentionCase(S=S, B=4, T=150)
    clean = case.inputs(torch.float32)
    clean[8] = torch.tensor([150, 3, 128, 140])
    dirty = [x.clone() for x in clean]
    outside = torch.arange(case.T) >= clean[8][:, None]
    for x in dirty[:3]:
        x[outside] = torch.nan
    found = results(dirty)
    assert equal(found, results(clean))
    assert not any(found[i].transpose(1, 2)[outside].any() for i in (1, 2))
    assert not any(found[i][outside].any() for i in (5, 6, 7))


def test_a_clamped_sigma_carries_no_gradient(device: ModuleType) -> None:
    found = results(AttentionCase(S=6, T=1).inputs(torch.float32), used=[1, 3, 4])
    assert torch.equal(found[4], torch.full_like(found[4], 1e-3)) and torch.equal(found[1], torch.ones_like(found[1]))
    assert not any(x.any() for x in found[5:])


def test_moments_keep_their_digits_far_into_a_long_motion(device: ModuleType) -> None:
    """Two frames share the attention at frame 1,900: the mean is between them, sigma is half a frame."""
    inputs = AttentionCase(B=1, T=2000, L=1, S=1, D=1).inputs(torch.float32)
    for i in (1, 3):
        inputs[i].zero_()
    inputs[1][0, 1900:1902] = 5.0
    inputs[5].fill_(400.0)
    found = results(inputs)
    assert float(found[3]) == 1900.5 and float(found[4]) == 0.5


def test_lengths_out_of_range_are_clamped(device: ModuleType) -> None:
    """The op checks them; called below the op, the kernels must still stay inside their tensors."""
    case = AttentionCase(S=6)
    x = case.record(torch.float32)
    full, wrong, empty = (
        kernels.spatio_temporal_attention(x._replace(lengths=torch.full_like(x.lengths, length)))
        for length in (case.T, 10**12, -5)
    )
    assert equal(list(wrong), list(full))
    assert not empty[0].any() and not empty[1].any() and not empty[2].any() and empty[4].isnan().all()


@pytest.mark.parametrize("place", [0, 1, 2, 3, 4, 5, 6])
def test_nan_in_an_input_shows(device: ModuleType, place: int) -> None:
    inputs = AttentionCase().inputs(torch.float32)
    inputs[place].flatten()[0] = torch.nan
    assert results(inputs)[0].isnan().any()


@pytest.mark.parametrize("used", [[0], [1], [2], [3], [4], [1, 3, 4]], ids=str)
def test_some_outputs_used(device: ModuleType, used: list[int]) -> None:
    for S in (1, 6):
        inputs = AttentionCase(S=S).inputs(torch.float32)
        assert_close(results(inputs, used), exact(inputs, used), 2e-5)


@pytest.mark.parametrize("S", [1, 6])
def test_more_words_than_shared_memory_holds(device: ModuleType, S: int) -> None:
    inputs = Scaled(S=S, B=2, T=11, L=70, D=100, weights=0.2).inputs(torch.float32)
    expected = results(inputs)
    device.set_device(108, 48 * 1024, 80)
    assert_close(results(inputs), exact(inputs), 2e-5)
    assert_close(results(inputs), [x.double() for x in expected], 2e-5)


@pytest.mark.parametrize("L", [1, 2, 3, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("S", [1, 6])
def test_the_context_alone(device: ModuleType, S: int, dtype: torch.dtype, L: int) -> None:
    short = dtype == torch.bfloat16
    inputs = AttentionCase(S=S, B=3, T=300, L=L, D=20, sharp=1.0 if short else 20.0).inputs(dtype)
    inputs[0][1, :, 0] = 0.0
    with use_backend("cuda"):
        found = ops.spatio_temporal_context(*inputs, 1.0)
    expected = reference.spatio_temporal_attention(*(x.double() for x in inputs[:8]), inputs[8]).context
    assert found.dtype == dtype
    assert float((found - expected).norm()) <= (2e-2 if short else 1e-5) * float(expected.norm())


def test_frames_outside_the_window_are_not_scored(device: ModuleType) -> None:
    """Far from a sharp window a frame's parts and spatial keys are not read; every output together needs them."""
    inputs = AttentionCase(S=6, B=1, T=400, L=1).inputs(torch.float32)
    inputs[1][:] = -9.0
    inputs[1][:, 100] = 9.0
    inputs[5] = inputs[5].abs() * 100
    far = (torch.arange(400) - 100).abs() > 60
    inputs[0][:, far], inputs[2][:, far] = torch.nan, torch.nan
    with use_backend("cuda"):
        assert ops.spatio_temporal_context(*inputs, 1.0).isfinite().all()
        assert ops.spatio_temporal_attention(*inputs).context.isnan().any()


def guided_results(function: Callable, inputs: list[Tensor], target: Tensor) -> list[Tensor]:
    """Context, spatial loss, mean and std, and gradients of a weighted sum of them."""
    leaves = [x.detach().requires_grad_() for x in inputs[:8]]
    context, loss, mean, std = function(*leaves, inputs[8], target)
    weight = torch.linspace(-1, 2, context.numel(), dtype=torch.float64).view(context.shape).to(context)
    words = torch.arange(1, loss.shape[1] + 1)
    total = (context * weight).sum() + (loss * words + mean * words.flip(0) - std * words).sum()
    return [*(x.detach() for x in (context, loss, mean, std)), *torch.autograd.grad(total, leaves)]


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_kept_scores_change_no_bit_of_a_gradient(device: ModuleType, S: int, dtype: torch.dtype) -> None:
    guided = AttentionCase(S=S, B=3, T=37, L=9, D=40).guided(dtype)
    made, kept = attention_with_loss.guided_attention(guided, keep=True)
    saved = ops.guided_attention._saved(*kept)
    expected = attention_with_loss.guided_attention_backward(made, guided)
    for _ in range(2):  # what was kept is there for a second time
        found = attention_with_loss.guided_attention_backward(made, guided, saved)
        assert equal(list(found.values()), list(expected.values()))


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize(("spread", "T"), [(1.0, 150), (40.0, 11)])
def test_the_loss_folded_into_the_attention(device: ModuleType, S: int, spread: float, T: int) -> None:
    inputs = AttentionCase(S=S, B=3, T=T, L=4).inputs(torch.float32)
    inputs[6] *= spread  # 40: weights that round to 0 and 1
    target = torch.randint(-1, 2, (3, 4, 6), generator=torch.Generator().manual_seed(3))
    target[1] = -1
    exact = guided_results(reference.guided_attention, [*(x.double() for x in inputs[:8]), inputs[8]], target)
    plain = guided_results(reference.guided_attention, inputs, target)
    with use_backend("cuda"):
        assert has_kernel("guided_attention", inputs[0])
        found = guided_results(ops.guided_attention, inputs, target)
        device.set_order("shuffled")
        assert equal(guided_results(ops.guided_attention, inputs, target), found)
    scale = max(float(x.abs().max()) for x in exact[4:])
    for i, (a, p, e) in enumerate(zip(found, plain, exact, strict=True)):
        size = scale if i > 3 else float(e.abs().max())
        allowed = (3 if i > 3 else 2) * float((p - e).abs().max()) + 1e-6 * size
        assert float((a - e).abs().max()) <= allowed, (i, float((a - e).abs().max()), allowed)


@pytest.mark.parametrize("keys", [0.001, 1.0, 4.0, 12.0])
@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize("L", [3, 9])
def test_float16(device: ModuleType, S: int, L: int, keys: float) -> None:
    """Several rows of weights (S = 1) go to the matrix units, with both ways to a tanh."""
    assert_policy(Scaled(S=S, T=19, L=L, D=67, keys=keys, weights=0.3), torch.float16, draws=4)


@pytest.mark.parametrize("weight", [2.0**-14, 1.0, 30000.0])
def test_error_of_sums_on_the_matrix_units(device: ModuleType, weight: float) -> None:
    """Of float16 numbers: that of a tanh rounded to float16, however large or small a row of weights is."""
    g = torch.Generator().manual_seed(0)
    keys, query = ((torch.randn(1, n, 1, 64, generator=g) * 2).half().float() for n in (40, 30))
    query = query[:, :, 0].contiguous()
    weights = (torch.rand(6, 64, generator=g) * weight).half().float()
    call = Call(keys, torch.tensor([40]), (1, 40, 30, 6, 1, 1, 64), half=True)
    before = device.launches()
    found, _ = call.scores(keys, query, weights)
    assert device.launches() == before + 1
    true = torch.tanh(keys[:, None, :, 0].double() + query[:, :, None].double()) @ weights.double().T
    error = (found.view(1, 30, 40, 6).double() - true).abs() / weights.double().abs().sum(1)
    plain = torch.tanh((keys[:, None, :, 0] + query[:, :, None]).half()).double() @ weights.double().T
    assert 1e-7 < float(error.max()) < 2**-12
    assert float(error.max()) < 1.5 * float(((plain - true).abs() / weights.double().abs().sum(1)).max())


def test_other_dtypes(device: ModuleType) -> None:
    """float16 is stored as float32, float64 computed by the reference."""
    inputs = [x.half() if x.is_floating_point() else x for x in AttentionCase().inputs()]
    found = results(inputs)
    assert all(x.dtype == torch.float16 for x in found)
    assert_close(found, exact(inputs), 5e-3)
    before = device.launches()
    double = AttentionCase().inputs()
    assert equal(results(double), exact(double))
    assert device.launches() == before


def test_a_launch_that_fails_names_the_op_and_the_sizes(device: ModuleType) -> None:
    device.set_device(132, 1024, 90)
    sizes = r"B=2, T=9, L=5, P=6, S=1, H=8, D=7"
    with use_backend("cuda"), pytest.raises(RuntimeError, match=rf"^{NAME} on cpu in float32 \({sizes}\): .*shared"):
        ops.spatio_temporal_attention(*AttentionCase().inputs(torch.float32))


@pytest.mark.parametrize(
    ("largest", "weight", "bound", "exponential"),
    [(10.9, 1.0, 4e-7, 0.0), (10.9, 1.0, 5.7e-7, 2.0**-22), (15.9, 1.0, 2e-7, 0.0), (15.9, 100.0, 1.3e-7, 0.0)],
)
def test_error_of_both_tanh(
    device: ModuleType, largest: float, weight: float, bound: float, exponential: float
) -> None:
    """Absolute, of tanh(key + query): the product of exponentials, and the sum where the weight is too large for it.

    The hardware's power of 2 errs by ``exponential`` of its value at most.
    """
    device.set_exponential_error(exponential)
    g = torch.Generator().manual_seed(0)
    size = torch.logspace(-6, 0, 400) * largest
    keys = (size * (torch.randint(0, 2, (400,), generator=g) * 2 - 1)).view(1, 400, 1, 1)
    query = ((torch.rand(1, 200, 1, generator=g) * 2 - 1) * largest).contiguous()
    query[:, ::2] = -keys[:, ::4, 0] * (1 + torch.rand(1, 100, 1, generator=g) / 100)  # near 0, from large numbers
    weights, out = torch.full((1, 1), weight), torch.empty(1, 200, 400)
    task = dict(
        sizes=dict(zip(SIZES, (1, 400, 200, 1, 1, 1, 1), strict=True)),
        rows=1,
        half=False,
        keys=keys,
        query=query,
        weight=weights,
        lengths=torch.tensor([400]),
        stats=None,
        scores=out,
        rest=None,
    )
    launch.run(NAME, "attention_scores", keys, {}, task=task)
    true = torch.tanh(keys[:, :, 0, 0].double()[:, None] + query.double())
    error = (out.double() / weight - true).abs().max()
    assert 1e-9 < float(error) <= bound
