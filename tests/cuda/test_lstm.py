"""The decoder's LSTM cells in CUDA, on the emulated device: policy, any shape, equal bits; few and many rows."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from m2t_fast import Captioner, CaptionerConfig, numerics, ops, reference, use_backend
from m2t_fast.ops.cases import LSTM_CASES, LstmCase
from m2t_fast.ops.cuda import lstm
from m2t_fast.ops.decoding.decoder import Decoder

BOTH = pytest.mark.parametrize("few", [True, False], ids=["few", "many"])


def choose(monkeypatch: pytest.MonkeyPatch, few: bool) -> None:
    monkeypatch.setattr(lstm, "FEW_ROWS", 1000 if few else 0)


def results(inputs: list[Tensor], which: tuple[int, ...] = (0, 1, 2, 3), module: ModuleType = ops) -> list[Tensor]:
    """The states, and gradients of a weighted sum of those in ``which``."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    outputs = module.lstm_cells(*leaves)
    total = sum(
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
@pytest.mark.parametrize("case", LSTM_CASES)
def test_policy(device: ModuleType, monkeypatch: pytest.MonkeyPatch, case: str, dtype: torch.dtype, few: bool) -> None:
    choose(monkeypatch, few)
    row = numerics.row("lstm_cells", case, "cuda", dtype, draws=3)
    assert row.passed, row


@BOTH
@pytest.mark.parametrize("which", [(0,), (1,), (2,), (3,), (1, 2)], ids=str)
def test_states_that_nobody_uses(
    device: ModuleType, monkeypatch: pytest.MonkeyPatch, which: tuple[int, ...], few: bool
) -> None:
    choose(monkeypatch, few)
    inputs = LstmCase().inputs(torch.float32)
    exact = results([x.double() for x in inputs], which, reference)
    with use_backend("cuda"):
        assert_close(results(inputs, which), exact)


@BOTH
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.fixed_dictionaries({"B": st.integers(1, 18), "E": st.integers(1, 40), "C": st.integers(1, 20)}))
def test_any_shape(device: ModuleType, few: bool, sizes: dict[str, int]) -> None:
    inputs = LstmCase(**sizes).inputs(torch.float32)
    exact = results([x.double() for x in inputs], module=reference)
    with pytest.MonkeyPatch.context() as patch, use_backend("cuda"):
        choose(patch, few)
        assert_close(results(inputs), exact)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_addresses_that_no_vector_begins_at(device: ModuleType, dtype: torch.dtype) -> None:
    inputs = LstmCase(B=3, E=20, C=36).inputs(dtype)
    shifted = [torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape) for x in inputs]
    with use_backend("cuda"):
        found = results(shifted)
        assert_close(found, results(inputs), 2e-5 if dtype == torch.float32 else 2e-2)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_equal_bits_in_any_order_of_threads_and_from_poisoned_memory(
    device: ModuleType, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, few: bool
) -> None:
    choose(monkeypatch, few)
    inputs = LstmCase(B=9, E=12, C=20).inputs(dtype)
    with use_backend("cuda"):
        expected = results(inputs)
        before = torch.are_deterministic_algorithms_enabled()
        try:
            torch.use_deterministic_algorithms(True, warn_only=True)  # torch fills fresh memory with NaN
            assert torch.empty(3).isnan().all()
            for order in ("forward", "backward", "shuffled", "warps"):
                device.set_order(order)
                assert all(torch.equal(a, b) for a, b in zip(results(inputs), expected, strict=True))
        finally:
            torch.use_deterministic_algorithms(before)
    assert all(x.isfinite().all() for x in expected)


def test_rows_do_not_depend_on_their_mates(device: ModuleType) -> None:
    """A hypothesis gets the same bits whoever else is left in the batch, as long as the kernel is the same."""
    word, *rest = LstmCase(B=20, E=12, C=20).inputs(torch.float32)
    with use_backend("cuda"):
        whole = ops.lstm_cells(word, *rest)
        some = ops.lstm_cells(word[7:12], *(x[7:12] for x in rest[:4]), *rest[4:])
    assert all(torch.equal(a[7:12], b) for a, b in zip(whole, some, strict=True))


def test_a_fixed_number_of_launches(device: ModuleType) -> None:
    inputs = [x.requires_grad_() for x in LstmCase(B=17).inputs(torch.float32)]
    with use_backend("cuda"):
        before = device.launches()
        after = ops.lstm_cells(*inputs)
        forward = device.launches()
        after.top_hidden.sum().backward()
    assert (forward - before, device.launches() - forward) == (2, 5)


def test_word_by_word_decoding_uses_them(device: ModuleType) -> None:
    torch.manual_seed(0)
    sizes = dict(part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=4)
    model = Captioner(CaptionerConfig(vocab_size=9, joints=21, **sizes)).eval()
    decoder = Decoder(model.decoder_weights(), 1.0)
    word = decoder.embed(torch.randint(9, (3, 4)))
    hidden, top, state = decoder.run_lstms(word, None)
    found, own = [], None
    with use_backend("cuda"):
        before = device.launches()
        for i in range(4):
            *outputs, own = decoder.run_lstms(word[:, i : i + 1], own)
            found.append(outputs)
        assert device.launches() - before == 8
    torch.testing.assert_close(torch.cat([x for x, _ in found], dim=1), hidden)
    torch.testing.assert_close(torch.cat([x for _, x in found], dim=1), top)
    torch.testing.assert_close(own, state)
    gradients = [
        torch.autograd.grad(x.square().sum(), model.bottom_lstm.weight_hh)[0] for x in (found[3][1], top[:, 3:])
    ]
    torch.testing.assert_close(*gradients)
