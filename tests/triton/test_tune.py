"""The search over launch configurations, with times made up: no GPU is needed to choose the smallest."""

from __future__ import annotations

import importlib.util
import json

import pytest

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

from m2t_fast.kernels import devices
from m2t_fast.ops.triton import tune


def test_every_kernel_of_the_table_is_tuned_and_starts_from_its_default() -> None:
    default = devices.table("default")
    assert set(tune.CANDIDATES) == set(default)
    for kernel, kinds in default.items():
        for kind, values in kinds.items():
            tried = list(tune.candidates(kernel, kind))
            assert tried[0] == values and all(set(x) == set(values) for x in tried)


def test_the_fastest_wins_and_what_cannot_run_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path, capsys) -> None:
    kernel, seen = "bias_tanh", []
    monkeypatch.setattr(tune, "calls", lambda dtype: {kernel: lambda: devices.configuration("here", kernel, "float32")})
    monkeypatch.setattr(tune, "CANDIDATES", {kernel: tune.CANDIDATES[kernel]})
    saved = []

    def measure(call) -> float:
        configuration = call()
        seen.append(configuration)
        if configuration["BLOCK"] == 512:
            raise RuntimeError("out of resources")
        return 1.0 if configuration["BLOCK"] == 2048 and configuration["num_warps"] == 8 else 2.0

    best = tune.tune(measure, 100.0, lambda table: saved.append(json.dumps(table)))
    assert len(saved) == 2 and json.loads(saved[1]) == best
    assert len(seen) == 2 * 7 and "RuntimeError" in capsys.readouterr().err
    assert all((x["BLOCK"], x["num_warps"]) == (2048, 8) for x in best[kernel].values())
    assert best["gate_forward"] == devices.table("default")["gate_forward"]
    tune.write(best, tmp_path / "made.json")
    assert json.loads((tmp_path / "made.json").read_text()) == best


def test_a_spent_budget_leaves_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "calls", lambda dtype: dict.fromkeys(tune.CANDIDATES, lambda: None))
    seen: list[float] = []
    best = tune.tune(lambda call: seen.append(0.0) or 1.0, 0.0, lambda table: None)
    assert best == devices.table(devices.DEFAULT) and len(seen) == 2 * len(tune.CANDIDATES)


def test_a_table_that_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path, capsys) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("sys.argv", ["tune", "--output", str(tmp_path / "none" / "table.json")])
    assert tune.main() == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "none/table.json" in said and "--output" in said


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["tune"])
    assert tune.main() == 2
    assert capsys.readouterr().err == "m2t_fast.ops.triton.tune: torch finds no CUDA device\n"
