"""What README and docs/benchmarks.md say of a CPU is what the files of results hold, and nothing else."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cpu
import cpu_tables
import pytest
import tables

from m2t_fast.cli.main import build_parser

MACHINE = {"processor": "A CPU", "instruction_sets": ["avx2", "avx512f"], "threads": 2, "torch": "2.13.0+cpu"}
MACHINE |= {"date": "2026-01-02T03:04:05+00:00", "load": 0.1, "load_after": 0.9}


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M2T_FAST_RESULTS", str(tmp_path))
    return tmp_path


def row(case: str, way: str, median: float, ours: float, **values: Any) -> dict[str, Any]:
    ratios = {"loop": 1.0, "plain": ours / median} if way == "plain" else {"loop": 0.4 / median, "plain": 0.2 / median}
    found = {
        "size": "kit",
        "case": case,
        "scoring": "part",
        "title": case,
        "way": way,
        "status": "ok",
        "median": median,
    }
    return {**found, "processor": 2 * median, "ratios": ratios, "peak_bytes": None, "floor": None, **values}


def write(folder: Path, name: str, *rows: dict[str, Any]) -> None:
    (folder / f"{name}_cpu.json").write_text(json.dumps({"machine": MACHINE, "rows": list(rows)}))


def test_a_table_has_our_time_and_how_many_times_slower_the_others_are(results: Path) -> None:
    assert cpu_tables.ways_table() == cpu_tables.NONE
    every = [row("training_step", way, median, 0.01) for way, median in (("loop", 0.4), ("plain", 0.2), ("cpu", 0.01))]
    write(results, "ways", *every, row("spatial_loss", "cpu", 0.001, 0.001))
    lines = cpu_tables.ways_table("elsewhere", front=False).splitlines()
    assert lines[0] == (
        "A CPU with AVX-512, 2 threads, torch 2.13.0, float32, 2026-01-02, load 0.1 before, KIT-ML's sizes "
        "([ways_cpu.json](elsewhere/ways_cpu.json)):"
    )
    assert lines[2] == "| work | m2t_fast | word-by-word loop, as released | plain PyTorch |"
    assert lines[4] == "| training step, part scoring | 10 ms | 40.0x slower | 20.0x slower |"
    assert len(lines) == 5


def test_what_no_file_holds_is_left_out(results: Path) -> None:
    wrong = {**row("greedy", "cpu", 0.03, 0.03), "status": "wrong", "median": None}
    write(results, "ops", row("training_step", "plain", 0.2, 0.1), row("training_step", "cpu", 0.1, 0.1), wrong)
    text = cpu_tables.ways_table()
    assert "ops_cpu.json" in text and "loop" not in text and "greedy" not in text and "memory" not in text
    large = {"size": "humanml3d"}
    write(results, "step", row("training_step", "cpu", 0.5, 0.5, peak_bytes=3 << 20, floor=0.4, **large))
    assert "memory" not in cpu_tables.ways_table()
    both = row("training_step", "plain", 1.5, 0.5, peak_bytes=2048 << 20, **large)
    write(results, "step", row("training_step", "cpu", 0.5, 0.5, peak_bytes=3 << 20, floor=0.4, **large), both)
    assert "takes 3 MiB of memory, in plain PyTorch 2,048 MiB" in cpu_tables.ways_table()
    assert "| HumanML3D | cpu | 500 | 1,000 | 1.25x | 3 MiB |  |" in cpu_tables.step_table()
    assert "| HumanML3D | plain | 1,500 | 3,000 |  | 2,048 MiB | 3.0x |" in cpu_tables.step_table()


def test_the_front_page_has_steps_in_both_scorings_and_searches_in_one(results: Path) -> None:
    cases = [(case, scoring) for case in ("training_step", "greedy") for scoring in ("part", "frame")]
    write(results, "ways", *(row(case, "cpu", 0.1, 0.1, scoring=scoring) for case, scoring in cases))
    assert len(cpu_tables.ways_table().splitlines()) == 7 and len(cpu_tables.ways_table(front=False).splitlines()) == 8


def test_the_time_to_the_first_caption_is_told_by_steps(results: Path) -> None:
    assert cpu_tables.first_caption() == ""
    seconds = {"clone": 1.0, "environment": 2.0, "torch": 30.0, "package": 60.0, "train": 70.0, "caption": 3.0}
    found = {"machine": {**MACHINE, "cores": [0, 1]}, "cuda_kernels": False, "seconds": seconds, "total": 166.0}
    (results / "first_caption.json").write_text(json.dumps(found))
    assert ": 166 s (torch 30, package 60, training 70; A CPU, 2 cores, load 0.1 before)" in cpu_tables.first_caption()


def test_the_released_module_has_a_row_for_each_kind_of_work(results: Path) -> None:
    assert cpu_tables.drop_in_table() == cpu_tables.NONE
    sizes = {"kit": (4.0, 0.2), "humanml3d": (32.5, 2.0)}
    rows = [
        {"work": work, "size": size, "plain": plain, "accelerated": ours}
        for work in cpu_tables.RELEASED
        for size, (plain, ours) in sizes.items()
    ]
    write(results, "drop_in", *rows)
    lines = cpu_tables.drop_in_table().splitlines()
    assert lines[5] == "| greedy search, 40 words | 4 | 0.2 | 20x | 32.5 | 2 | 16x |" and len(lines) == 7


def test_how_threads_wait_is_told_by_shares_of_the_best(results: Path) -> None:
    assert cpu_tables.waiting_table() == cpu_tables.NONE
    steps = {("ours", 0): [9.0, 1.0, 8.0], ("ours", 1): [5.0], ("other", 0): [10.0], ("other", 1): [2.0]}
    rows = [
        {"setting": setting, "beside": others, "steps_per_second": values}
        for (setting, others), values in steps.items()
    ]
    write(results, "waiting", *rows)
    lines = cpu_tables.waiting_table().splitlines()
    assert lines[4:] == ["| ours | 8.0 | 80% | 5.0 | 100% |", "| other | 10.0 | 100% | 2.0 | 40% |"]


def test_the_first_caption_takes_the_commands_of_the_readme() -> None:
    root = cpu_tables.gpu_results.ROOT
    script = (root / ".ci" / "first-caption").read_text().replace(" \\\n    ", " ")
    for line in ("pip install torch==2.13.0", 'pip install -e ".[plot]"'):
        assert line in script and line in (root / "README.md").read_text()
    train = next(line for line in (root / "README.md").read_text().splitlines() if line.startswith("m2t-fast train"))
    assert train in script


def test_every_document_is_what_the_results_make_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("M2T_FAST_RESULTS")
    assert {path.name for path in tables.documents()} == {"README.md", "benchmarks.md", "released.md", "kernels-cpu.md"}
    for path, text in tables.documents().items():
        assert path.read_text() == text, "run python benchmarks/tables.py"


def test_the_measurements_are_commands_that_exist() -> None:
    for name, command in cpu.parts(2).items():
        if command[1:3] == ["-m", "m2t_fast"]:
            assert build_parser().parse_args(command[3:]).json
        else:
            assert Path(command[1]).exists(), name


def test_an_unknown_part_and_a_busy_machine_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["cpu.py", "speed"])
    with pytest.raises(SystemExit, match="2"):
        cpu.main()
    assert "PART: got 'speed'" in capsys.readouterr().err
    monkeypatch.setattr(cpu, "checkout", lambda: {"commit": "0" * 40, "dirty": False})
    monkeypatch.setattr(cpu, "load", lambda: 3.0)
    monkeypatch.setattr(sys, "argv", ["cpu.py", "ops"])
    assert cpu.main() == 2 and "the load is 3.00" in capsys.readouterr().err
    monkeypatch.setattr(cpu, "checkout", lambda: {"commit": "0" * 40, "dirty": True})
    assert cpu.main() == 2 and "files differ from commit 000000000" in capsys.readouterr().err
