"""Every Triton op, interpreted: chosen by name alone, accurate by the contract's policy, opcheck."""

from __future__ import annotations

import pytest
import torch

from m2t_fast import numerics
from m2t_fast.ops import registry
from m2t_fast.ops.cases import AttentionCase, GateCase

pytestmark = pytest.mark.interpreted


def test_the_interpreter_is_asked_for_by_name_and_never_picked() -> None:
    assert registry.resolve("spatio_temporal_attention", "triton", "cpu") == "triton"
    assert registry.resolve("spatio_temporal_attention", "auto", "cpu") != "triton"
    assert registry.resolve("lstm_cells", "triton", "cpu") == "reference"


# In the interpreter a shorter format is rounded outside the kernels: two cases show all there is to see.
POLICY = [
    (op, case, dtype)
    for op in (
        "spatio_temporal_attention",
        "gated_decoder_step",
        "guided_attention",
        "guided_decoder_step",
        "gather_motions",
        "additive_attention",
        "part_encoder",
        "attention_keys",
    )
    for case in numerics.OPS[op].cases
    for dtype in (torch.float32, torch.bfloat16, torch.float16)
    if dtype == torch.float32 or case in ("part-plain", "frame-odd", "odd") or op in ("part_encoder", "attention_keys")
]


@pytest.mark.parametrize(("op", "case", "dtype"), POLICY, ids=lambda x: str(x).removeprefix("torch."))
def test_policy(op: str, case: str, dtype: torch.dtype) -> None:
    """No worse than twice (gradients: three times) plain PyTorch in the same dtype."""
    row = numerics.row(op, case, "triton", dtype, draws=2 if "plain" in case else 1)
    assert row.passed, row


def test_opcheck() -> None:
    case = AttentionCase(S=6, B=1, T=3, L=2)
    inputs = [x.requires_grad_() for x in case.inputs(torch.float32)[:8]]
    lengths = case.inputs()[8]
    torch.library.opcheck(torch.ops.m2t_fast.spatio_temporal_attention, (*inputs, lengths, 1.0, True, "triton"))
    torch.library.opcheck(
        torch.ops.m2t_fast.guided_attention, (*inputs, lengths, torch.ones(1, 2, 6), 1.0, True, "triton")
    )
    gate = [x.requires_grad_() for x in GateCase().inputs(torch.float32)]
    torch.library.opcheck(torch.ops.m2t_fast.gated_decoder_step, (*gate, None, "triton"))
    torch.library.opcheck(torch.ops.m2t_fast.guided_decoder_step, (*gate, torch.ones(2, 5), "triton"))
