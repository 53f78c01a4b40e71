"""cuDNN's LSTM as an op, with torch's on the CPU in its place: gradients, TF32, calls as torch has them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from m2t_fast import modules
from m2t_fast.ops import cudnn_lstm as lstm
from m2t_fast.ops import torch_lstm

RNN = torch.backends.cudnn.rnn


class Cudnn:
    """Torch's LSTM behind the signatures of ``aten::_cudnn_rnn`` and its gradient; notes the precision of each call."""

    def __init__(self):
        self.precisions: list[str] = []

    def forward(self, x, weights, stride, flat, hidden, cell, *layer):
        mode, size, projection, layers, batch_first, dropout, training, both, packed, state = layer
        assert (mode, stride, projection, layers, dropout) == (2, 4, 0, 1, 0.0) and size == hidden.shape[2]
        assert not batch_first and not both and packed == [] and state is None
        assert torch.equal(flat, torch.cat([w.flatten() for w in weights]))
        assert x.is_contiguous() and hidden.is_contiguous() and cell.is_contiguous()
        self.precisions.append(RNN.fp32_precision)
        outputs = torch._VF.lstm(x, (hidden, cell), weights, True, 1, 0.0, training, False, False)
        reserve = torch.ones(5 if training else 0, dtype=torch.uint8)
        return *outputs, reserve, flat

    def flatten(self, weights, stride, inputs, mode, size, projection, layers, batch_first, both):
        assert weights[0].shape == (4 * size, inputs) and weights[1].shape == (4 * size, size)
        assert (mode, stride, projection, layers) == (2, 4, 0, 1) and not batch_first and not both
        flat = torch.cat([w.flatten() for w in weights])
        for weight, piece in zip(weights, flat.split([w.numel() for w in weights]), strict=True):
            weight.set_(piece.view_as(weight))
        return flat

    def backward(self, x, weights, stride, flat, hidden, cell, output, *rest):
        grads, (*_, training, _, _, _), (reserve, mask) = rest[:3], rest[3:-2], rest[-2:]
        assert training and bool(reserve.all()) and mask == [True] * 4
        assert torch.equal(flat, torch.cat([w.flatten() for w in weights]))
        reserve.zero_()  # as cuDNN does
        self.precisions.append(RNN.fp32_precision)

        def gradients() -> tuple[Tensor, ...]:
            leaves = [t.detach().requires_grad_() for t in (x, hidden, cell, *weights)]
            outputs = torch._VF.lstm(leaves[0], tuple(leaves[1:3]), leaves[3:], True, 1, 0.0, True, False, False)
            used = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None]
            return torch.autograd.grad([o for o, _ in used], leaves, [g for _, g in used])

        with ThreadPoolExecutor(1) as thread:  # inside an op there is no autograd
            found = thread.submit(gradients).result()
        return *found[:3], list(found[3:])


@pytest.fixture
def cudnn(monkeypatch) -> Iterator[Cudnn]:
    cudnn = Cudnn()
    aten = SimpleNamespace(_cudnn_rnn=cudnn.forward, _cudnn_rnn_backward=cudnn.backward)
    ops = SimpleNamespace(aten=aten, m2t_fast=torch.ops.m2t_fast)
    stand_in = {**vars(torch), "ops": ops, "_cudnn_rnn_flatten_weight": cudnn.flatten}
    monkeypatch.setattr(lstm, "torch", SimpleNamespace(**stand_in))
    monkeypatch.setattr(lstm, "takes", lambda x: True)
    before = RNN.fp32_precision, torch.get_float32_matmul_precision()
    yield cudnn
    RNN.fp32_precision = before[0]
    torch.set_float32_matmul_precision(before[1])


def layer(dtype: torch.dtype = torch.float64) -> tuple[modules.LSTM, Tensor, tuple[Tensor, Tensor]]:
    model = modules.LSTM(5, 4).to(dtype)
    state = torch.randn(3, 4, dtype=dtype).requires_grad_(), torch.randn(3, 4, dtype=dtype).requires_grad_()
    return model, torch.randn(3, 7, 5, dtype=dtype).requires_grad_(), state


def results(model: modules.LSTM, x: Tensor, state: tuple[Tensor, Tensor] | None) -> list[Tensor]:
    output, last = model(x, state)
    total = sum((o * torch.linspace(-1, 2, o.numel()).view(o.shape)).sum() for o in (output, *last))
    leaves = [x, *(state or ()), *model.parameters()]
    return [output, *last, *torch.autograd.grad(total, leaves)]


@pytest.mark.parametrize("started", [True, False])
def test_the_op_is_the_layer(started, monkeypatch, cudnn):
    model, x, state = layer()
    found = results(model, x, state if started else None)
    assert len(cudnn.precisions) == 2
    monkeypatch.setattr(lstm, "takes", lambda x: False)
    for own, exact in zip(found, results(model, x, state if started else None), strict=True):
        torch.testing.assert_close(own, exact, rtol=1e-12, atol=1e-12)
    assert len(cudnn.precisions) == 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_one_word_is_a_layer_of_one(dtype):
    model, x, state = layer(dtype)
    expected, (hidden, cell) = model(x[:, :1], state)
    found, after = torch_lstm.lstm_step(x[:, :1], state, *model.parameters())
    tolerance = 1e-12 if dtype == torch.float64 else 2e-2
    for own, exact in zip((found, *after), (expected, hidden, cell), strict=True):
        torch.testing.assert_close(own, exact, rtol=tolerance, atol=tolerance)


