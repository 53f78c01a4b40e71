"""Interrupted, terminated and killed at every phase, alone and as one of several processes: the same run in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forking
import pytest
import torch

from m2t_fast.run_folder import load_run
from m2t_fast.tensor_files import read_tensors

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork processes")
NUMBER = {"decoding": 2, "scoring": 2, "state": 5, "weights": 2}
"""By phase: how often it is gone through before one is interrupted; the first state and weights make the folder."""
FILES = {"config.json", "metrics.jsonl", "model.safetensors", "training_state.safetensors", "vocabulary.json"}
FILES |= {"trust.safetensors"}
EPOCHS = 3


class Job:
    """Processes that train in one folder, by rank; see forked.py."""

    def __init__(self, server: subprocess.Popen[str], folder: Path, size: int, resume: bool = False, **more: Any):
        self.server, self.folder, self.size = server, folder, size
        for name in ("paused", "go"):
            folder.with_name(f"{folder.name}.{name}").unlink(missing_ok=True)
        shared = {"WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": forking.free_port(), "EPOCHS": EPOCHS}
        shared |= more
        self.ids = []
        for rank in range(size):
            environment = {name: str(value) for name, value in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}
            argv = [str(folder), *["--resume"] * resume]
            request = {"argv": argv, "environment": environment, "stderr": str(self._said(rank))}
            self.ids.append(self._ask(request))

    def _ask(self, request: dict[str, Any]) -> int:
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def _said(self, rank: int) -> Path:
        return self.folder.with_name(f"{self.folder.name}.{rank}.txt")

    def wait_for_pause(self) -> None:
        """Until one is in the midst of what it was to pause in."""
        end = time.monotonic() + 60
        while not self.folder.with_name(f"{self.folder.name}.paused").exists():
            assert time.monotonic() < end, [self._said(rank).read_text() for rank in range(self.size)]
            time.sleep(0.002)

    def signal(self, rank: int, number: int) -> None:
        """Sends a signal, and lets whoever pauses go on."""
        os.kill(self.ids[rank], number)
        self.folder.with_name(f"{self.folder.name}.go").touch()

    def finish(self) -> list[tuple[int, str]]:
        """Of every process its exit code and what it said."""
        codes = [self._ask({"wait": process}) for process in self.ids]
        return [(code, self._said(rank).read_text()) for rank, code in enumerate(codes)]


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    # One thread in all runs: equal bits need equal sums.
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("forked.py")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="module")
def undisturbed(server, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert Job(server, folder, 1).finish() == [(0, "")]
    return folder


def lines(folder: Path) -> list[dict]:
    """metrics.jsonl without the times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in rows]


def assert_same(folder: Path, expected: Path, tolerance: float) -> None:
    """Lines, weights, moments, and nothing but the run's own files; to the bit with tolerance 0."""
    assert {path.name for path in folder.iterdir()} == FILES
    ours, theirs = lines(folder), lines(expected)
    assert len(ours) == len(theirs)
    for own, other in zip(ours, theirs, strict=True):
        assert own.pop("kind") == other.pop("kind")
        assert own == (pytest.approx(other, rel=tolerance, abs=tolerance) if tolerance else other)
    # Of weights that differ by rounding, principal axes may be others.
    for name in ("model.safetensors", "training_state.safetensors", *["trust.safetensors"][: not tolerance]):
        (own_tensors, _), (other_tensors, _) = (read_tensors(path / name) for path in (folder, expected))
        torch.testing.assert_close(own_tensors, other_tensors, rtol=tolerance, atol=tolerance)


def resume(server: subprocess.Popen[str], folder: Path, size: int) -> None:
    assert Job(server, folder, size, resume=True).finish() == [(0, "")] * size


@pytest.mark.parametrize("phase", NUMBER)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_alone_to_the_bit(number, phase, server, undisturbed, tmp_path):
    folder = tmp_path / "run"
    job = Job(server, folder, 1, PAUSE=f"{phase}:{NUMBER[phase]}:0")
    job.wait_for_pause()
    job.signal(0, number)
    assert job.finish() == [(-number if number == signal.SIGKILL else 130, "")]
    assert load_run(folder).model.config.joints == 21
    assert 0 < len(lines(folder)) < len(lines(undisturbed))
    resume(server, folder, 1)
    assert_same(folder, undisturbed, 0.0)


def test_killed_where_states_are_written_rarely(server, undisturbed, tmp_path):
    """No file but the first: everything is done again."""
    folder = tmp_path / "run"
    job = Job(server, folder, 1, PAUSE="scoring:2:0", STATE_SECONDS=1000)
    job.wait_for_pause()
    job.signal(0, signal.SIGKILL)
    assert job.finish() == [(-signal.SIGKILL, "")] and lines(folder)
    assert Job(server, folder, 1, resume=True, STATE_SECONDS=1000).finish() == [(0, "")]
    assert_same(folder, undisturbed, 0.0)


@pytest.mark.parametrize(
    ("phase", "paused", "killed", "again"),
    [
        ("decoding", 1, 1, 1),
        ("decoding", 0, 0, 3),
        ("scoring", 1, 1, 2),
        ("state", 0, 1, 3),
        ("state", 0, 0, 2),
        ("weights", 0, 0, 1),
    ],
)
def test_one_of_two_processes_killed(phase, paused, killed, again, server, undisturbed, tmp_path):
    folder = tmp_path / "run"
    job = Job(server, folder, 2, PAUSE=f"{phase}:{NUMBER[phase]}:{paused}")
    job.wait_for_pause()
    job.signal(killed, signal.SIGKILL)
    ends = job.finish()
    assert ends[killed] == (-signal.SIGKILL, "")
    assert ends[1 - killed][0] == 1 and "another process of this job has ended" in ends[1 - killed][1]
    assert load_run(folder).model.config.joints == 21
    resume(server, folder, again)
    assert_same(folder, undisturbed, 1e-5)


@pytest.mark.parametrize(("phase", "number"), [("decoding", signal.SIGTERM), ("scoring", signal.SIGINT)])
def test_one_of_two_processes_stopped(phase, number, server, undisturbed, tmp_path):
    folder = tmp_path / "run"
    job = Job(server, folder, 2, PAUSE=f"{phase}:1:1")
    job.wait_for_pause()
    job.signal(1, number)
    assert job.finish() == [(130, "")] * 2
    resume(server, folder, 2)
    assert_same(folder, undisturbed, 1e-5)


def test_an_error_in_the_background_ends_training(data, config, tmp_path, monkeypatch):
    from m2t_fast.evaluation.token_bleu import TokenBleu
    from m2t_fast.training import state
    from m2t_fast.training.loop import train
    from m2t_fast.training.settings import TrainingSettings

    def broken(*_: object) -> None:
        raise RuntimeError("as no disk is")

    settings = TrainingSettings(epochs=2, batch_size=8)
    for number, (owner, name) in enumerate([(TokenBleu, "counts"), (state.Snapshot, "write")]):
        with monkeypatch.context() as patch:
            right = getattr(owner, name)
            calls: list[int] = []
            patch.setattr(owner, name, lambda *x, c=calls, r=right: c.append(1) or (broken() if c[1:] else r(*x)))
            with pytest.raises(RuntimeError, match="as no disk is"):
                train(data, config, settings, tmp_path / str(number), progress=False)
