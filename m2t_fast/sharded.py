"""Weights sharded among processes, by FSDP2 or as DTensors: gathered where they are needed whole, else refused."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from m2t_fast.layers import has_hook

P = ParamSpec("P")
R = TypeVar("R")


def gathered(method: Callable[Concatenate[Any, P], R]) -> Callable[Concatenate[Any, P], R]:
    """Decorates a method other than forward that reads weights: in a module that FSDP2 shards it runs on whole weights.

    ``fully_shard`` gathers the weights around ``forward`` alone; another method has to be registered. The backward pass
    releases the whole weights; where none follows, the method does, because an optimizer must see the shards alone.
    """
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        if _is_sharded_module(self) and name not in vars(self):
            from torch.distributed.fsdp import register_fsdp_forward_method

            register_fsdp_forward_method(self, name)
            setattr(self, name, functools.partial(_given_back, self, getattr(self, name)))
            found: R = getattr(self, name)(*args, **kwargs)
            return found
        return method(self, *args, **kwargs)

    return call


def whole(model: nn.Module) -> AbstractContextManager[None]:
    """Without gradients, what FSDP2 shards inside ``model`` is gathered once for all that happens in the block.

    How many words are decoded depends on a process's own motions and coins. Layers that gathered their weights word by
    word would leave one process waiting for another that has finished. FSDP2's hooks are removed meanwhile, as they
    would release the weights after the first word.
    """
    if torch.compiler.is_compiling():
        return nullcontext()
    shards = [m for m in model.modules() if m is not model and _is_sharded_module(m)]
    return _whole(shards) if shards else nullcontext()


def _given_back(module: Any, method: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    found = method(*args, **kwargs)
    if not any(isinstance(x, Tensor) and x.requires_grad for x in tree_leaves(found)):
        module.reshard()
    return found


@contextmanager
def _whole(shards: list[Any]) -> Iterator[None]:
    given = [shard for shard in shards if any(is_distributed(p) for p in shard.parameters())]
    for shard in given:
        shard.unshard()
    hooks = [hooks for shard in shards for hooks in (shard._forward_pre_hooks, shard._forward_hooks)]
    kept = [dict(each) for each in hooks]
    for each in hooks:
        for key in [key for key, hook in each.items() if _is_gathering(hook)]:
            del each[key]
    try:
        yield
    finally:
        for each, before in zip(hooks, kept, strict=True):
            each.clear()
            each.update(before)
        for shard in given:
            shard.reshard()


def refuse_distributed(model: nn.Module) -> None:
    """Raise NotImplementedError for DTensor parameters that nothing gathers when the layers of ``model`` are called."""
    if "torch.distributed.tensor" not in sys.modules or not any(is_distributed(p) for p in model.parameters()):
        return
    hooked: list[str] = []
    for name, layer in model.named_modules():
        if name and (has_hook(layer) or any(name.startswith(f"{outer}.") for outer in hooked)):
            hooked.append(name)
            continue
        for weight, parameter in layer._parameters.items():
            if is_distributed(parameter):
                raise NotImplementedError(
                    f"Captioner: {f'{name}.{weight}'.strip('.')} is a DTensor; expected a plain tensor, or one that "
                    "fully_shard or parallelize_module gathers (the ops run on whole weights). fully_shard gathers "
                    "around forward, losses, generate and greedy_words; around others call unshard() of the model"
                )


def is_distributed(tensor: Tensor | None) -> bool:
    """Whether a tensor is a DTensor, of which this process may hold only a part."""
    if "torch.distributed.tensor" not in sys.modules:
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def _is_sharded_module(module: Any) -> bool:
    """Whether ``fully_shard`` was applied to the module itself."""
    return hasattr(type(module), "unshard")


def _is_gathering(hook: Any) -> bool:
    """Whether a forward hook is FSDP2's, which gathers weights or releases them."""
    return type(getattr(hook, "__self__", None)).__module__.startswith("torch.distributed.fsdp.")
