"""Layers that are more than their weights: adapters, quantised or pruned layers, hooks. They are found, and called.

The ops take a layer's weights, and so never see what was put in its place or around it. Where a layer
:func:`is_own`, its weights say all; where it is not, the model calls it as torch does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as torch_modules
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from m2t_fast.ops.attention import AttentionOutput
from m2t_fast.ops.decoding.decoder import Decoder, Memory, State
from m2t_fast.ops.gate import GateOutput


def is_own(layer: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether the weights of ``layer`` say all that it computes: it computes as ``kind`` does, which it may be a
    subclass of (a parametrization makes one), its parameters are plain tensors, and no hook runs around it."""
    if type(layer).forward is not kind.forward or "forward" in vars(layer):
        return False
    if has_hook(layer) or _every_layer_has_a_hook():
        return False
    if getattr(layer, "max_norm", None) is not None:  # an embedding that changes its rows when it reads them
        return False
    if kind is nn.Linear and layer.bias is None:
        return False
    return not any(w is not None and is_traceable_wrapper_subclass(w) for w in layer._parameters.values())


def has_hook(layer: nn.Module) -> bool:
    """Whether a hook runs before or after the layer: what it computes, or its weights, may come from there."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)


def _every_layer_has_a_hook() -> bool:
    """Whether a hook was registered for all modules of the process (``register_module_forward_hook`` and its kind)."""
    return bool(
        torch_modules._global_forward_hooks
        or torch_modules._global_forward_pre_hooks
        or torch_modules._global_backward_hooks
        or torch_modules._global_backward_pre_hooks
    )


def replaced(model: nn.Module, kinds: Iterable[tuple[str, type[nn.Module]]]) -> list[str]:
    """The names of those layers of a model that are not their own, outermost only, each with what it is."""
    found: list[str] = []
    names: list[str] = []
    for name, kind in kinds:
        if any(name.startswith(f"{outer}.") for outer in names):
            continue
        layer = model.get_submodule(name)
        if not is_own(layer, kind):
            names.append(name)
            found.append(f"{name} ({_what(layer, kind)})")
    return found


def _what(layer: nn.Module, kind: type[nn.Module]) -> str:
    own = type(layer).forward is kind.forward and "forward" not in vars(layer)
    hook = own and (has_hook(layer) or _every_layer_has_a_hook())
    return f"{type(layer).__name__} with a hook" if hook else type(layer).__name__


class LayerDecoder(Decoder):
    """The decoder of a model whose layers are called, word by word, instead of their weights given to the ops."""

    def __init__(self, model: Any, force_gate: float | None = None):
        self.model = model
        self.force_gate = force_gate

    @property
    def vocabulary(self) -> int:
        """V."""
        size: int = self.model.config.vocab_size
        return size

    @property
    def hidden_size(self) -> int:
        """C."""
        size: int = self.model.config.hidden_size
        return size

    def embed(self, words: Tensor) -> Tensor:
        """See :meth:`Decoder.embed`."""
        embedded: Tensor = self.model.embedding(words)
        return embedded

    def run_lstms(self, embedded: Tensor, state: State | None) -> tuple[Tensor, Tensor, State]:
        """See :meth:`Decoder.run_lstms`."""
        after: tuple[Tensor, Tensor, State] = self.model.run_lstms(embedded, state)
        return after

    def look(
        self, memory: Memory, hidden: Tensor, top: Tensor, word: Tensor, mixed_word: Tensor
    ) -> tuple[AttentionOutput, GateOutput]:
        """See :meth:`Decoder.look`."""
        attended = self.model.attention(*memory, hidden)
        return attended, self.model.step(attended.context, hidden, top, word, mixed_word, self.force_gate)

    def next_word(self, memory: Memory, hidden: Tensor, top: Tensor, word: Tensor, mixed_word: Tensor) -> Tensor:
        """See :meth:`Decoder.next_word`."""
        logits: Tensor = self.model.output(self.look(memory, hidden, top, word, mixed_word)[1].features)
        return logits
