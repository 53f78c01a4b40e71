"""Derivatives of other kinds: each is right, or refused by name; none is 0 without a word."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from m2t_fast import Captioner, ops, use_backend

G = torch.Generator().manual_seed(3)
QUERY = torch.randn(2, 3, 4, generator=G, dtype=torch.float64)
KEYS = [torch.randn(2, 5, 1, 4, generator=G, dtype=torch.float64) for _ in range(2)]
PARTS = torch.randn(2, 5, 6, 8, generator=G, dtype=torch.float64)
WEIGHTS = [torch.randn(shape, generator=G, dtype=torch.float64) for shape in ((4,), (6, 4), (6,))]


def looked(query: Tensor) -> Tensor:
    lengths = torch.tensor([5, 3])
    return ops.spatio_temporal_attention(PARTS, *KEYS, query, QUERY, *WEIGHTS, lengths).context


def total(query: Tensor) -> Tensor:
    return looked(query).square().sum()


def slopes() -> Tensor:
    """The gradient of ``total`` by the kernels."""
    query = QUERY.clone().requires_grad_()
    return torch.autograd.grad(total(query), query)[0]


def test_func_grad_and_jacobians() -> None:
    torch.testing.assert_close(torch.func.grad(total)(QUERY), slopes())
    jacobian = torch.func.jacrev(looked)(QUERY)
    torch.testing.assert_close(torch.func.jacfwd(looked)(QUERY), jacobian)
    torch.testing.assert_close(torch.autograd.functional.jacobian(looked, QUERY), jacobian)
    output, tangent = torch.func.jvp(looked, (QUERY,), (torch.ones_like(QUERY),))
    torch.testing.assert_close(output, looked(QUERY))
    torch.testing.assert_close(tangent, jacobian.sum((-3, -2, -1)))


def test_vmap() -> None:
    several = torch.stack([QUERY, 2 * QUERY, -QUERY])
    torch.testing.assert_close(torch.func.vmap(looked)(several), torch.stack([looked(x) for x in several]))
    each = torch.func.vmap(torch.func.grad(total))(several)
    torch.testing.assert_close(each, torch.stack([torch.func.grad(total)(x) for x in several]))


def test_second_derivatives() -> None:
    """By torch.func and by the plain backend; by the kernels they are refused."""
    hessian = torch.func.hessian(total)(QUERY)
    with use_backend("autograd"):
        torch.testing.assert_close(torch.autograd.functional.hessian(total, QUERY), hessian)
        assert torch.autograd.gradgradcheck(total, QUERY.clone().requires_grad_())
    query = QUERY.clone().requires_grad_()
    (slope,) = torch.autograd.grad(total(query), query, create_graph=True)
    torch.testing.assert_close(slope, slopes())
    with pytest.raises(NotImplementedError, match='spatio_temporal_attention: a gradient of its gradient.*"autograd"'):
        torch.autograd.grad(slope.square().sum(), query)


def test_tangents() -> None:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(QUERY, torch.ones_like(QUERY))
        refused = pytest.raises(NotImplementedError, match="an input carries a forward-mode tangent")
        with refused:
            looked(dual)
        weight, bias, lengths = PARTS[0, 0], PARTS[0, 0, :, 0], torch.tensor([5, 3])
        with refused:  # by its registered name, where the public function does not see it
            keyed = forward_ad.make_dual(weight, weight)
            torch.ops.m2t_fast.attention_keys(PARTS, lengths, keyed, bias, weight, bias, "auto")
        with use_backend("autograd"):
            tangent = forward_ad.unpack_dual(looked(dual)).tangent
    torch.testing.assert_close(tangent, torch.func.jvp(looked, (QUERY,), (torch.ones_like(QUERY),))[1])


def test_gradients_of_each_sample(model: Captioner, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    """Of the whole model, by functional_call under torch.func.grad: what autograd gives."""
    motion, lengths, tokens = batch
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(given: dict[str, Tensor]) -> Tensor:
        out = torch.func.functional_call(model, given, (motion, lengths, tokens))
        return out.logits.square().mean() + out.spatial.square().mean()

    found = torch.func.grad(loss)(weights)
    loss_by: Callable[[], Tensor] = lambda: loss(dict(model.named_parameters()))  # noqa: E731
    expected = torch.autograd.grad(loss_by(), list(model.parameters()), allow_unused=True, materialize_grads=True)
    for name, slope in zip(weights, expected, strict=True):
        torch.testing.assert_close(found[name], slope, rtol=1e-3, atol=1e-5, msg=name)
