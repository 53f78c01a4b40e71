"""What tests of ops share: outputs with gradients of any op, comparisons, and memory that shows unwritten reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from m2t_fast import ops
from m2t_fast.ops.cases import GateCase


def drawn(output: Tensor, generator: torch.Generator) -> Tensor:
    """Weights of an output's elements: normally distributed."""
    return torch.randn(output.shape, generator=generator, dtype=torch.float64).to(output)


def ramp(output: Tensor, generator: torch.Generator) -> Tensor:
    """Weights of an output's elements: from -1 to 2 in equal steps."""
    return torch.linspace(-1, 2, output.numel(), dtype=torch.float64).view(output.shape).to(output)


def results(
    function: Callable[..., Any],
    inputs: Sequence[Tensor],
    used: Iterable[int] | None = None,
    weights: Callable[[Tensor, torch.Generator], Tensor] = drawn,
    **options: Any,
) -> list[Tensor]:
    """The outputs of ``function(*inputs, **options)``, and behind them the gradients of a weighted sum of those in
    ``used`` (all) with respect to every input of floats: zeros where there is none."""
    arguments = [x.detach().requires_grad_() if x.is_floating_point() else x for x in inputs]
    outputs = function(*arguments, **options)
    outputs = tuple(outputs) if isinstance(outputs, tuple) else (outputs,)
    generator = torch.Generator().manual_seed(1)
    weighted = [(o * weights(o, generator)).double().sum() for o in outputs]
    total = sum((weighted[i] for i in (range(len(outputs)) if used is None else used)), start=torch.zeros(()))
    leaves = [x for x in arguments if x.requires_grad]
    gradients = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    return [*(o.detach() for o in outputs), *gradients]


def exact(inputs: Sequence[Tensor]) -> list[Tensor]:
    """The inputs with their floats in float64: of these the reference gives the truth."""
    return [x.double() if x.is_floating_point() else x for x in inputs]


def equal(found: Iterable[Tensor], expected: Iterable[Tensor]) -> bool:
    """Whether all tensors have the same bits, as far as they are numbers."""
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def assert_close(
    found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float = 2e-5, names: Sequence[str] = ()
) -> None:
    """Every error is at most ``tolerance`` of the expected tensor's largest value, or of 1 where all are below."""
    for i, (a, e) in enumerate(zip(found, expected, strict=True)):
        assert a.shape == e.shape, (names[i] if names else i, a.shape, e.shape)
        if e.numel():
            error, size = float((a.double() - e).abs().max()), float(e.abs().max())
            assert error <= tolerance * max(1.0, size), (names[i] if names else i, error, size)


def assert_within_policy(
    found: Sequence[Tensor], plain: Sequence[Tensor], truth: Sequence[Tensor], outputs: int, floor: float = 1e-6
) -> None:
    """The contract's policy for the ``outputs`` first tensors and the gradients behind them: an error of at most twice
    (gradients: three times) that of ``plain``, plus ``floor`` of the scale, which all gradients share."""
    scale = max(float(x.abs().max()) for x in truth[outputs:])
    for i, (a, p, e) in enumerate(zip(found, plain, truth, strict=True)):
        factor, size = (3, scale) if i >= outputs else (2, float(e.abs().max()))
        error, allowed = float((a - e).abs().max()), factor * float((p - e).abs().max()) + floor * size
        assert error <= allowed, (i, error, allowed)


def targets(*shape: int, seed: int = 3) -> Tensor:
    """Supervision of the losses: 1, 0, and -1 where there is none."""
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(seed))


@contextmanager
def poisoned_memory(device: str = "cpu", warn_only: bool = True) -> Iterator[None]:
    """Inside the block what is allocated is filled with NaN: whoever reads what nobody wrote gives NaN."""
    settings = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True, warn_only=warn_only)
        settings.fill_uninitialized_memory = True
        assert torch.empty(3, device=device).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        settings.fill_uninitialized_memory = before[1]


def assert_hidden_may_be_top(dtype: torch.dtype, tolerance: float) -> None:
    """On the backend in use one tensor as both ``hidden`` and ``top`` of the gated step has the gradient of both."""
    for rows in (3, 40):  # words: 15, and more than the kernels for few take
        x = GateCase(B=rows).record(dtype)
        found = []
        for own in (False, True):
            leaf = x.hidden.clone().requires_grad_()
            out = ops.gated_decoder_step(*x._replace(hidden=leaf, top=leaf.clone() if own else leaf))
            found.append(torch.autograd.grad(out.features.square().sum() + out.gate.sum(), leaf)[0])
        torch.testing.assert_close(found[0], found[1], rtol=tolerance, atol=tolerance)
