"""The accuracy of every C++ op by the contract's policy: no worse than twice plain PyTorch in the same dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from m2t_fast import ops, reference, use_backend
from m2t_fast.ops.cases import (
    ADDITIVE_CASES,
    ATTENTION_CASES,
    ENCODER_CASES,
    GATE_CASES,
    AdditiveCase,
    AttentionCase,
    EncoderCase,
    GateCase,
)
from m2t_fast.ops.cpu import launch
from m2t_fast.ops.registry import why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable("cpu") is not None, reason=f"cpu backend: {why_unavailable('cpu')}")


INSTRUCTION_SETS = ("baseline", "avx2", "avx512")
"""Each copy of the kernels; a processor without one runs its best instead."""


def results(function: Callable, inputs: list[Tensor], more: dict[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs, and the gradients of a weighted sum of them all."""
    inputs = [x.detach().requires_grad_() if x.dtype.is_floating_point else x for x in inputs]
    outputs = function(*inputs, **more)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    g = torch.Generator().manual_seed(1)
    total = sum((o * torch.randn(o.shape, generator=g, dtype=torch.float64).to(o.dtype)).sum() for o in outputs)
    leaves = [x for x in inputs if x.requires_grad]
    return [o.detach() for o in outputs], list(torch.autograd.grad(total, leaves))


def assert_within_policy(name: str, draws: list[list[Tensor]], floor: float = 1e-6, **more: Any) -> None:
    """Error at most 2x (gradients 3x) that of plain PyTorch in the same dtype, plus ``floor`` of the tensor's scale.

    The largest error over all draws counts on both sides: in a single draw of an ill-conditioned case (a sharp softmax
    over thousands of frames, two words) one of them is small by luck.
    """
    worst: dict[tuple[str, str, int], Tensor] = {}
    for inputs in draws:
        exact_inputs = [x.double() if x.dtype.is_floating_point else x for x in inputs]
        truth = results(getattr(reference, name), exact_inputs, more)
        plain = results(getattr(reference, name), inputs, more)
        for instruction_set in INSTRUCTION_SETS:
            with pytest.MonkeyPatch.context() as patch, use_backend("cpu"):
                patch.setattr(launch, "instruction_set", instruction_set)
                ours = results(getattr(ops, name), inputs, more)
            for kind, factor, *columns in zip(("output", "gradient"), (2, 3), truth, plain, ours, strict=True):
                for i, (exact, other, own) in enumerate(zip(*columns, strict=True)):
                    assert own.shape == exact.shape and own.dtype == inputs[0].dtype and own.is_contiguous()
                    if exact.numel():
                        # 1e-6: a gradient that cancels to nothing is compared to the size of what cancelled.
                        scale = exact.abs().max().clamp(min=1e-6)
                        error, allowed = ((x.double() - exact).abs().max() / scale for x in (own, other))
                        entry = worst.setdefault((instruction_set, kind, i), torch.zeros(2, dtype=torch.float64))
                        entry.copy_(torch.maximum(entry, torch.stack([error, factor * allowed])))
    for place, (error, allowed) in ((k, v.tolist()) for k, v in worst.items()):
        assert error <= allowed + floor, (place, error, allowed)


def drawn(
    case: AttentionCase | GateCase | EncoderCase | AdditiveCase, dtype: torch.dtype = torch.float32
) -> list[list[Tensor]]:
    return [case.inputs(dtype, seed) for seed in range(4)]


def check_attention(case: AttentionCase) -> None:
    assert_within_policy("spatio_temporal_attention", drawn(case), scale=case.scale)


@pytest.mark.parametrize("case", ATTENTION_CASES.values(), ids=ATTENTION_CASES.keys())
def test_attention(case: AttentionCase) -> None:
    check_attention(case)


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize(
    "sizes",
    [dict(T=97, L=3, H=59, D=111), dict(T=24, L=11, H=256, D=256), dict(B=1, T=2000, L=3, H=16, D=32, sharp=10.0)],
    ids=["odd", "humanml3d", "long"],
)
def test_attention_of_larger_shapes(S: int, sizes: dict) -> None:
    check_attention(AttentionCase(S=S, **sizes))


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize("magnitude", [1e-3, 3.0, 8.0, 40.0])
@pytest.mark.parametrize("sharp", [0.1, 0.4, 1.0])
def test_attention_with_small_and_saturated_keys(S: int, magnitude: float, sharp: float) -> None:
    """Both ways to tanh(key + query), which the size of keys and weights decides between."""
    draws = drawn(AttentionCase(S=S, T=30, L=9, D=64, sharp=sharp))
    scaled = [[x * magnitude if i in (1, 2) else x for i, x in enumerate(inputs)] for inputs in draws]
    assert_within_policy("spatio_temporal_attention", scaled)


@settings(max_examples=15)
@given(
    sizes=st.fixed_dictionaries({k: st.integers(1, n) for k, n in dict(B=3, T=40, L=9, P=9, H=40, D=70).items()}),
    frame=st.booleans(),
)
def test_attention_of_any_shape(sizes: dict, frame: bool) -> None:
    check_attention(AttentionCase(**sizes, S=1 if frame else sizes["P"]))


