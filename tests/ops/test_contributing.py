"""CONTRIBUTING's "Add an op in five steps", steps 1 to 4, with an op that exists in this test alone."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import pytest
import torch
from torch import Tensor

from m2t_fast import numerics, use_backend
from m2t_fast.ops import cases, registry
from m2t_fast.ops.define import define
from m2t_fast.ops.op import Op
from m2t_fast.records import from_fields

NAME = "tests_softsign"


class SoftsignInputs(NamedTuple):
    """Step 1: the inputs."""

    x: Annotated[Tensor, "B L D"]
    weight: Annotated[Tensor, "D"]
    power: float = 1.0


class SoftsignCase:
    """Step 4: a case."""

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> SoftsignInputs:
        """The inputs by name."""
        g = torch.Generator().manual_seed(seed)
        x, weight = (torch.randn(n, generator=g, dtype=torch.float64).to(dtype) for n in ((2, 3, 4), (4,)))
        return SoftsignInputs(x, weight)


def reference(x: SoftsignInputs) -> Annotated[Tensor, "B L D"]:
    """weight * x / (1 + |x|): step 1, the equation."""
    return x.weight * x.x / (1 + x.x.abs())


def backward(grad: Tensor, x: SoftsignInputs) -> dict[str, Tensor]:
    """Step 3: the gradient, written out."""
    below = 1 + x.x.abs()
    return dict(x=grad * x.weight / below**2, weight=(grad * x.x / below).sum((0, 1)))


@pytest.fixture(scope="module")
def op() -> Iterator[Op[..., Any]]:
    """Steps 2 to 4; taken out of the tables again."""
    reference.__name__ = NAME
    declared = define(from_fields(SoftsignInputs)(reference), file=NAME)
    path = f"m2t_fast.ops.reference.{NAME}"
    module: Any = ModuleType(path)
    module.__spec__ = importlib.util.spec_from_loader(path, None)
    setattr(module, NAME, reference)
    setattr(module, f"{NAME}_backward", backward)
    sys.modules[path] = module
    yield declared
    del sys.modules[path], registry.OPS[NAME]


def test_gradients_registration_and_documentation_follow(op: Op[..., Any]) -> None:
    x = SoftsignCase().record()
    leaves = [x.x.requires_grad_(), x.weight.requires_grad_()]
    assert torch.autograd.gradcheck(op, leaves)
    torch.library.opcheck(getattr(torch.ops.m2t_fast, NAME), (*leaves, 1.0, "reference"))
    assert op.__doc__ is not None and "x: (B, L, D)" in op.__doc__
    with pytest.raises(ValueError, match=f"^{NAME}: weight has shape \\(5,\\), expected \\(D=4\\)"):
        op(x.x, torch.ones(5, dtype=torch.float64))


def test_the_policy_is_checked_from_the_case(op: Op[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    entry = numerics._Op(op, {"plain": SoftsignCase()})
    monkeypatch.setitem(numerics.OPS, NAME, entry)
    assert NAME not in cases.CASES
    for backend in registry.available_backends():
        row = numerics.row(NAME, "plain", backend, torch.float32, draws=2)
        assert row.passed, row
    with use_backend("autograd"):
        assert torch.equal(op(*SoftsignCase().record()), reference(SoftsignCase().record()))
