"""Encoder and keys as batched products, what GPUs run: values and gradients by the contract's policy, on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from m2t_fast import reference
from m2t_fast.numerics import FACTOR, FLOOR, GRADIENT_FACTOR
from m2t_fast.ops import batched_encoder, batched_keys
from m2t_fast.ops.cases import ENCODER_CASES, KEYS_CASES, EncoderCase, KeysCase
from m2t_fast.ops.encoder import part_encoder
from m2t_fast.records import converted
from m2t_fast.reference.attention import KeysOutput

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
WEIGHTS = ("weight1", "bias1", "weight2", "bias2")
LARGER = EncoderCase(B=3, T=40, J=22, D=64, half=32, parts=((0, 1, 2), (3, 6, 9, 12, 15), (13, 16, 18, 20)))


def in_double(x: Any) -> Any:
    return converted(x, lambda v: v.double() if v.is_floating_point() else v)


def autograd(function: Callable[..., Any], x: Any, names: tuple[str, ...]) -> tuple[list[Tensor], list[Tensor], Any]:
    """Outputs, gradients of the named inputs, and the outputs' gradients that were asked for."""
    x = x._replace(**{name: getattr(x, name).detach().requires_grad_() for name in names})
    found = function(*x)
    outputs = list(found) if isinstance(found, tuple) else [found]
    g = torch.Generator().manual_seed(1)
    grads = [torch.randn(o.shape, generator=g, dtype=torch.float64).to(o) for o in outputs]
    leaves = [getattr(x, name) for name in names]
    return [o.detach() for o in outputs], list(torch.autograd.grad(outputs, leaves, grads)), grads


def check(found: list[Tensor], exact: list[Tensor], plain: list[Tensor], factor: int, dtype: torch.dtype) -> None:
    scale = max((float(e.abs().max()) for e in exact if e.numel()), default=0.0)
    for own, truth, other in zip(found, exact, plain, strict=True):
        assert own.shape == truth.shape and own.dtype == dtype and own.is_contiguous()
        if truth.numel():
            error, allowed = ((v.double() - truth).abs().max() for v in (own, other))
            assert error <= factor * allowed + FLOOR[dtype] * scale, (error, allowed, scale)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", [*ENCODER_CASES.values(), LARGER], ids=[*ENCODER_CASES, "larger"])
def test_encoder(case: EncoderCase, dtype: torch.dtype) -> None:
    x = case.record(dtype)
    exact, plain = (autograd(reference.part_encoder, y, WEIGHTS) for y in (in_double(x), x))
    # Padding may hold anything, and what comes back for it means nothing.
    behind = torch.arange(case.T) >= x.lengths[:, None]
    torn = x._replace(motion=torch.where(behind[..., None, None], torch.nan, x.motion))
    out = batched_encoder.part_encoder(torn)
    check([out], exact[0], plain[0], FACTOR, dtype)
    grad = torch.where(behind[..., None, None], torch.nan, plain[2][0])
    saved = part_encoder._saved(out)
    made = batched_encoder.part_encoder_backward(grad, torn, saved, need_motion=False)
    check([made[name] for name in WEIGHTS], exact[1], plain[1], GRADIENT_FACTOR, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("unused", [None, "temporal_keys", "spatial_keys"])
@pytest.mark.parametrize("case", KEYS_CASES.values(), ids=KEYS_CASES)
def test_keys(case: KeysCase, unused: str | None, dtype: torch.dtype) -> None:
    x = case.record(dtype)
    names = tuple(name for name in x._fields if name != "lengths")

    def used(*inputs: Any) -> Any:
        out = reference.attention_keys(*inputs)
        return out if unused is None else out._replace(**{unused: 0 * getattr(out, unused)})

    exact, plain = (autograd(used, y, names) for y in (in_double(x), x))
    behind = (torch.arange(case.T) >= x.lengths[:, None])[..., None, None]
    torn = x._replace(parts=torch.where(behind, torch.nan, x.parts))
    if unused is None:
        check(list(batched_keys.attention_keys(torn)), exact[0], plain[0], FACTOR, dtype)
    grads = KeysOutput(*(torch.where(behind, torch.nan, g) for g in plain[2]))
    made = batched_keys.attention_keys_backward(grads if unused is None else grads._replace(**{unused: None}), torn)
    check([made[name] for name in names], exact[1], plain[1], GRADIENT_FACTOR, dtype)