@pytest.mark.parametrize(
    "case",
    [*ADDITIVE_CASES.values(), AdditiveCase(T=2000, L=2, D=5, sharp=30.0), AdditiveCase(B=3, T=60, L=23, H=64, D=256)],
    ids=[*ADDITIVE_CASES.keys(), "long", "larger"],
)
def test_additive_attention(case: AdditiveCase) -> None:
    assert_within_policy("additive_attention", drawn(case))


@pytest.mark.parametrize("magnitude", [1e-3, 8.0, 40.0])
def test_additive_attention_with_small_and_saturated_keys(magnitude: float) -> None:
    draws = drawn(AdditiveCase(T=30, L=9, D=64, sharp=0.4))
    assert_within_policy("additive_attention", [[q, magnitude * k, *rest] for q, k, *rest in draws])


@settings(max_examples=15)
@given(sizes=st.fixed_dictionaries({k: st.integers(1, n) for k, n in dict(B=5, T=40, L=9, H=40, D=70).items()}))
def test_additive_attention_of_any_shape(sizes: dict) -> None:
    assert_within_policy("additive_attention", drawn(AdditiveCase(**sizes)))


@pytest.mark.parametrize("force_gate", [None, 0.25])
@pytest.mark.parametrize(
    "case",
    [*GATE_CASES.values(), GateCase(B=4, L=9, H=64, C=128, E=32, D=96)],
    ids=[*GATE_CASES.keys(), "larger"],
)
def test_gate(case: GateCase, force_gate: float | None) -> None:
    # Weights of a trained model's size: with entries of order 1 every tanh is saturated.
    draws = [[x / x.shape[-1] ** 0.5 if i in (5, 6, 8, 10, 12) else x for i, x in enumerate(d)] for d in drawn(case)]
    assert_within_policy("gated_decoder_step", draws, force_gate=force_gate)


LARGER_ENCODER = EncoderCase(B=3, T=75, J=22, D=64, half=40, parts=((0, 1, 2), (3, 6, 9, 12, 15), (13, 16, 18, 20)))


@pytest.mark.parametrize("case", [*ENCODER_CASES.values(), LARGER_ENCODER], ids=[*ENCODER_CASES.keys(), "larger"])
def test_encoder(case: EncoderCase) -> None:
    draws = drawn(case)
    for inputs in draws:
        inputs[2] = inputs[2] / 3
        inputs[4] = inputs[4] / case.D**0.5
    assert_within_policy("part_encoder", draws, parts=case.parts)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_formats(dtype: torch.dtype) -> None:
    draws = drawn(AttentionCase(S=6, T=40, D=32, H=16), dtype)
    assert_within_policy("spatio_temporal_attention", draws, floor=1e-3)
    assert_within_policy("additive_attention", drawn(AdditiveCase(T=40, D=32, H=16), dtype), floor=1e-3)
    assert_within_policy("gated_decoder_step", drawn(GateCase(), dtype), floor=1e-3)
    assert_within_policy("part_encoder", drawn(EncoderCase(), dtype), floor=1e-3, parts=EncoderCase().parts)


@pytest.mark.parametrize("S", [1, 6])
@pytest.mark.parametrize(
    ("sizes", "magnitude"),
    [
        (dict(T=97, L=3, H=59, D=111), 1.0),
        (dict(T=24, L=11, H=256, D=256), 1.0),
        (dict(T=30, L=9, D=64), 40.0),
        (dict(B=1, T=2000, L=3, H=16, D=32, sharp=10.0), 1.0),
        (dict(T=9, L=140, H=24, D=16), 1.0),
    ],
    ids=["odd", "humanml3d", "saturated", "long", "many words"],
)
def test_attention_in_bfloat16(S: int, sizes: dict, magnitude: float) -> None:
    """Parts and keys are read as they are stored, and tanh is as good as such keys are."""
    draws = drawn(AttentionCase(S=S, **sizes), torch.bfloat16)
    scaled = [[x * magnitude if i in (1, 2) else x for i, x in enumerate(inputs)] for inputs in draws]
    assert_within_policy("spatio_temporal_attention", scaled, floor=1e-3)


@pytest.mark.parametrize("case", [*ENCODER_CASES.values(), LARGER_ENCODER, EncoderCase(B=2, T=300, D=30, half=10)])
def test_encoder_in_bfloat16(case: EncoderCase) -> None:
    """With an odd hidden layer in float32, else with the processor's bfloat16 products where it has them."""
    draws = drawn(case, torch.bfloat16)
    for inputs in draws:
        inputs[2] = inputs[2] / 3
        inputs[4] = inputs[4] / case.D**0.5
    assert_within_policy("part_encoder", draws, floor=1e-3, parts=case.parts)


@pytest.mark.parametrize("case", [GateCase(B=4, L=9, H=64, C=128, E=32, D=96), GateCase(H=7)])
def test_gate_in_bfloat16(case: GateCase) -> None:
    draws = drawn(case, torch.bfloat16)
    draws = [[x / x.shape[-1] ** 0.5 if i in (5, 6, 8, 10, 12) else x for i, x in enumerate(d)] for d in draws]
    assert_within_policy("gated_decoder_step", draws, floor=1e-3)
