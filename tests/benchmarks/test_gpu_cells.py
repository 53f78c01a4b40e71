"""Cells in processes that hang, crash or are poisoned: each costs its cell, and the rest is measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gpu_cells
import pytest

WORKER = """
import ctypes, os, sys
sys.path.insert(0, {folder!r})
from pathlib import Path
import gpu_cells
journal = gpu_cells.Journal(Path(sys.argv[1]))
out = open(sys.argv[2], "a", buffering=1)
spoiled = []

def measure(name):
    if spoiled or name == "poison":
        spoiled.append(1)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    if name == "hang":
        ctypes.PyDLL(None).sleep(1000)
    if name == "crash":
        os.kill(os.getpid(), 11)
    if name == "wrong":
        raise ValueError("a mistake\\nin two lines")
    out.write(f"{{name}} ok\\n")

for name in {names!r}:
    gpu_cells.attempt(journal, name, name, 2.0, lambda: measure(name), lambda why: out.write(f"{{name}} {{why}}\\n"))
out.write("end\\n")
"""


def supervised(tmp_path: Path, names: list[str], budget: float = 60.0) -> tuple[bool, list[str], list[tuple[str, str]]]:
    script, out = tmp_path / "worker.py", tmp_path / "out"
    script.write_text(WORKER.format(folder=str(Path(gpu_cells.__file__).parent), names=names))
    lost: list[tuple[str, str]] = []
    command = [sys.executable, str(script), str(tmp_path / "journal"), str(out)]

    def note(line: dict[str, Any], why: str) -> None:
        lost.append((line["name"], why))

    finished = gpu_cells.supervise(command, tmp_path / "journal", budget, note, tmp_path / "log")
    return finished, out.read_text().splitlines() if out.exists() else [], lost


def test_every_other_cell_is_measured_once(tmp_path: Path) -> None:
    names = ["a", "poison", "b", "hang", "c", "crash", "d", "wrong", "e"]
    finished, lines, lost = supervised(tmp_path, names)
    assert finished and [line for line in lines if line.endswith("ok")] == [f"{name} ok" for name in "abcde"]
    assert "poison RuntimeError: CUDA error: an illegal memory access was encountered" in lines
    assert "wrong ValueError: a mistake in two lines" in lines
    assert [name for name, _ in lost] == ["hang", "crash"]
    assert "a hang: 2 s" in lost[0][1] and "exit -11" in lost[1][1]
    assert 'File "' in (tmp_path / "log").read_text()  # the hang's traceback


def test_the_budget_ends_it(tmp_path: Path) -> None:
    finished, lines, lost = supervised(tmp_path, ["hang", "a"], budget=1.0)
    assert not finished and lines == []


def test_a_command_that_measures_nothing_is_not_tried_for_ever(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit(1)"]
    assert not gpu_cells.supervise(command, tmp_path / "journal", 60.0, lambda *_: None, tmp_path / "log")


def test_a_group_that_ends_its_processes_again_and_again_is_left_out(tmp_path: Path) -> None:
    journal, notes = gpu_cells.Journal(tmp_path / "journal"), []
    for name in ("one", "two"):
        journal.add(name=name, group="way", state="lost", hard=True)
    gpu_cells.attempt(journal, "three", "way", 1.0, lambda: pytest.fail("measured"), notes.append)
    assert len(notes) == 1 and notes[0].startswith("left out") and "three" in journal.begun()


@pytest.mark.parametrize(
    ("error", "spoils"),
    [
        (RuntimeError("CUDA error: unspecified launch failure"), True),
        (RuntimeError("attention on cuda:0: an earlier kernel has failed"), True),
        (RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED when calling cublasGemmEx"), True),
        (ValueError("lengths[3]: expected at most 9"), False),
        (MemoryError(), False),
    ],
)
def test_which_errors_spoil_a_process(error: Exception, spoils: bool) -> None:
    assert gpu_cells.poisons(error) is spoils


def test_running_out_of_memory_spoils_nothing() -> None:
    class OutOfMemoryError(RuntimeError):
        pass

    assert not gpu_cells.poisons(OutOfMemoryError("CUDA out of memory. CUDA error"))


def test_a_journal_cut_short_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_text('{"name": "a", "group": "g", "state": "begun"}\n{"name": "b", "gro')
    journal = gpu_cells.Journal(path)
    assert journal.begun() == {"a"} and journal.open() == {"name": "a", "group": "g", "state": "begun"}
