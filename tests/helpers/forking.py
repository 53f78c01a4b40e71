"""Processes that have torch and the package from their start: forked from one that imported them once.

``start`` takes the place of ``subprocess.Popen([sys.executable, *argv])`` where a test needs a process of its own and
not its start. Where processes cannot be forked they are started anew; tests see no difference but time.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.process
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

LOADED = ["m2t_fast", "torch", "torch._dynamo", "torch.distributed.run", "m2t_fast.cli.train", "m2t_fast.cli.evaluate",
          "m2t_fast.cli.caption_many", "m2t_fast.captioning.job", "m2t_fast.training.loop"]  # fmt: skip
"""Imported before anything is forked; nothing is computed, so that no thread is there that a fork would lose."""


@cache
def _context() -> Any:
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    return context


class Forked:
    """A process that runs ``python ARGV``; the methods and attributes of ``subprocess.Popen`` that tests use."""

    def __init__(self, argv: list[str], environment: Mapping[str, str]):
        self.args = argv
        self._folder = tempfile.TemporaryDirectory()
        self._said = [Path(self._folder.name) / name for name in ("out", "err")]
        for path in self._said:
            path.touch()
        self._process = _context().Process(target=_run, args=(argv, dict(environment), os.getcwd(), *self._said))
        with _one_thread():
            self._process.start()
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code, negative for a signal; None while it runs."""
        code: int | None = self._process.exitcode
        return code

    poll = returncode.fget

    def wait(self, timeout: float | None = None) -> int | None:
        """Until it ends.

        Raises:
            subprocess.TimeoutExpired: it did not.
        """
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0, *self._texts())
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote to stdout and to stderr, at its end."""
        self.wait(timeout)
        out, err = self._texts()
        return out, err

    def _texts(self) -> list[str]:
        return [path.read_text() for path in self._said]

    def send_signal(self, number: int) -> None:
        """Nothing where it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """With SIGKILL."""
        self.send_signal(signal.SIGKILL)


def start(argv: list[object], environment: Mapping[str, str] | None = None) -> Forked:
    """``python ARGV``, a script or ``-m MODULE`` and its arguments, with ``environment`` (None: this process's)."""
    return Forked([*map(str, argv)], os.environ if environment is None else environment)


_PORTS = itertools.count(101 * os.getpid())


def free_port() -> int:
    """A port for a job's processes to meet at. It lies below those that systems give to connections, so that none takes
    it before they do, and every process of the tests begins its search elsewhere."""
    for number in _PORTS:
        port = 12_000 + number % 18_000
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


class _one_thread:
    """OpenMP reads its number of threads once: the process that forks has one, and its children set theirs."""

    def __enter__(self) -> None:
        self.before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"

    def __exit__(self, *_: object) -> None:
        del os.environ["OMP_NUM_THREADS"]
        if self.before is not None:
            os.environ["OMP_NUM_THREADS"] = self.before


def _run(argv: list[str], environment: dict[str, str], folder: str, out: Path, err: Path) -> None:
    """In the process: the program, as if it had been started."""
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    import torch

    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    try:
        if argv[0] == "-m":
            sys.argv = argv[1:]
            runpy.run_module(argv[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = argv
            sys.path.insert(0, str(Path(argv[0]).parent))
            runpy.run_path(argv[0], run_name="__main__")
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
