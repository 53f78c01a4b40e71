"""Bars on a terminal, lines elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from m2t_fast import progress as module
from m2t_fast.progress import Progress, progress


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_lines_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(5000, "reading data") as bar:
        for _ in range(10):
            clock.now += 10
            bar.update(150)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "reading data: 450 of 5,000 motions, 30 s",
        "reading data: 900 of 5,000 motions, 60 s",
        "reading data: 1,350 of 5,000 motions, 90 s",
    ]


def test_short_and_hidden_jobs_say_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress([1, 2, 3], "short")) == [1, 2, 3]
    with Progress(10, "hidden", shown=False, done=4) as bar:
        clock.now += 1000
        bar.update(6)
    assert bar.done == 10 and capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(module, "_BAR_SECONDS", 0.0)
    assert list(progress("abc", "spelling", "letters")) == ["a", "b", "c"]
    assert "spelling" in terminal.getvalue() and "of 3" not in terminal.getvalue()
