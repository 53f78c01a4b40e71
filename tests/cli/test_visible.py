"""What is printed cannot command the terminal, and prints on any encoding."""

from __future__ import annotations

import io
import sys

import pytest

from m2t_fast.cli.visible import Visible, visible, visible_output


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
