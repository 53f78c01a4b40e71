"""Inputs of every op in every shape that matters, one file per op; tests and benchmarks share them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from m2t_fast.ops.cases.additive_attention import ADDITIVE_CASES, AdditiveCase
from m2t_fast.ops.cases.attention import ATTENTION_CASES, AttentionCase
from m2t_fast.ops.cases.decode import DECODE_CASES, DecodeCase
from m2t_fast.ops.cases.encoder import ENCODER_CASES, EncoderCase
from m2t_fast.ops.cases.gate import GATE_CASES, GateCase
from m2t_fast.ops.cases.gather import GATHER_CASES, GatherCase
from m2t_fast.ops.cases.guided import GuidedCase
from m2t_fast.ops.cases.keys import KEYS_CASES, KeysCase
from m2t_fast.ops.cases.loss import LOSS_CASES, LossCase
from m2t_fast.ops.cases.lstm import LSTM_CASES, LstmCase
from m2t_fast.ops.cases.shared import arranged, targets

__all__ = [
    "ADDITIVE_CASES",
    "ATTENTION_CASES",
    "AdditiveCase",
    "AttentionCase",
    "CASES",
    "DECODE_CASES",
    "DecodeCase",
    "ENCODER_CASES",
    "EncoderCase",
    "GATE_CASES",
    "GATHER_CASES",
    "GateCase",
    "GatherCase",
    "GuidedCase",
    "KEYS_CASES",
    "KeysCase",
    "LOSS_CASES",
    "LSTM_CASES",
    "LossCase",
    "LstmCase",
    "arranged",
    "targets",
]

CASES: dict[str, Mapping[str, Any]] = {}
"""By op: what ``m2t-fast validate`` and the tests of every op run; each file of this folder has its own ``CASES``."""
for _file in pkgutil.iter_modules(__path__):
    CASES |= getattr(importlib.import_module(f"{__name__}.{_file.name}"), "CASES", {})
