"""Output that nobody reads any more, or that finds no space: the files of a command are there all the same."""

from __future__ import annotations

import errno
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.cli import main

COMMANDS = ["evaluate", "score", "interpret", "caption", "prepare"]


class _Closed(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


@pytest.fixture
def command_of(
    tmp_path: Path, tiny_run: Path, data_of: Callable[[int], Path], motion: Callable[..., np.ndarray]
) -> Callable[[str], tuple[list[object], list[str]]]:
    """``command_of(name)``: a command line that writes files into ``tmp_path``, and their names."""

    def make(name: str) -> tuple[list[object], list[str]]:
        shutil.copytree(tiny_run, tmp_path / "run")
        run, data, out = tmp_path / "run", data_of(22), tmp_path / "out"
        np.save(tmp_path / "motion.npy", motion(50))
        (tmp_path / "captions.csv").write_text("file,caption,split\nmotion,a man walks,train\n")
        rows = [{"id": line, "caption": "a man walks"} for line in (data / "test.txt").read_text().split()]
        (tmp_path / "peer.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return {
            "evaluate": (["evaluate", run, "--data", data], ["run/predictions.jsonl", "run/scores.json"]),
            "score": (
                ["score", tmp_path / "peer.jsonl", "--data", data, "--output", out],
                ["out/scores.json", "out/predictions.jsonl"],
            ),
            "interpret": (
                ["interpret", run, "--data", data, "--figures", "none", "--samples", 1, "--output", out],
                ["out/localisation.json"],
            ),
            "caption": (
                ["caption", run, tmp_path / "motion.npy", "--html", tmp_path / "page.html"],
                ["page.html"],
            ),
            "prepare": (
                ["prepare", tmp_path / "motion.npy", "--captions", tmp_path / "captions.csv", "--output", out],
                ["out/train.txt", "out/new_joints/motion.npy"],
            ),
        }[name]  # type: ignore[return-value]

    return make


@pytest.mark.filterwarnings("ignore:captions without part-of-speech tags")
@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_files_are_there_though_nobody_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command_of: Callable, name: str, closed: str
) -> None:
    argv, expected = command_of(name)
    with monkeypatch.context() as patched:
        patched.setattr(sys, closed, _Closed())
        code = main([str(argument) for argument in argv])
    assert code == (141 if closed == "stdout" else 0)
    assert all((tmp_path / file).stat().st_size for file in expected)


class _Full(io.StringIO):
    """A file on a disk without space."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_an_error_that_cannot_be_said_is_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", _Full())
        assert main(["evaluate", "nowhere", "--data", "synthetic"]) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, a disk without space, on this system")
def test_a_full_disk_under_the_output_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "m2t_fast", "info"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=300
        )
    assert (done.returncode, done.stderr) == (2, "m2t-fast: error: No space left on device\n")
