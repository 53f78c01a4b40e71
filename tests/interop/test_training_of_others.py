"""Other people's training: checkpoints, compiled models around the ops, autocast, averages, tied weights, stacks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from m2t_fast import Captioner, native, ops, use_backend
from m2t_fast.modules import AdditiveAttention
from m2t_fast.ops import registry
from m2t_fast.ops.cases import CASES
from m2t_fast.records import converted
from m2t_fast.run_folder import save_weights
from m2t_fast.tensor_files import read_tensors

Triple = tuple[Tensor, Tensor, Tensor]
Said = Callable[..., list[Tensor]]


def gradients(model: Captioner, run: Callable[[], object]) -> list[Tensor]:
    torch.manual_seed(1)
    out = run()
    total = out.logits.square().mean() + out.spatial.square().mean()  # type: ignore[attr-defined]
    return list(torch.autograd.grad(total, list(model.parameters()), allow_unused=True, materialize_grads=True))


def test_checkpointed(model: Captioner, batch: Triple) -> None:
    """Computed again for the gradient, with the same coins and dropout."""
    model.train()
    expected = gradients(model, lambda: model(*batch, 0.5))
    found = gradients(model, lambda: checkpoint(model, *batch, 0.5, use_reentrant=False))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


class Mine(nn.Module):
    """Somebody's own model around two ops."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(20, 12), nn.Linear(16, 12)
        self.weight = nn.Parameter(torch.randn(12))
        self.additive = AdditiveAttention(20, 16, 12)

    def forward(self, hidden: Tensor, parts: Tensor, lengths: Tensor) -> Tensor:
        keys, query, weight = self.key(parts), self.query(hidden), self.weight
        zero = weight.new_zeros(1)
        out = ops.spatio_temporal_attention(parts, keys, keys, query, query, weight, weight[None], zero, lengths)
        return (out.context + self.additive(hidden, parts[:, :, 0], lengths).context).relu().sum(-1) + out.mean


