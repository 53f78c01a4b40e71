"""Validation passes what is right, and finds every kind of wrong."""

from __future__ import annotations

import json

import pytest
import torch

from m2t_fast import available_backends
from m2t_fast.cli import main
from m2t_fast.numerics import OPS, validate
from m2t_fast.ops.reference import attention, encoder


def test_every_backend_that_can_run_here_is_within_tolerance(capsys):
    assert main(["validate", "--device", "cpu", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["op"] for row in rows} == set(OPS)
    assert {row["backend"] for row in rows} == set(available_backends())
    assert {row["dtype"] for row in rows} == {"float64", "float32", "bfloat16"}
    assert all(row["passed"] for row in rows)


@pytest.mark.parametrize(
    ("spoil", "worst"),
    [
        (lambda out: (out[0] * (1 + 1e-4), *out[1:]), "context"),
        (lambda out: (*out[:3], out[3] + 1e-3, out[4]), "mean"),
        (lambda out: (out[0], torch.where(out[1] > 0.5, torch.nan, out[1]), *out[2:]), "window"),
    ],
)
def test_a_wrong_value_is_found_and_named(spoil, worst, monkeypatch):
    right = attention.spatio_temporal_attention

    def wrong(*arguments):
        found = right(*arguments)
        return type(found)(*spoil(found))

    monkeypatch.setattr(attention, "spatio_temporal_attention", wrong)
    rows = [row for row in validate(["reference"], [torch.float32]) if row.op == "spatio_temporal_attention"]
    plain = next(row for row in rows if row.case == "part-plain")
    assert not plain.passed and plain.worst == worst


def test_a_wrong_gradient_is_found_and_the_exit_code_says_so(monkeypatch, capsys):
    right = encoder.part_encoder_backward

    def wrong(*arguments, **more):
        found = right(*arguments, **more)
        return {**found, "bias2": found["bias2"] * 0}

    monkeypatch.setattr(encoder, "part_encoder_backward", wrong)
    assert main(["validate", "--device", "cpu", "--backend", "reference"]) == 1
    printed = capsys.readouterr().out
    assert "OUT OF TOLERANCE" in printed and "d_bias2" in printed
