"""Runs tests marked ``interpreted`` where Triton's interpreter is on, a choice that Triton makes once per process.

pytest collects them like all others. Only their calls happen in a second process, which every worker starts at its
first such test and keeps. With ``TRITON_INTERPRET=1`` in the environment they run in pytest's own process, under a
debugger if need be.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pytest
from _pytest.runner import runtestprotocol

SWITCH = "TRITON_INTERPRET"


def why_not() -> str | None:
    """Why Triton's interpreter cannot run here."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    version = tuple(map(int, importlib.metadata.version("triton").split(".")[:2]))
    if version < (3, 7) and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
        return "the interpreter of Triton 3.6 fails with NumPy 2.4 and newer (loops over a tensor)"
    return None


def backends() -> list[Any]:
    """Parameters of a fixture: every backend that can run here, and Triton in its interpreter where it else cannot."""
    from m2t_fast import available_backends

    found = available_backends()
    return [*found, *([] if "triton" in found else [pytest.param("triton", marks=pytest.mark.interpreted)])]


class Interpreter:
    """The second process: a pytest session that is told one test after the other."""

    def __init__(self, config: pytest.Config) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | {SWITCH: "1"}
        options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-c", str(config.inipath), "--rootdir"]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, *options, str(config.rootpath)],
            cwd=config.rootpath,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, nodeid: str) -> tuple[str, str]:
        """Outcome of a test, as reports name it, and what there is to say about it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            print(nodeid, file=self.process.stdin, flush=True)
            outcome, said = json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            outcome, said = "failed", f"the process with the interpreter ended: exit code {self.process.wait()}"
        return outcome, said

    def close(self) -> None:
        self.process.communicate()


_KEY = pytest.StashKey[Interpreter]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("interpreted") and (reason := why_not()) is not None:
        pytest.skip(reason)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """In place of a marked test's own call."""
    if pyfuncitem.get_closest_marker("interpreted") is None or os.environ.get(SWITCH) == "1":
        return None
    stash = pyfuncitem.config.stash
    if _KEY not in stash or stash[_KEY].process.poll() is not None:
        stash[_KEY] = Interpreter(pyfuncitem.config)
    outcome, said = stash[_KEY].run(pyfuncitem.nodeid)
    if outcome == "skipped":
        pytest.skip(said)
    if outcome != "passed":
        pytest.fail(said, pytrace=False)
    return True


def pytest_unconfigure(config: pytest.Config) -> None:
    if _KEY in config.stash:
        config.stash[_KEY].close()


class Server:
    """What the second process does in place of pytest's own loop over the tests it has collected."""

    def __init__(self, requests: IO[str], answers: IO[str]) -> None:
        self.requests, self.answers = requests, answers
        self.items: dict[str, pytest.Item] = {}

    def pytest_collection(self, session: pytest.Session) -> bool:
        return True  # nothing yet

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        import quick_interpreter  # beside the benchmarks; pytest has found them by now

        quick_interpreter.install()
        for nodeid in self._nodeids():
            if nodeid not in self.items:
                file = str(session.config.rootpath / nodeid.split("::")[0])
                self.items |= {item.nodeid: item for item in session.perform_collect([file])}
            reports = runtestprotocol(self.items[nodeid], log=False, nextitem=None)
            worst = max(reports, key=lambda report: ("passed", "skipped", "failed").index(report.outcome))
            self._answer(worst.outcome, said(worst))
        return True

    def _nodeids(self) -> Iterator[str]:
        for line in self.requests:
            yield line.rstrip("\n")

    def _answer(self, *answer: Any) -> None:
        print(json.dumps(answer), file=self.answers, flush=True)


def said(report: pytest.TestReport) -> str:
    """A report's text: the reason of a skip, else the traceback and what was printed."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return "\n".join([report.longreprtext, *(f"-- {title}\n{text}" for title, text in report.sections)])


def main() -> None:
    # Kept aside: pytest takes what the tests print, and reads nothing for them.
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    pytest.main(sys.argv[1:], plugins=[Server(requests, answers)])


if __name__ == "__main__":
    main()
