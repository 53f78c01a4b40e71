"""Cases of the ops that fold a loss in, from those of the ops that do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from m2t_fast.ops.cases.attention import ATTENTION_CASES, AttentionCase
from m2t_fast.ops.cases.gate import GATE_CASES, GateCase


@dataclass(frozen=True)
class GuidedCase:
    """An attention or gate case with the targets of its loss."""

    case: AttentionCase | GateCase

    def record(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
        """The inputs by name."""
        return self.case.guided(dtype, seed)


def _guided(cases: Mapping[str, Any], *names: str) -> dict[str, GuidedCase]:
    """Cases that show what folding a loss into an op changes; the op's own cases show the rest."""
    return {name: GuidedCase(case) for name, case in cases.items() if name.endswith(names)}


CASES = {
    "guided_attention": _guided(ATTENTION_CASES, "plain", "one-frame", "scaled", "no-words", "strided"),
    "guided_decoder_step": _guided(GATE_CASES, "plain", "odd", "no-words", "strided"),
}
