"""Layers that were replaced, adapted, pruned, quantised or hooked: every road through the model sees them."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules
from torch.nn.utils import parametrizations, parametrize, prune

from m2t_fast import Captioner
from m2t_fast.data.batches import Batch

LINEAR = (
    "attention.temporal_key", "attention.spatial_key", "attention.temporal_query", "attention.spatial_query",
    "step.gate_hidden", "step.gate_word", "step.context", "step.language", "step.mixture", "output",
)  # fmt: skip
Said = Callable[[Captioner, tuple[Tensor, Tensor, Tensor]], list[Tensor]]


def same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Equal words; floats to the rounding of another order of sums."""
    for a, b in zip(found, expected, strict=True):
        if a.is_floating_point():
            torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-5)
        else:
            assert torch.equal(a, b)


def differs(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    return not torch.allclose(found[0], expected[0], atol=3e-4)


class Scaled(nn.Module):
    """Somebody's layer around a layer."""

    def __init__(self, layer: nn.Module, factor: float):
        super().__init__()
        self.layer, self.factor = layer, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.layer(x)


@pytest.mark.parametrize("name", [*LINEAR, "embedding"])
def test_a_wrapped_layer(name: str, model: Captioner, batch: tuple[Tensor, Tensor, Tensor], said: Said) -> None:
    """A layer that gives twice what it gave: as the model with its weights doubled says."""
    parent, _, leaf = name.rpartition(".")
    before, expected = said(model, batch), copy.deepcopy(model)
    with torch.no_grad():
        for weight in expected.get_submodule(name).parameters():
            weight.mul_(2.0)
    wrapped = copy.deepcopy(model)
    setattr(wrapped.get_submodule(parent), leaf, Scaled(wrapped.get_submodule(name), 2.0))
    truth = said(expected, batch)
    same(said(wrapped, batch), truth)
    assert expected.replaced_layers() == []
    if not name.endswith("_key"):
        assert wrapped.replaced_layers() == [f"{name} (Scaled)"]
        with pytest.raises(RuntimeError, match=f"{name}.*merge adapters"):
            wrapped.decoder_weights()
    assert differs(truth, before)


@pytest.mark.parametrize(
    "name", ["attention.temporal_key", "step.mixture", "embedding", "top_lstm", "attention", "step"]
)
def test_forward_hooks_run(name: str, model: Captioner, batch: tuple[Tensor, Tensor, Tensor], said: Said) -> None:
    """A hook runs on every road, and one that changes nothing changes nothing."""
    motion, lengths, tokens = batch
    before, calls = said(model, batch), []
    handle = model.get_submodule(name).register_forward_hook(lambda *_: calls.append(name))
    roads = (
        lambda: model(motion, lengths, tokens),
        lambda: model(motion, lengths, tokens, teacher_forcing=0.0),
        lambda: model.generate(motion, lengths, beam_size=1),
        lambda: model.generate(motion, lengths),
        lambda: model.greedy_words(motion, lengths),
        lambda: model.losses(_batch(batch), model.draw(3, 6)),
    )
    for road in roads:
        count = len(calls)
        road()
        assert len(calls) > count
    same(said(model, batch), before)
    handle.remove()
    assert model.replaced_layers() == []


@pytest.mark.parametrize("before", [False, True])
def test_hooks_of_every_module(
    before: bool, model: Captioner, batch: tuple[Tensor, Tensor, Tensor], said: Said
) -> None:
    """Hooks registered for all modules act as those registered on each layer."""

    def hook(layer: nn.Module, *values: Any) -> Any:
        if type(layer) is not nn.Linear:
            return None
        return tuple(0.5 * x for x in values[0]) if before else 0.5 * values[1]

    one = "register_forward_pre_hook" if before else "register_forward_hook"
    expected = copy.deepcopy(model)
    for layer in expected.modules():
        getattr(layer, one)(hook)
    handle = getattr(torch_modules, one.replace("register_", "register_module_"))(hook)
    try:
        assert model.replaced_layers()[0] == "embedding (Embedding with a hook)"
        found = said(model, batch)
    finally:
        handle.remove()
    same(found, said(expected, batch))
    assert differs(found, said(model, batch)) and model.replaced_layers() == []


def _batch(batch: tuple[Tensor, Tensor, Tensor]) -> Batch:
    motion, lengths, tokens = batch
    gate = torch.randint(-1, 2, tokens[:, 1:].shape).float()
    spatial = torch.randint(-1, 2, (*gate.shape, 6)).float()
    return Batch(motion, lengths, tokens, gate, spatial, torch.arange(len(motion)))


def test_a_patched_forward(model: Captioner, batch: tuple[Tensor, Tensor, Tensor], said: Said) -> None:
    """A forward that was set on the layer itself, as some libraries hook."""
    expected = copy.deepcopy(model)
    with torch.no_grad():
        expected.output.bias[5] += 3.0
    plain = model.output.forward
    model.output.forward = lambda x: plain(x) + 3.0 * (torch.arange(30) == 5)  # type: ignore[method-assign]
    best_first = dict(beam_size=3, search="best_first")
    same(said(model, batch, best_first), said(expected, batch, best_first))


PRUNED = [*((name, "weight") for name in (*LINEAR, "embedding")), ("bottom_lstm", "weight_hh"), ("top_lstm", "bias_ih")]


@pytest.mark.parametrize(("name", "weight"), [*PRUNED, ("attention", "temporal_weight"), ("encoder", "weight2")])
def test_pruning_while_training(
    name: str, weight: str, model: Captioner, batch: tuple[Tensor, Tensor, Tensor], said: Said
) -> None:
    """What training does to the weights behind a mask is seen, and what was pruned stays 0."""
    motion, lengths, tokens = batch
    layer = model.get_submodule(name)
    prune.random_unstructured(layer, weight, amount=0.3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        model(motion, lengths, tokens, teacher_forcing=0.5).logits.square().mean().backward()
        optimizer.step()
    found = said(model, batch)
    prune.remove(layer, weight)
    assert model.replaced_layers() == []
    same(found, said(model, batch))


def test_parametrizations_stay_with_the_ops(model: Captioner, batch: tuple[Tensor, Tensor, Tensor], said: Said) -> None:
    """A parametrized layer's weight is what the parametrization makes of it; the ops take that."""

    class Doubled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2.0 * x

    expected = copy.deepcopy(model)
    names = [
        ("output", "weight"),
        ("bottom_lstm", "weight_hh"),
        ("attention", "temporal_weight"),
        ("encoder", "weight1"),
    ]
    with torch.no_grad():
        for name, weight in names:
            getattr(expected.get_submodule(name), weight).mul_(2.0)
    for name, weight in names:
        parametrize.register_parametrization(model.get_submodule(name), weight, Doubled())
    parametrizations.weight_norm(model.step.mixture)
    assert model.replaced_layers() == []
    same(said(model, batch), said(expected, batch))


def test_dynamic_quantisation(model: Captioner, batch: tuple[Tensor, Tensor, Tensor], said: Said) -> None:
    """int8 layers are called: captions are those of the rounded weights."""
    if not torch.backends.quantized.supported_engines or torch.backends.quantized.engine == "none":
        pytest.skip("this torch has no engine for quantised layers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert len(quantised.replaced_layers()) == 8
    motion, lengths, tokens = batch
    known = quantised(motion, lengths, tokens)
    assert differs([known.logits], [model(motion, lengths, tokens).logits])
    # The search's score of its caption is the forward pass's.
    found = quantised.generate(motion, lengths, beam_size=1, max_length=6)
    words = torch.cat([tokens[:, :1], found.tokens[:, 0]], dim=1)
    chosen = quantised(motion, lengths, words).logits.log_softmax(-1).gather(2, words[:, 1:, None])[..., 0]
    kept = (words[:, 1:] != 0).float()
    # Not closer: activations are rounded in the steps of the largest of a call, here of one word, there of all.
    torch.testing.assert_close((chosen * kept).sum(1) / kept.sum(1), found.scores[:, 0], rtol=0.05, atol=0.05)
    assert not torch.equal(found.scores, model.generate(motion, lengths, beam_size=1, max_length=6).scores)


@pytest.fixture
def peft() -> Iterator[object]:
    module = pytest.importorskip("peft", reason="peft is not installed (pip install peft)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield module


def test_lora(peft, model: Captioner, batch: tuple[Tensor, Tensor, Tensor], said: Said) -> None:
    """Adapters train, and captions are those of the merged model on every road."""
    motion, lengths, tokens = batch
    before = said(model, batch)
    targets = [*LINEAR, "embedding"]
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=16, target_modules=targets))
    trained = [p for p in adapted.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        out = adapted(motion, lengths, tokens, teacher_forcing=0.5)
        out.logits.square().mean().add(out.spatial.square().mean()).backward()
        optimizer.step()
    assert all(p.grad is not None for p in trained)
    adapted.eval()
    found = said(adapted.base_model.model, batch)
    assert adapted.generate(motion, lengths, beam_size=3, force_gate=0.7, max_length=6).tokens.equal(found[8])
    merged = adapted.merge_and_unload()
    assert merged.replaced_layers() == []
    expected = said(merged, batch)
    same(found, expected)
    assert differs(expected, before)
