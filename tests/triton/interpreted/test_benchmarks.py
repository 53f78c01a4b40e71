"""The GPU benchmarks and the tuner, interpreted with tiny sizes and a stopwatch that calls once.

They find wrong names and arguments before a GPU does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_attention
import gpu_ceilings
import gpu_decoding
import gpu_guided
import pytest
import torch
from gpu_part import Cell, Device
from torch import Tensor

from m2t_fast import reference
from m2t_fast.kernels import devices
from m2t_fast.ops.cases import AttentionCase, GateCase, GatherCase
from m2t_fast.ops.registry import why_unavailable
from m2t_fast.ops.triton import tune

pytestmark = pytest.mark.interpreted
HERE = Device("cpu", "here")
TINY = {"HumanML3D": dict(B=1, T=21, L=2, D=8, H=8)}


def once(run: Callable[[], Any]) -> list[float]:
    """Stands for the stopwatch, which needs a GPU."""
    run()
    return [2.0, 1.0, 4.0]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (gpu_attention, gpu_guided):
        monkeypatch.setattr(module, "SIZES", TINY)
    for name, value in (("PROGRAMS", 2), ("COUNT", 2), ("COPIED", 64)):
        monkeypatch.setattr(gpu_ceilings, name, value)
    for name, value in (
        ("DATA", ("tiny",)),
        ("BATCHES", (1, 2)),
        ("BEAMS", (1, 2)),
        ("WORDS", 2),
        ("ONE_BY_ONE", (2,)),
    ):
        monkeypatch.setattr(gpu_decoding, name, value)
    monkeypatch.setattr(gpu_decoding, "KEY", (("tiny", 2, 2),))
    monkeypatch.setattr(gpu_decoding, "COMPILED", (("tiny", 2, 2),))
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)


@pytest.mark.parametrize("section", [gpu_ceilings, gpu_attention, gpu_guided], ids=lambda module: module.__name__)
def test_every_cell_is_measured(section: Any) -> None:
    cells = [c for c in section.SECTION.cells() if c.row.get("dtype") != "float32"]  # the interpreter takes its time
    assert cells
    for cell in cells:
        found = section.SECTION.measure(cell, HERE)
        if cell.way == "cuda":
            assert found == {"note": f"not built: {why_unavailable('cuda')}"}
        else:
            assert found.get("value", 0) > 0 or found["call"][0] > 0, cell


def test_decoding_is_timed_in_every_way_that_runs_on_the_processor() -> None:
    cells = [cell for cell in gpu_decoding.SECTION.cells() if not cell.way.startswith("cuda")]
    assert {cell.way for cell in cells} == set(gpu_decoding.WAYS) - {"cuda", "cuda bfloat16"}
    assert [cell.row["motions"] for cell in cells if cell.way == "one by one"] == [2, 2]
    for cell in cells:
        assert gpu_decoding.SECTION.measure(cell, HERE)["call"][0] > 0


@pytest.mark.parametrize("section", [gpu_attention, gpu_decoding], ids=lambda module: module.__name__)
def test_cells_that_matter_come_first_and_all_ways_of_a_row_together(section: Any, monkeypatch) -> None:
    monkeypatch.undo()
    cells = list(section.SECTION.cells())
    assert len({(tuple(cell.row.items()), cell.way) for cell in cells}) == len(cells)
    rows = [tuple(cell.row.items()) for cell in cells]
    changes = [row for i, row in enumerate(rows) if i == 0 or rows[i - 1] != row]
    assert len(changes) == len(set(changes))
    keys = [i for i, cell in enumerate(cells) if cell.key]
    others = [i for i, cell in enumerate(cells) if not cell.key and rows[i] not in {rows[k] for k in keys}]
    assert max(keys) < min(others)
    compiled = [cell for cell in cells if cell.compiled]
    assert 1 <= len(compiled) <= 4 and all("compile" in cell.way for cell in compiled)


def test_a_wrong_or_failing_way_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(2 * x for x in reference.spatio_temporal_attention(*inputs))

    def fails(*inputs: Tensor) -> tuple[Tensor, ...]:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(gpu_attention, "word_by_word", wrong)
    monkeypatch.setattr(torch, "compile", lambda function, **options: fails)
    row = {"sizes": "HumanML3D", "scoring": "part", "dtype": "float32"}
    notes = {way: gpu_attention.measure(Cell(row, way, False), HERE).get("note") for way in gpu_attention.WAYS[2:]}
    assert notes == {"eager": None, "torch.compile": "out of memory", "word by word": "differs from float64"}


def test_the_tuner_launches_every_kernel_in_every_call(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(tune, "ATTENTION", AttentionCase(B=1, T=5, L=2, S=6, H=8, D=8))
    monkeypatch.setattr(tune, "GATE", GateCase(B=2, L=2, H=8, C=8, E=4, D=8))
    monkeypatch.setattr(tune, "GATHER", GatherCase(B=2, T=5, standardise=False))
    asked = []
    original = devices.configuration
    for kernel, call in tune.calls(torch.float32, "cpu").items():
        asked.clear()
        with monkeypatch.context() as patch:
            patch.setattr(devices, "configuration", lambda *key: asked.append(key[1]) or original(*key))
            call()
        assert kernel in asked


def test_the_tuner_writes_a_table_that_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(tune, "ATTENTION", AttentionCase(B=1, T=2, L=1, S=6, H=4, D=4))
    monkeypatch.setattr(tune, "GATE", GateCase(B=1, L=1, H=4, C=4, E=4, D=4))
    monkeypatch.setattr(tune, "GATHER", GatherCase(B=1, T=2, standardise=False))
    monkeypatch.setattr(tune, "CANDIDATES", {kernel: {"num_warps": (2,)} for kernel in tune.CANDIDATES})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA Stand-in")
    monkeypatch.setattr("triton.testing.do_bench", lambda call, **options: once(call)[0])
    calls = tune.calls
    monkeypatch.setattr(tune, "calls", lambda dtype: calls(dtype, "cpu"))
    path = tmp_path / "table.json"
    monkeypatch.setattr(sys, "argv", ["tune", "--output", str(path), "--budget", "0"])
    assert tune.main() == 0, capsys.readouterr()
    assert not capsys.readouterr().err
    assert set(json.loads(path.read_text())) == set(devices.table(devices.DEFAULT))
