"""How many kernels a training step starts on a CUDA device, counted without one.

Every op of torch's that is no view counts as one kernel, every launch of ours as one, an LSTM as one each way: cuDNN
alone knows how many it takes.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

from triton.runtime.jit import JITFunction

from m2t_fast import Captioner, CaptionerConfig, modules
from m2t_fast.captioner import Draws
from m2t_fast.data.batches import Batch
from m2t_fast.ops import registry
from m2t_fast.ops.cuda import attention_call, decode
from m2t_fast.ops.cuda import launch as cuda
from m2t_fast.ops.triton import launch as triton
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import TrainingStep, adamw

NO_KERNEL = ("empty", "new_empty", "empty_like", "detach", "_unsafe_view", "_record_function")
"""Ops that allocate, rename or take notes."""
MOST = 250


class Counting(TorchDispatchMode):
    """Counts the ops that start a kernel."""

    def __init__(self, found: Counter[str]):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        namespace, name = function._schema.name.split("::")
        returns = function._schema.returns
        view = bool(returns) and returns[0].alias_info is not None and not returns[0].alias_info.is_write
        if namespace == "aten" and not view and not name.startswith(NO_KERNEL):
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


class Lstm(torch.autograd.Function):
    """Stands in for cuDNN's: one kernel each way."""

    @staticmethod
    def forward(ctx: Any, found: Counter[str], x: Tensor, *weights: Tensor) -> Tensor:
        ctx.found, ctx.shapes = found, [t.shape for t in (x, *weights)]
        found["lstm"] += 1
        return torch.empty(*x.shape[:2], weights[1].shape[1])

    @staticmethod
    def backward(ctx: Any, *grad: Tensor) -> Any:
        ctx.found["lstm_backward"] += 1
        return None, *(torch.empty(shape) for shape in ctx.shapes)


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """The launches of what follows, as ``auto`` makes them where Triton and CUDA can run."""
    counted: Counter[str] = Counter()

    def kernel(module: Any, name: str, dtype: torch.dtype, address: Any) -> Callable[..., Any]:
        def launch(**given: Any) -> bytes:
            if not name.startswith("plan_"):
                counted[name] += 1
            return b""

        return launch

    def record(module: Any, name: str) -> SimpleNamespace:
        return SimpleNamespace(size=32, unpacked=lambda data: {"bytes": 8})

    def run(self: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        counted[self.fn.__name__] += 1

    def implementation(*args: Any, **kwargs: Any) -> Callable[..., Any]:
        function = original(*args, **kwargs)

        def counting(*args: Any, **kwargs: Any) -> Any:
            with Counting(counted):
                return function(*args, **kwargs)

        return counting

    def lstm(x: Tensor, state: Any, *weights: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        out = Lstm.apply(counted, x, *weights)
        return out, (out[:, -1], out[:, -1])

    def forget() -> None:
        registry.resolve.cache_clear()
        registry._kernels.cache_clear()

    original = registry.implementation
    for name, value in dict(
        DEVICE_TYPES={name: ("cpu",) for name in registry.DEVICE_TYPES},
        FASTEST_FIRST=("triton", "cuda", "reference"),
        INTERPRETED=(),
        why_unavailable=lambda name: None,
        implementation=implementation,
    ).items():
        monkeypatch.setattr(registry, name, value)
    monkeypatch.setattr(JITFunction, "run", run)
    monkeypatch.setattr(triton, "assumed", "default")
    monkeypatch.setattr(cuda, "emulated", SimpleNamespace())
    monkeypatch.setattr(cuda, "kernel", kernel)
    for module in (attention_call, decode):
        monkeypatch.setattr(module, "record", record)
    monkeypatch.setattr(modules, "lstm", lstm)
    forget()
    yield counted
    monkeypatch.undo()
    forget()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_a_training_step_starts_few_kernels(found: Counter[str], scoring: str, dtype: torch.dtype) -> None:
    config = CaptionerConfig.from_dict({**CaptionerConfig.kit(vocab_size=20).to_dict(), "scoring": scoring})
    model, settings = Captioner(config).train(), TrainingSettings(batch_size=2, teacher_forcing=0.5)
    step = TrainingStep(model, adamw(model, settings), settings, dtype)
    batch, frames, words = 2, 4, 3
    motion, tokens = torch.zeros(batch, frames, 21, 3), torch.ones(batch, words + 1, dtype=torch.int64)
    lengths = torch.full((batch,), frames)
    sample = Batch(motion, lengths, tokens, motion.new_zeros(batch, words), motion.new_zeros(batch, words, 6), lengths)
    masks = motion.new_zeros(2, batch, words, config.embedding_dim).unbind(0)
    draws = Draws(torch.zeros(words, dtype=torch.bool), (masks[0], masks[1]))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    step.update()  # makes the optimiser's state
    with Counting(found):
        step.losses_and_gradients(sample, draws)
        step.update()
    assert found["lstm"] == found["lstm_backward"] == 2
    assert found["attention_scores"] == 2 and found["gate_forward"] == found["decode_sample_words"] == 1
    assert found.total() <= MOST, found