@pytest.mark.slow
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiled_around_the_ops(dynamic: bool) -> None:
    """As one graph, whatever the sizes."""
    torch._dynamo.reset()
    model = Mine()
    compiled = torch.compile(model, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    weights = list(model.parameters())
    for B, L, T in ((2, 3, 5), (3, 4, 7), (1, 1, 1)):
        x = torch.randn(B, L, 20), torch.randn(B, T, 6, 16), torch.randint(1, T + 1, (B,))
        found, expected = compiled(*x), model(*x)
        torch.testing.assert_close(found, expected)
        slopes = (torch.autograd.grad(y.square().sum(), weights) for y in (found, expected))
        for one, other in zip(*slopes, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CASES)
def test_autocast_of_every_op(name: str, dtype: torch.dtype) -> None:
    """In the dtype that was asked for, or in float32 where the sums stay wide: nothing is rounded but the inputs, where
    the op takes that dtype, and every result once. Steps of an LSTM hand on rounded states."""
    if not native.available():
        pytest.skip("the native extension is not built, and plain PyTorch rounds what lies between, too")
    op, eps = registry.OPS[name], torch.finfo(dtype).eps
    for case in CASES[name].values():
        x = case.record(torch.float32, 0)
        with use_backend("cpu"), torch.autocast("cpu", dtype=dtype):
            found = op(*x)
        taken = dtype if op.autocast else torch.float32
        exact = op(*converted(x, lambda v, taken=taken: v.to(taken).double() if v.is_floating_point() else v))
        for one, other in zip(*(y if isinstance(y, tuple) else (y,) for y in (found, exact)), strict=True):
            assert one.dtype in (dtype, torch.float32)
            size = float(other.square().mean().sqrt()) if other.numel() else 0.0
            # Beyond its own rounding, half of eps, a number was at most 0.01 eps of the usual size off; LSTMs 2.6.
            rest = 4 if name == "lstm_cells" else 0.1
            torch.testing.assert_close(one.double(), other, rtol=eps / 2, atol=rest * eps * size)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", CASES)
def test_autocast_stays_near_what_was_given(name: str, dtype: torch.dtype) -> None:
    """The rounding of the inputs, which the test above takes as it is, costs 0.8 eps in the root of the mean square."""
    x = next(iter(CASES[name].values())).record(torch.float32, 0)
    with torch.autocast("cpu", dtype=dtype):
        found = registry.OPS[name](*x)
    exact = registry.OPS[name](*converted(x, lambda v: v.double() if v.is_floating_point() else v))
    for one, other in zip(*(y if isinstance(y, tuple) else (y,) for y in (found, exact)), strict=True):
        error, size = ((one.double() - other).square().mean().sqrt(), other.double().square().mean().sqrt())
        assert other.numel() == 0 or error <= 1.5 * torch.finfo(dtype).eps * max(float(size), 1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_step_under_autocast(dtype: torch.dtype, model: Captioner, batch: Triple) -> None:
    """float16 as well, whose LSTM torch's own autocast cannot differentiate on a CPU."""
    expected = gradients(model, lambda: model(*batch))
    with torch.autocast("cpu", dtype=dtype):
        found = gradients(model, lambda: model(*batch))
    for one, other in zip(found, expected, strict=True):
        # Each gradient against its own size: 7 roundings of the dtype were measured where terms cancel.
        assert float((one - other).norm()) <= 16 * torch.finfo(dtype).eps * float(other.norm())


def test_sampled_and_dropped_words_of_any_number_compile(model: Captioner, batch: Triple) -> None:
    """One graph for batches, frames and words of any number, with coins and masks drawn inside."""
    motion, lengths, tokens = batch
    torch.compiler.reset()
    compiled = torch.compile(model.train(), fullgraph=True, dynamic=True, backend="eager")
    for frames, words in ((9, 7), (9, 5), (11, 3)):
        longer = torch.nn.functional.pad(motion, (0, 0, 0, 0, 0, frames - 9))
        found = compiled(longer, lengths, tokens[:, :words], 0.5)
        assert found.logits.shape == (3, words - 1, 30) and found.logits.isfinite().all()


def test_averaged_weights(model: Captioner, batch: Triple, said: Said) -> None:
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5))
    average.update_parameters(model)
    expected = copy.deepcopy(model)
    with torch.no_grad():
        for weight, middle in zip(model.parameters(), expected.parameters(), strict=True):
            weight.mul_(1.5)
            middle.mul_(1.25)
    average.update_parameters(model)
    for one, other in zip(said(average.module, batch), said(expected, batch), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


def test_tied_weights_are_saved(model: Captioner, tmp_path: Path) -> None:
    model.top_lstm.weight_hh = model.bottom_lstm.weight_hh
    save_weights(tmp_path / "model.safetensors", model)
    tensors, _ = read_tensors(tmp_path / "model.safetensors", model.state_dict())
    assert torch.equal(tensors["top_lstm.weight_hh"], model.bottom_lstm.weight_hh)


def test_stacked_models(model: Captioner, batch: Triple) -> None:
    """An ensemble under vmap."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(1.1)
    weights, _ = torch.func.stack_module_state([model, other])
    run = torch.func.vmap(lambda given: torch.func.functional_call(model, given, batch).logits)
    for found, one in zip(run(weights), (model, other), strict=True):
        torch.testing.assert_close(found, one(*batch).logits, rtol=1e-4, atol=1e-4)


def test_torchao(model: Captioner, batch: Triple, said: Said) -> None:
    """int8 weights are tensor subclasses: their layers are called, and give what the rounded weights do."""
    quantization = pytest.importorskip("torchao.quantization", reason="torchao is not installed (pip install torchao)")
    expected = copy.deepcopy(model)
    quantization.quantize_(model, quantization.Int8WeightOnlyConfig())
    names = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    assert len(model.replaced_layers()) == 8 and len(names) == 10
    with torch.no_grad():
        for name in names:
            expected.get_submodule(name).weight.copy_(model.get_submodule(name).weight.dequantize())
    for one, other in zip(said(model, batch), said(expected, batch), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
