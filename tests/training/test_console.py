"""What training says where stderr is no terminal."""

from __future__ import annotations

import io
import sys

import pytest

from m2t_fast.training import console as module
from m2t_fast.training.console import Console, losses_in_words

MEANS = {"loss": 5.0, "loss_language": 3.0, "loss_spatial": 0.5, "loss_adaptive": 0.25}


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_line_every_log_interval(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console(True, epochs=3) as console:
        console.begin_epoch(1, 87, 0)
        for step in range(1, 41):
            clock.now += 0.25
            console.step()
            if step % 20 == 0:
                console.losses(step, MEANS)
        console.epoch_line("epoch   1  done")
    assert capsys.readouterr().err.splitlines() == [
        "epoch 1/3  step 20/87  loss 5.000 lang 3.000 spat 0.500 adapt 0.250  4 steps/s",
        "epoch 1/3  step 40/87  loss 5.000 lang 3.000 spat 0.500 adapt 0.250  4 steps/s",
        "epoch   1  done",
    ]


def test_fast_steps_do_not_flood_a_log(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console(True, epochs=1) as console:
        console.begin_epoch(1, 1000, 0)
        for step in range(1, 1001):
            clock.now += 0.01
            console.step()
            if step % 20 == 0:
                console.losses(step, MEANS)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5 and "step 20/1000" in lines[0] and "100 steps/s" in lines[1]


def test_slow_steps_are_told_after_half_a_minute(clock: Clock) -> None:
    with Console(True, epochs=1) as console:
        console.begin_epoch(1, 100, 0)
        assert not console.waits()
        clock.now += 31
        console.step()
        assert console.waits()
        console.losses(1, MEANS)
        assert not console.waits()


def test_silence(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Console(False, epochs=1) as console:
        console.begin_epoch(1, 10, 0)
        clock.now += 60
        console.step()
        assert not console.waits()
        console.losses(1, MEANS)
        console.epoch_line("epoch")
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    with Console(True, epochs=2) as console:
        console.begin_epoch(2, 10, 3)
        console.step()
        console.losses(4, MEANS)
        assert not console.waits()
        console.epoch_line("epoch   2  done")
    text = terminal.getvalue()
    assert "epoch 2/2" in text and "epoch   2  done\n" in text and "step 4/10" not in text
    assert losses_in_words(MEANS) in text or "loss 5.000" in text
