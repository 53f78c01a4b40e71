"""``m2t-fast validate``: a line per op, every row with -v, and what was not compared."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from m2t_fast import numerics, threads
from m2t_fast.numerics import Row

GOOD = [
    Row("one", "plain", "cpu", "float32", "out", 1e-7, 2e-7),
    Row("one", "odd", "cpu", "float64", "d_x", 0.0, 0.0),
    Row("two", "plain", "reference", "float32", "out", 1e-8, 1e-6),
]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """What the comparison finds, in place of computing it."""
    found = list(GOOD)
    monkeypatch.setattr(numerics, "validate", lambda backends, device: iter(found))
    return found


def test_a_line_per_op(call: Callable, rows: list[Row]) -> None:
    result = call("validate", "--device", "cpu")
    assert result.code == 0
    lines = result.out.splitlines()
    assert f"torch {torch.__version__}" in lines[0] and threads.wait_policy() in lines[0]
    assert lines[1].startswith("compared on cpu: reference")
    assert any(line.startswith("not compared: cuda: ") for line in lines)
    ops = [line.split() for line in lines if line.startswith(("one ", "two "))]
    assert [line[:5] for line in ops] == [["one", "2", "of", "2", "ok,"], ["two", "1", "of", "1", "ok,"]]
    assert "50% of the tolerance: out of plain, cpu float32" in result.out
    assert lines[-1].startswith("3 of 3 within tolerance")


def test_every_row_with_v(call: Callable, rows: list[Row]) -> None:
    result = call("validate", "--device", "cpu", "-v")
    assert [line.split()[:4] for line in result.out.splitlines() if line.endswith("  ok")] == [
        [row.op, row.case, row.backend, row.dtype] for row in GOOD
    ]


@pytest.mark.parametrize("error", [3e-6, math.nan])
def test_a_row_out_of_tolerance_is_always_shown(call: Callable, rows: list[Row], error: float) -> None:
    rows[1] = rows[1]._replace(error=error, allowed=1e-6)
    result = call("validate", "--device", "cpu")
    assert result.code == 1
    assert "OUT OF TOLERANCE" in result.out and "one                          1 of   2 ok" in result.out
    assert result.out.splitlines()[-1].startswith("2 of 3 within tolerance")
    before = torch.get_num_threads()
    call("validate", "--device", "cpu", "--json")
    assert torch.get_num_threads() == before
