"""Every option of every command with what it cannot be: one line, exit code 2, and nothing written.

The options come from the parser itself, so that a new one is tried, too; the commands run in the world of the fuzzer.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import fuzz
import pytest

from m2t_fast.cli.main import COMMANDS, build_parser
from m2t_fast.cli.options import given

GOOD = {
    "train": ("--data", "data", "--output", "new", "--min-count", "1", "--epochs", "1", "--quiet"),
    "evaluate": ("run", "--data", "data", "--output", "scores"),
    "caption": ("run", "motion.npy"),
    "interpret": ("run", "--data", "data", "--output", "looks", "--figures", "none"),
    "validate": (),
    "bench": ("--sizes", "tiny", "--ops", "spatial_loss", "--no-compile", "--no-memory", "--runs", "1"),
    "convert": ("released.pt", "--data", "data", "--output", "converted"),
    "info": ("--data", "data"),
    "demo": ("--epochs", "1", "--motions", "30", "--output", "shown"),
    "sweep": ("--data", "data", "--output", "new", "--lambda-spat", "0", "--lambda-adapt", "0"),
    "prepare": ("takes", "--captions", "captions.jsonl", "--output", "made"),
    "score": ("predictions.jsonl", "--data", "data", "--output", "compared"),
    "fit-segments": ("run", "--data", "synthetic", "--takes", "2"),
    "calibrate": ("run", "--data", "synthetic"),
    "export": ("run", "captioner.pt2"),
}
"""Arguments of every command that it takes in the world."""

NO_NUMBER = ("", "x", "nan", "inf", "-inf", "1e400", "-1", "9" * 5000)
NO_WHOLE_NUMBER = ("1.5", "1e3", str(10**20))
NO_NAME = ("", "?")
NO_INPUT = ("", "missing", "missing/deep", "pipe", "round", "motion.npy/x", "/dev/zero", "a" * 300)
NO_OUTPUT = ("", "/dev/full", "/dev/full/x", "pipe", "round/x", "motion.npy/x", "missing/" + "a" * 300)
OUTPUTS = {"output", "file", "html", "gif", "mp4", "srt", "vtt", "csv", "eaf"}
FREE = {"names", "stems", "bert_model"}
"""Texts of any kind, and a folder that is opened only where bert-score is installed."""
NEEDS = {"srt": ("--segments",), "vtt": ("--segments",), "csv": ("--segments",), "eaf": ("--segments",)}


@pytest.fixture(scope="module")
def world() -> Iterator[Path]:
    with fuzz.world() as made:
        os.mkfifo(made / "pipe")
        (made / "round").symlink_to("round")
        yield made


def options_of(command: str) -> list[argparse.Action]:
    """The options and arguments of a command that take a value."""
    parsers = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return [action for action in parsers.choices[command]._actions if action.nargs != 0]


def refused_by(command: str, action: argparse.Action) -> tuple[str, ...]:
    """What an option cannot be."""
    if action.dest in FREE:
        return ()
    if (command, action.dest) == ("sweep", "data"):
        return ("",)  # the rest its trainings find out, which are processes of their own
    if action.type in (Path, given):
        return NO_OUTPUT if action.dest in OUTPUTS else NO_INPUT
    if action.type is None or action.choices is not None:
        return NO_NAME
    try:
        action.type("1.5")
    except argparse.ArgumentTypeError:
        return (*NO_NUMBER, *NO_WHOLE_NUMBER)
    return NO_NUMBER


def with_value(command: str, action: argparse.Action, value: str) -> list[str]:
    """A command line that is good but for one value."""
    argv = list(GOOD[command])
    if not action.option_strings:
        place = [a.dest for a in options_of(command) if not a.option_strings].index(action.dest)
        argv[place] = value
        return [command, *argv]
    name = action.option_strings[-1]
    if name in argv:
        place = argv.index(name)
        del argv[place : place + 2]
    several = action.nargs not in (None, "?")
    return [command, *argv, *NEEDS.get(action.dest, ()), *([name, value] if several else [f"{name}={value}"])]


def found_in(world: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder, and how to tell that it was written to."""
    states = {path: os.lstat(path) for path in world.rglob("*")}
    return {str(path): (state.st_mtime_ns, state.st_size) for path, state in states.items()}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("command", COMMANDS)
def test_what_no_option_can_be_is_one_line(command: str, world: Path) -> None:
    wrong, before = [], found_in(world)
    for action in options_of(command):
        for value in refused_by(command, action):
            argv = with_value(command, action, value)
            with fuzz.inside(world):
                code, out, said = fuzz.run_quietly(argv)
            lines = [line for line in said.splitlines() if line.startswith("m2t-fast: error: ")]
            if code != 2 or len(lines) != 1 or "Traceback" in said or len(said) > 3000:
                wrong.append(f"{argv[:12]}: {code}: {said[-300:]}")
            if found_in(world) != before:
                wrong.append(f"{argv[:12]}: changed {found_in(world).keys() ^ before.keys()}")
                before = found_in(world)
    assert not wrong
