"""What is printed cannot command the terminal, and prints on any encoding."""

from __future__ import annotations

import io
import sys

import pytest

from m2t_fast.cli.visible import LONGEST_LINE, Visible, VisibleMessages, shortened, visible_output
from m2t_fast.visible import visible


def test_control_characters_are_shown() -> None:
    assert visible("a\x1b[31mb\rc\x9b\x7f\x00") == "a\\x1b[31mb\\x0dc\\x9b\\x7f\\x00"
    assert visible("tab\tline\n ä 人") == "tab\tline\n ä 人"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "utf-8-sig"])
def test_what_an_encoding_lacks_is_escaped(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="\n")
    print("\udcff.npy ä \U0001f600 \x1b", file=Visible(stream))
    stream.flush()
    shown = raw.getvalue().decode(encoding)
    assert shown.startswith("\\udcff.npy ") and shown.endswith(" \\x1b\n")


def test_stdout_inside_the_block(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with visible_output():
        print("\x1b[1m")
        assert sys.stdout.isatty() is False
    assert sys.stdout is before and capsys.readouterr().out == "\\x1b[1m\n"


def test_messages_inside_the_block(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stderr
    with visible_output():
        print("m2t-fast: left out: a\rb\x1b[31m", file=sys.stderr)
    assert sys.stderr is before and capsys.readouterr().err == "m2t-fast: left out: a\\x0db\\x1b[31m\n"


def test_long_lines_of_messages_are_shortened_and_keep_both_ends() -> None:
    assert shortened("x" * LONGEST_LINE) == "x" * LONGEST_LINE
    first, second = shortened("data/" + "[" * 100_000 + ": no file (add it)\nshort").split("\n")
    assert first.startswith("data/[") and first.endswith("[: no file (add it)") and second == "short"
    assert "98,023 characters left out" in first and len(first) < LONGEST_LINE + 50
    stream = io.StringIO()
    print("m2t-fast: " + "y" * 10**6, file=VisibleMessages(stream))
    assert len(stream.getvalue()) < LONGEST_LINE + 50


def test_a_bar_may_go_back() -> None:
    stream = io.StringIO()
    for text in ("\r 10%|# \x1b[31m", "\x1b[A\x1b[A", "\r      \r", "\n", ""):
        VisibleMessages(stream).write(text)
    assert stream.getvalue() == "\r 10%|# \\x1b[31m\x1b[A\x1b[A\r      \r\n"
