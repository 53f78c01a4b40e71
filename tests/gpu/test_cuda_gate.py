"""Gated step and LSTM cells in CUDA on a GPU: the policy, equal bits, poisoned memory, graphs, streams, devices."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from m2t_fast import Captioner, CaptionerConfig, numerics, ops, use_backend
from m2t_fast.ops.cases import GateCase, LstmCase
from m2t_fast.ops.cuda import gate, lstm

CALLS = {"gated_decoder_step": ops.gated_decoder_step, "lstm_cells": ops.lstm_cells}
POLICY = [
    (op, case, dtype) for op in CALLS for case in numerics.OPS[op].cases for dtype in (torch.float32, torch.bfloat16)
]
HUMANML3D = {
    "gated_decoder_step": lambda rows: GateCase(B=rows, L=1, H=256, C=256, E=128, D=256),
    "lstm_cells": lambda rows: LstmCase(B=rows, E=128, C=256),
}
BOTH = pytest.mark.parametrize("few", [True, False], ids=["few", "many"])
EVERY = pytest.mark.parametrize("op", CALLS)


@pytest.fixture(autouse=True)
def on_cuda() -> Iterator[None]:
    with use_backend("cuda"):
        yield


def choose(monkeypatch: pytest.MonkeyPatch, few: bool) -> None:
    for module in (gate, lstm):
        monkeypatch.setattr(module, "FEW_ROWS", 1 << 20 if few else 0)


def inputs_of(op: str, rows: int, dtype: torch.dtype = torch.float32, device: str = "cuda") -> list[Tensor]:
    """HumanML3D's sizes, weights of a trained model's size."""
    inputs = HUMANML3D[op](rows).inputs(dtype)
    if op == "gated_decoder_step":
        inputs = [x / x.shape[-1] ** 0.5 if i in (5, 6, 8, 10, 12) else x for i, x in enumerate(inputs)]
    return [x.to(device) for x in inputs]


def results(op: str, inputs: list[Tensor]) -> list[Tensor]:
    """Outputs, and gradients of a weighted sum of them."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    outputs = CALLS[op](*leaves)
    weights = [torch.linspace(-1, 2, o.numel(), device=o.device).view(o.shape).to(o.dtype) for o in outputs]
    total = sum((o * w).float().sum() for o, w in zip(outputs, weights, strict=True))
    return [*(o.detach() for o in outputs), *torch.autograd.grad(total, leaves)]


def equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@BOTH
@pytest.mark.parametrize(("op", "case", "dtype"), POLICY, ids=lambda x: str(x).removeprefix("torch."))
def test_policy(monkeypatch: pytest.MonkeyPatch, op: str, case: str, dtype: torch.dtype, few: bool) -> None:
    choose(monkeypatch, few)
    row = numerics.row(op, case, "cuda", dtype, device="cuda")
    assert row.passed, row


@EVERY
@pytest.mark.parametrize("rows", [1, 2, 3, 8, 9, 64, 65])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_models_sizes(op: str, rows: int, dtype: torch.dtype) -> None:
    inputs = inputs_of(op, rows, dtype)
    with use_backend("reference"):
        exact = results(op, [x.double() for x in inputs])
    for x, e in zip(results(op, inputs), exact, strict=True):
        assert float((x - e).norm()) <= (1e-5 if dtype == torch.float32 else 2e-2) * float(e.norm())


@BOTH
@EVERY
def test_a_thousand_runs_give_equal_bits_from_poisoned_memory(
    monkeypatch: pytest.MonkeyPatch, op: str, few: bool
) -> None:
    choose(monkeypatch, few)
    inputs = inputs_of(op, 21)
    expected = results(op, inputs)
    assert all(x.isfinite().all() for x in expected)
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    try:
        # In this mode torch fills what an allocation gives with NaN.
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = True
        assert torch.empty(3, device="cuda").isnan().all()
        for _ in range(1000):
            assert equal(results(op, inputs), expected)
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.utils.deterministic.fill_uninitialized_memory = before[1]


@EVERY
def test_the_second_launch_sees_the_first_ones_results(op: str) -> None:
    """Inputs that change between calls without a pause: nothing of the call before is read."""
    sets = [[x + i / 8 for x in inputs_of(op, 4)] for i in range(8)]
    with torch.no_grad():
        expected = []
        for inputs in sets:
            expected.append(list(CALLS[op](*inputs)))
            torch.cuda.synchronize()
        for _ in range(100):
            found = [list(CALLS[op](*inputs)) for inputs in sets]
            assert all(equal(a, b) for a, b in zip(found, expected, strict=True))


@EVERY
def test_other_streams(op: str) -> None:
    inputs = inputs_of(op, 5)
    expected = results(op, inputs)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        found = results(op, inputs)
    stream.synchronize()
    assert equal(found, expected)


@EVERY
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
def test_another_device(op: str) -> None:
    expected = results(op, inputs_of(op, 5))
    with torch.cuda.device(0):
        found = results(op, inputs_of(op, 5, device="cuda:1"))
    assert all(x.device.index == 1 for x in found) and equal([x.to("cuda:0") for x in found], expected)


@BOTH
@EVERY
def test_a_captured_graph(monkeypatch: pytest.MonkeyPatch, op: str, few: bool) -> None:
    choose(monkeypatch, few)
    inputs = inputs_of(op, 5)
    expected = results(op, inputs)  # also loads the kernels
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = results(op, inputs)
    for _ in range(3):
        for x in found:
            x.zero_()
        graph.replay()
        torch.cuda.synchronize()
        assert equal(found, expected)


def test_captions_word_by_word() -> None:
    torch.manual_seed(0)
    model = Captioner(CaptionerConfig.kit(vocab_size=30)).cuda().eval()
    motion, lengths = torch.randn(4, 30, 21, 3, device="cuda"), torch.tensor([30, 9, 1, 20], device="cuda")
    found = model.generate(motion, lengths, beam_size=2, max_length=9, search="best_first")
    with use_backend("reference"):
        expected = model.generate(motion, lengths, beam_size=2, max_length=9, search="best_first")
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-4, atol=1e-5)
