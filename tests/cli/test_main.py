"""Exit codes, one-line errors and what the entry point does with everything that can end a command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from torch import OutOfMemoryError

from m2t_fast._version import __version__
from m2t_fast.cli import info
from m2t_fast.cli.main import COMMANDS
from m2t_fast.errors import UserError
from m2t_fast.files import atomic_path


def python_m(*argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "m2t_fast", *argv], capture_output=True, text=True, **options)


def raising(error: BaseException) -> Callable[[], Iterator[NoReturn]]:
    def rows() -> Iterator[NoReturn]:
        raise error
        yield

    return rows


def test_version_and_help(call: Callable) -> None:
    assert call("--version") == (0, f"m2t-fast {__version__}\n", "")
    shown = call("--help")
    assert shown.code == 0 and shown.err == ""
    for command in COMMANDS:
        assert command in shown.out
        code, out, err = call(command, "--help")
        assert (code, err) == (0, "") and f"m2t-fast {command}" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "required: COMMAND"),
        (["fly"], "'fly'"),
        (["--speed"], "required: COMMAND"),
        (["info", "--speed"], "--speed"),
        (["evaluate"], "RUN"),
        (["evaluate", "run"], "--data"),
        (["caption", "run"], "MOTION.npy"),
        (["evaluate", "run", "--data", "synthetic", "--split", "dev"], "'dev'"),
        (["evaluate", "run", "--data", "synthetic", "--beam", "2"], "--beam"),  # no abbreviations
        (["evaluate", "run", "--data", "synthetic", "--beam-size", "1", "2"], "as in --beam-size 1,2"),
    ],
)
def test_mistaken_arguments(refused: Callable, argv: list[str], message: str) -> None:
    error = refused(*argv)
    assert message in error and "--help" in error


def test_a_user_error_becomes_one_line(refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "_machine", raising(UserError("file.npy: wrong\nin two lines")))
    assert refused("info") == "m2t-fast: error: file.npy: wrong in two lines"


def test_a_file_the_system_refuses(refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "_machine", raising(PermissionError(13, "Permission denied", "/secret")))
    assert refused("info") == "m2t-fast: error: /secret: Permission denied"
    monkeypatch.setattr(info, "_machine", raising(OSError(28, "No space left on device")))
    assert refused("info") == "m2t-fast: error: No space left on device"


def test_control_c(call: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info, "_machine", raising(KeyboardInterrupt()))
    result = call("info")
    assert result.code == 130 and result.err.strip() == "m2t-fast: interrupted"


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has other signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_to_end_leaves_nothing_half_written(
    call: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    number = getattr(signal, name)
    # Under nohup a terminal that closes is to be survived, and the tests inherit that.
    before = signal.signal(number, signal.SIG_DFL)

    def rows() -> Iterator[tuple[str, str]]:
        with atomic_path(tmp_path / "file") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), number)
            yield "label", "value"

    monkeypatch.setattr(info, "_machine", rows)
    try:
        assert call("info") == (128 + number, "", "m2t-fast: terminated\n")
        assert list(tmp_path.iterdir()) == []
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 byte"), OutOfMemoryError("x")]
)
def test_too_little_memory(refused: Callable, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(info, "_machine", raising(error))
    assert "out of memory; a smaller --batch-size" in refused("info")


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("a bug"), KeyError("a bug")])
def test_a_bug_keeps_its_traceback(call: Callable, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(info, "_machine", raising(error))
    with pytest.raises(type(error), match="a bug"):
        call("info")


def test_warnings_are_one_line(call: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> Iterator[tuple[str, str]]:
        warnings.warn("captions without tags", stacklevel=1)
        yield "label", "value"

    monkeypatch.setattr(info, "_machine", rows)
    assert call("info") == (0, "label  value\n", "m2t-fast: note: captions without tags\n")


def test_as_a_module() -> None:
    version = python_m("--version")
    assert (version.returncode, version.stdout, version.stderr) == (0, f"m2t-fast {__version__}\n", "")
    wrong = python_m("evaluate", "nowhere", "--data", "synthetic")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "m2t-fast: error: nowhere: no such run folder\n"


def test_nobody_reads_the_output() -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "m2t_fast", "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command.stdout is not None and command.stderr is not None
    command.stdout.close()
    errors = command.stderr.read()
    command.stderr.close()
    assert (command.wait(), errors) == (141, "")
