"""The C++ gate, encoder and tanh: layouts, gradients, determinism, error in units of the last place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from m2t_fast import ops, use_backend
from m2t_fast.ops.cases import EncoderCase, GateCase
from m2t_fast.ops.cpu import launch
from m2t_fast.ops.registry import why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable("cpu") is not None, reason=f"cpu backend: {why_unavailable('cpu')}")


@pytest.fixture(params=["baseline", "avx2", "avx512"])
def instruction_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Each copy of the kernels; a processor without one runs its best instead."""
    monkeypatch.setattr(launch, "instruction_set", request.param)
    yield request.param


def tanh(x: Tensor) -> Tensor:
    """The kernels' tanh of a contiguous tensor."""
    y, bias = x.clone(), torch.full(x.shape[-1:], -0.0, dtype=x.dtype)  # x + -0.0 is x, also for x = -0.0
    rows = x.numel() // x.shape[-1]
    launch.run("bias_tanh", x.dtype, task=dict(x=y, bias=bias, rows=rows, columns=x.shape[-1]))
    return y


def error_in_ulp(y: Tensor, exact: Tensor) -> Tensor:
    """|y - exact| in units of the last place of the exact value's binade."""
    digits = {torch.float32: 24, torch.float64: 53}[y.dtype]
    _, exponent = torch.frexp(exact)
    return (y.double() - exact).abs() / torch.ldexp(torch.ones_like(exact), exponent - digits)


def test_tanh_of_float32_within_3_ulp(instruction_set: str) -> None:
    x = torch.cat([torch.logspace(-30, 1, 400_001, dtype=torch.float64), torch.linspace(1e-3, 12, 400_001)]).float()
    x = torch.cat([x, -x])[None]
    y, exact = tanh(x), torch.tanh(x.double())
    error = error_in_ulp(y, exact)
    assert float(error.max()) <= 2.6
    assert float(error.mean()) <= 0.5
    assert float((y.double() - exact).abs().max()) <= 1.5e-7
    assert bool((y.abs() <= 1).all()) and torch.equal(y[:, : x.shape[1] // 2], -y[:, x.shape[1] // 2 :])


def test_tanh_of_float64(instruction_set: str) -> None:
    x = torch.cat([torch.logspace(-300, 1, 100_001, dtype=torch.float64), torch.linspace(1e-3, 25, 100_001)])[None]
    error = (tanh(x) / torch.tanh(x) - 1).abs()
    assert float(error.max()) <= 1.5e-15


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tanh_of_special_values(dtype: torch.dtype, instruction_set: str) -> None:
    x = torch.tensor([[0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1e30, -1e30, 1e-38, -1e-38]], dtype=dtype)
    y, exact = tanh(x), torch.tanh(x)
    assert torch.equal(torch.signbit(y[:, :2]), torch.signbit(x[:, :2]))
    torch.testing.assert_close(y, exact, rtol=1e-6, atol=0, equal_nan=True)


def gate(*inputs: Tensor) -> tuple[Tensor, ...]:
    return tuple(ops.gated_decoder_step(*inputs))


def encoder(*inputs: Tensor) -> Tensor:
    return ops.part_encoder(*inputs, parts=EncoderCase().parts)


def results(function: Callable[..., Any], inputs: list[Tensor]) -> list[Tensor]:
    """Outputs and gradients on the cpu backend."""
    leaves = [x.detach().requires_grad_() if x.dtype.is_floating_point else x for x in inputs]
    with use_backend("cpu"):
        outputs = function(*leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    total = sum((o * torch.arange(1, o.numel() + 1).view_as(o).to(o.dtype).cos()).sum() for o in outputs)
    return [*outputs, *torch.autograd.grad(total, [x for x in leaves if x.requires_grad])]


OPS = {"gate": (gate, GateCase(H=37, D=20)), "encoder": (encoder, EncoderCase(T=70, D=20))}


@pytest.mark.parametrize("name", OPS)
def test_any_layout_gives_the_same_bits(name: str) -> None:
    function, case = OPS[name]
    inputs = case.inputs(torch.float32)
    strided = [torch.stack([x, x + 1], dim=-1)[..., 0] for x in inputs]
    assert all(torch.equal(a, b) for a, b in zip(results(function, strided), results(function, inputs), strict=True))


@pytest.mark.parametrize("name", OPS)
def test_equal_bits_in_every_run(name: str) -> None:
    function, case = OPS[name]
    inputs = case.inputs(torch.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        expected = results(function, inputs)
        for _ in range(50):
            again = results(function, inputs)
            assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))
        if name == "encoder":  # its products are its own, so the number of threads changes nothing either
            torch.set_num_threads(1)
            assert all(torch.equal(a, b) for a, b in zip(results(function, inputs), expected, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", OPS)
def test_gradcheck(name: str, instruction_set: str) -> None:
    small = {"gate": GateCase(B=1, L=2, H=3, C=2, E=2, D=3), "encoder": EncoderCase(T=3, D=3, half=2)}
    inputs = [x.requires_grad_() if x.dtype.is_floating_point else x for x in small[name].inputs()]
    with use_backend("cpu"):
        assert torch.autograd.gradcheck(OPS[name][0], inputs, fast_mode=True)


def test_the_encoder_neither_reads_nor_forgets_padding() -> None:
    case = EncoderCase(B=4, T=130)
    clean = case.inputs(torch.float32)
    dirty = [x.clone() for x in clean]
    outside = torch.arange(case.T) >= clean[1][:, None]
    dirty[0][outside] = torch.nan
    expected, actual = results(encoder, clean), results(encoder, dirty)
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))
    assert not actual[0][outside].any() and not actual[1][outside].any()


def test_the_encoder_leaves_out_the_motion_gradient_nobody_wants() -> None:
    inputs = EncoderCase().inputs()
    wanted = [x.requires_grad_() for x in inputs[2:]]
    with use_backend("cpu"):
        encoder(*inputs).sum().backward()
    assert all(x.grad is not None for x in wanted) and inputs[0].grad is None