def test_a_gradient_can_be_asked_for_twice_and_of_one_output(cudnn):
    model, x, state = layer()
    _, (hidden, _) = model(x, state)
    total = hidden.square().sum()
    with torch.no_grad():
        model(x, state)  # changes nothing that the gradient needs
    first = torch.autograd.grad(total, list(model.parameters()), retain_graph=True)
    assert all(map(torch.equal, first, torch.autograd.grad(total, list(model.parameters()))))


def test_without_a_gradient_nothing_is_kept(cudnn):
    model, x, state = layer()
    with torch.no_grad():
        output, _ = model(x, state)
    assert not output.requires_grad
    arguments = (x.transpose(0, 1).contiguous().detach(), *(s[None].detach() for s in state))
    weights = [p.detach() for p in model.parameters()]
    addresses = [w.data_ptr() for w in weights]
    *_, reserve, _ = torch.ops.m2t_fast.cudnn_lstm(*arguments, *weights, False, False)
    assert reserve.numel() == 0 and addresses == [w.data_ptr() for w in weights]


@pytest.mark.parametrize(
    ("matmul", "own", "seen"),
    [("highest", "tf32", "ieee"), ("highest", "ieee", "ieee"), ("high", "tf32", "tf32"), ("medium", "ieee", "ieee")],
)
def test_tf32_only_where_products_may_use_it(matmul, own, seen, cudnn):
    torch.set_float32_matmul_precision(matmul)
    RNN.fp32_precision = own
    model, x, state = layer(torch.float32)
    results(model, x, state)
    assert cudnn.precisions == [seen, seen] and RNN.fp32_precision == own


def test_autocast_allows_tf32_and_float32_stays(cudnn, monkeypatch):
    model, x, state = layer(torch.float32)
    exact = results(model, x, state)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: True)
    monkeypatch.setattr(lstm.torch, "is_autocast_enabled", lambda device: True)
    found = results(model, x, tuple(s.detach().bfloat16().float().requires_grad_() for s in state))
    assert cudnn.precisions == ["ieee", "ieee", "tf32", "tf32"] and found[0].dtype == exact[0].dtype
    with torch.no_grad():
        output, _ = model(x, tuple(s.bfloat16() for s in state))
    assert output.dtype == torch.float32


def test_the_setting_comes_back_after_an_error(cudnn):
    RNN.fp32_precision = "tf32"
    with pytest.raises(ZeroDivisionError), lstm.precision(loose=False):
        assert RNN.fp32_precision == "ieee"
        raise ZeroDivisionError
    assert RNN.fp32_precision == "tf32"


def test_compiled_it_is_one_graph(cudnn):
    model, x, state = layer()
    expected = results(model, x, state)
    for own, exact in zip(results(torch.compile(model, fullgraph=True, backend="aot_eager"), x, state), expected):  # noqa: B905
        torch.testing.assert_close(own, exact, rtol=1e-12, atol=1e-12)


def test_torch_has_these_functions_with_these_arguments(monkeypatch):
    """The schemas fit: what is refused is only that the CPU has no cuDNN."""
    model, x, state = layer(torch.float32)
    x, state = x.detach().transpose(0, 1).contiguous(), [s.detach()[None] for s in state]
    weights = [p.detach() for p in model.parameters()]
    with pytest.raises(NotImplementedError, match="_cudnn_rnn_flatten_weight.* backend"):
        lstm._flat(weights)
    monkeypatch.setattr(lstm, "_flat", lambda weights: x.new_zeros(9))
    with pytest.raises(NotImplementedError, match="_cudnn_rnn.* backend"):
        torch.ops.m2t_fast.cudnn_lstm(x, *state, *weights, True, False)
    kept = x.new_zeros(7, 3, 4), x.new_zeros(5, dtype=torch.uint8), x.new_zeros(9)
    for grads in ((x.new_zeros(7, 3, 4), None, None), (None, *state)):
        with pytest.raises(NotImplementedError, match="_cudnn_rnn_backward.* backend"):
            torch.ops.m2t_fast.cudnn_lstm_backward(*grads, x, *state, *weights, *kept, False)


def test_it_takes_what_cudnn_has():
    assert not lstm.takes(torch.zeros(2, 2))


def test_the_older_switch_can_be_read_inside_and_is_as_before_behind():
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.conv.fp32_precision, RNN.fp32_precision
    with lstm.precision(False):
        assert cudnn.allow_tf32 is False and RNN.fp32_precision == "ieee"
    assert (cudnn.allow_tf32, cudnn.conv.fp32_precision, RNN.fp32_precision) == before


def test_switches_that_contradict_one_another_are_left_so():
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    try:
        convolutions.fp32_precision = "ieee"
        with lstm.precision(False):
            assert RNN.fp32_precision == "ieee"
        assert (convolutions.fp32_precision, RNN.fp32_precision) == ("ieee", "tf32")
    finally:
        convolutions.fp32_precision = before
