"""``m2t-fast train`` in several processes, as ``torchrun`` starts them: one writer, one voice, one clear end."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import forking
import pytest

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def lines(run: Path) -> list[dict]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows]


def torchrun(*argv: object, restarts: int = 0) -> forking.Forked:
    command = [*TORCHRUN, "--max-restarts", str(restarts), "-m", "m2t_fast", *argv]
    return forking.start(command, {**os.environ, "OMP_NUM_THREADS": "1"})


def test_torchrun_trains_what_one_process_does(call: Callable, data_of: Callable, tmp_path: Path) -> None:
    argv = ["--data", data_of(21), "--epochs", 2, "--batch-size", 5]
    process = torchrun("train", *argv, "--output", tmp_path / "two")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.strip() == str(tmp_path / "two")
    assert err.count("epoch   1  loss") == err.count("epoch   2  loss") == 1
    assert call("train", *argv, "--output", tmp_path / "one").code == 0
    assert len(lines(tmp_path / "one")) == len(lines(tmp_path / "two"))
    for own, other in zip(lines(tmp_path / "two"), lines(tmp_path / "one"), strict=True):
        assert own.pop("kind") == other.pop("kind")
        assert own == pytest.approx(other, rel=1e-5, abs=1e-5)


def kill_one_at_work(process: forking.Forked, run: Path) -> None:
    """Kills the second of torchrun's processes once there is something to resume from."""
    while process.poll() is None and (not (run / "metrics.jsonl").exists() or len(lines(run)) < 2):
        time.sleep(0.05)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not workers.exists():
        process.kill()
        pytest.skip("this system does not tell the children of a process")
    os.kill(int(workers.read_text().split()[1]), signal.SIGKILL)


def test_torchrun_starts_a_killed_job_anew_which_goes_on(call: Callable, data_of: Callable, tmp_path: Path) -> None:
    argv = ["--data", data_of(21), "--epochs", 12, "--batch-size", 5]
    process = torchrun("train", *argv, "--output", tmp_path / "two", restarts=1)
    kill_one_at_work(process, tmp_path / "two")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and out.strip() == str(tmp_path / "two"), err
    assert "another process of this job has ended" in err
    assert call("train", *argv, "--output", tmp_path / "one").code == 0
    assert len(lines(tmp_path / "one")) == len(lines(tmp_path / "two"))
    for own, other in zip(lines(tmp_path / "two"), lines(tmp_path / "one"), strict=True):
        assert own.pop("kind") == other.pop("kind")
        assert own == pytest.approx(other, rel=1e-5, abs=1e-5)


def test_starting_anew_resumes_no_run_that_was_there_before(data_of: Callable, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "mine.txt").write_text("mine")
    process = torchrun("train", "--data", data_of(21), "--epochs", 1, "--output", run, restarts=1)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0 and err.count(f"m2t-fast: error: {run}: output folder exists already") == 2
    assert [path.name for path in run.iterdir()] == ["mine.txt"]


def test_a_killed_process_ends_the_job_with_a_line_that_says_how_to_go_on(data_of: Callable, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = torchrun("train", "--data", data_of(21), "--epochs", 2000, "--output", run)
    kill_one_at_work(process, run)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    found = [line for line in err.splitlines() if line.startswith("m2t-fast: error: ")]
    assert len(found) == 1, err
    (line,) = found
    assert "another process of this job has ended" in line and f"--output {run} --resume" in line


def test_a_mistake_is_told_once(start_job: Callable, tmp_path: Path) -> None:
    argv = ["train", "--data", tmp_path / "nowhere", "--output", tmp_path / "run"]
    processes = start_job(2, "-m", "m2t_fast", *argv)
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    assert said[0].startswith("m2t-fast: error: ") and "nowhere" in said[0] and said[0].count("\n") == 1
    assert said[1] == "" and not any(tmp_path.iterdir())


def test_evaluation_is_shared_and_told_once(
    call: Callable, start_job: Callable, run_of: Callable, data_of: Callable, tmp_path: Path
) -> None:
    argv = ["evaluate", run_of(22), "--data", data_of(22), "--max-length", 5, "--output"]
    assert call(*argv, tmp_path / "one").code == 0
    processes = start_job(2, "-m", "m2t_fast", *argv, tmp_path / "two")
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "BLEU" in said[0][0] or "bleu" in said[0][0]
    assert said[1] == ("", "")
    for name in ("predictions.jsonl", "scores.json"):
        one, two = ((tmp_path / folder / name).read_text() for folder in ("one", "two"))
        assert re.sub(r"-?\d+\.\d+", "", one) == re.sub(r"-?\d+\.\d+", "", two)
