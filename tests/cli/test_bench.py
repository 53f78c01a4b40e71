"""``m2t-fast bench``: tables, JSON, exit codes, and mistakes in one line."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch

from m2t_fast.benchmarking import CASES, SIZES, Row
from m2t_fast.cli import bench
from m2t_fast.ops import registry
from m2t_fast.ops.reference import encoder as backend

TINY = ("bench", "--sizes", "tiny", "--no-memory", "--runs", 1, "--device", "cpu")


def test_the_choices_are_those_of_the_package() -> None:
    assert tuple(SIZES) == bench.SIZES and CASES == bench.CASES


def test_a_table(call: Callable) -> None:
    result = call(*TINY, "--ops", "gated_decoder_step", "training_step", "--no-compile")
    assert (result.code, result.err) == (0, "")
    machine, size, *lines = result.out.splitlines()
    assert f"torch {torch.__version__}" in machine and "thread" in machine
    assert size.startswith("tiny: batch 4, 2 to 10 frames, 6 words")
    assert "tiny: gated_decoder_step, forward + backward" in lines and "tiny: training_step, part scoring" in lines
    headers = [line.split()[:4] for line in lines if "median" in line]
    assert headers == [["to", "loop", "to", "plain"]] * 2
    ways = ["loop", "plain", *(name for name in registry.available_backends() if "cpu" in registry.DEVICE_TYPES[name])]
    assert [line.split()[-1] for line in lines if line.startswith("  ") and "x " in line] == 2 * ways


def test_json(call: Callable) -> None:
    result = call(*TINY, "--ops", "spatio_temporal_attention", "beam", "--ways", "reference", "loop", "--json")
    assert (result.code, result.err) == (0, "")
    found = json.loads(result.out)
    assert set(found) == {"machine", "settings", "baselines", "rows", "passed"} and found["passed"]
    assert found["settings"]["sizes"] == ["tiny"] and found["settings"]["device"] == "cpu"
    assert [(row["case"], row["backward"], row["way"]) for row in found["rows"]] == [
        ("spatio_temporal_attention", False, "loop"),
        ("spatio_temporal_attention", False, "reference"),
        ("spatio_temporal_attention", True, "loop"),
        ("spatio_temporal_attention", True, "reference"),
        ("beam", False, "loop"),
        ("beam", False, "reference"),
    ]
    for row in found["rows"]:
        assert set(row) == set(Row._fields)
        assert row["status"] == "ok" and set(row["ratios"]) == {"loop"} and row["median"] > 0


def test_a_broken_backend_gets_no_ratio_and_exit_code_1(call: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    right = backend.part_encoder_backward
    monkeypatch.setattr(
        backend,
        "part_encoder_backward",
        lambda *x, **more: {**(found := right(*x, **more)), "bias2": found["bias2"] * 0},
    )
    command = (*TINY, "--ops", "part_encoder", "--ways", "plain", "reference")
    result = call(*command)
    assert result.code == 1
    assert "  reference: WRONG: d_bias2 differs by 1.0e+00 of its largest value, allowed 1e-03" in result.out
    assert [line.split()[-1] for line in result.out.splitlines() if "x " in line and "ms" in line] in (["plain"], [])
    assert result.out.endswith("1 of 2 results is wrong: no time and no ratio is given for it\n")
    found = json.loads(call(*command, "--json").out)
    assert not found["passed"]
    assert [(row["status"], row["median"] is None, row["ratios"]) for row in found["rows"]] == [
        ("ok", False, {"plain": 1.0}),
        ("wrong", True, {}),
    ]


def test_threads_are_set_and_set_back(call: Callable) -> None:
    before = torch.get_num_threads()
    command = (*TINY, "--ops", "gated_decoder_step", "--ways", "plain", "--json")
    assert json.loads(call(*command, "--threads", 3).out)["machine"]["threads"] == 3
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sizes", "huge"), "--sizes: invalid choice: 'huge'"),
        (("--ops", "lstm"), "--ops: invalid choice: 'lstm'"),
        (("--scoring", "both"), "--scoring: invalid choice: 'both'"),
        (("--ways", "plain", "fast"), "--ways: got 'fast', expected one of loop, plain, compile, reference"),
        (("--ways", "compile", "--no-compile"), "--no-compile: it leaves nothing of --ways compile"),
        (("--runs", "0"), "--runs: got '0', expected a whole number of at least 1"),
        (("--threads", "x"), "--threads: got 'x', expected a whole number of at least 1"),
        (("--device", "tpu"), "--device: got 'tpu', expected auto, cpu, cuda or cuda:N"),
    ],
)
def test_mistakes(refused: Callable, options: tuple[str, ...], message: str) -> None:
    assert message in refused("bench", *options)


def test_a_backend_that_cannot_run_says_why(refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.why_unavailable.cache_clear()
    monkeypatch.setattr(registry, "why_unavailable", lambda name: "not built" if name == "cuda" else None)
    assert "'cuda' cannot run here: not built" in refused("bench", "--device", "cpu", "--ways", "cuda")
    monkeypatch.undo()
    assert "cuda" in refused("bench", "--device", "cpu", "--ways", "cuda")
