"""The gated decoder step in CUDA, on the emulated device: policy, any shape, equal bits; few and many rows."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import assert_hidden_may_be_top
from torch import Tensor

from m2t_fast import numerics, ops, reference, use_backend
from m2t_fast.ops.cases import GATE_CASES, GateCase
from m2t_fast.ops.cuda import gate

BOTH = pytest.mark.parametrize("few", [True, False], ids=["few", "many"])


def choose(monkeypatch: pytest.MonkeyPatch, few: bool) -> None:
    monkeypatch.setattr(gate, "FEW_ROWS", 1000 if few else 0)


def results(
    inputs: list[Tensor], force_gate: float | None, which: tuple[int, ...] = (0, 1, 2), module: ModuleType = ops
) -> list[Tensor]:
    """Outputs, and gradients of a weighted sum of those in ``which``."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    outputs = module.gated_decoder_step(*leaves, force_gate=force_gate)
    total = 0 * leaves[0].sum() + sum(
        (outputs[i] * torch.linspace(-1, 2, outputs[i].numel()).view_as(outputs[i]).to(outputs[i])).sum() for i in which
    )
    gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [*(x.detach() for x in outputs), *gradients]


def assert_close(made: list[Tensor], exact: list[Tensor], tolerance: float = 2e-5) -> None:
    for a, e in zip(made, exact, strict=True):
        assert a.shape == e.shape
        if e.numel():
            assert float((a.double() - e).abs().max()) <= tolerance * max(1.0, float(e.abs().max()))


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", GATE_CASES)
def test_policy(device: ModuleType, monkeypatch: pytest.MonkeyPatch, case: str, dtype: torch.dtype, few: bool) -> None:
    choose(monkeypatch, few)
    row = numerics.row("gated_decoder_step", case, "cuda", dtype, draws=3)
    assert row.passed, row


@BOTH
@pytest.mark.parametrize("force_gate", [None, 0.0, 1.0, 0.25])
@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 2)], ids=str)
def test_a_forced_gate_and_outputs_that_nobody_uses(
    device: ModuleType, monkeypatch: pytest.MonkeyPatch, force_gate: float | None, which: tuple[int, ...], few: bool
) -> None:
    choose(monkeypatch, few)
    inputs = GateCase(B=1, L=3).inputs(torch.float32)
    exact = results([x.double() for x in inputs], force_gate, which, reference)
    with use_backend("cuda"):
        assert_close(results(inputs, force_gate, which), exact)


@BOTH
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.fixed_dictionaries({k: st.integers(1, n) for k, n in dict(B=2, L=9, H=20, C=20, E=20, D=20).items()}))
def test_any_shape(device: ModuleType, few: bool, sizes: dict[str, int]) -> None:
    inputs = [x / max(1, x.shape[-1] if x.dim() else 1) ** 0.5 for x in GateCase(**sizes).inputs(torch.float32)]
    exact = results([x.double() for x in inputs], None, module=reference)
    with pytest.MonkeyPatch.context() as patch, use_backend("cuda"):
        choose(patch, few)
        assert_close(results(inputs, None), exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_addresses_that_no_vector_begins_at(device: ModuleType, dtype: torch.dtype) -> None:
    inputs = GateCase(B=1, L=3, H=64, C=36, E=20, D=40).inputs(dtype)
    shifted = [torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape) for x in inputs]
    with use_backend("cuda"):
        found = results(shifted, None)
        assert_close(found, results(inputs, None), 2e-5 if dtype == torch.float32 else 2e-2)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_equal_bits_in_any_order_of_threads_and_from_poisoned_memory(
    device: ModuleType, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, few: bool
) -> None:
    choose(monkeypatch, few)
    inputs = GateCase(B=3, L=3, H=20, C=24, E=12, D=37).inputs(dtype)
    with use_backend("cuda"):
        expected = results(inputs, None)
        before = torch.are_deterministic_algorithms_enabled()
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)  # torch fills fresh memory with NaN
            assert torch.empty(3).isnan().all()
            for order in ("forward", "backward", "shuffled", "warps"):
                device.set_order(order)
                assert all(torch.equal(a, b) for a, b in zip(results(inputs, None), expected, strict=True))
        finally:
            torch.use_deterministic_algorithms(before)
    assert all(x.isfinite().all() for x in expected)


def test_a_fixed_number_of_launches(device: ModuleType) -> None:
    inputs = [x.requires_grad_() for x in GateCase(B=2, L=9).inputs(torch.float32)]
    with use_backend("cuda"):
        before = device.launches()
        out = ops.gated_decoder_step(*inputs)
        forward = device.launches()
        out.features.sum().backward()
    assert (forward - before, device.launches() - forward) == (2, 5)


def test_float16_and_float64(device: ModuleType) -> None:
    inputs = GateCase().inputs(torch.float16)
    exact = results([x.double() for x in inputs], None, module=reference)
    with use_backend("cuda"):
        assert_close(results(inputs, None), exact, 3e-3)
        before = device.launches()
        assert_close(results([x.double() for x in inputs], None), exact, 1e-12)
        assert device.launches() == before


def test_one_tensor_as_hidden_and_top(device: ModuleType) -> None:
    with use_backend("cuda"):
        assert_hidden_may_be_top(torch.float32, 1e-5)
