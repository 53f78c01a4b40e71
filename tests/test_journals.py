"""Journals: what was torn is cut, what was written stays, and nothing outside the folder is touched."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast import journals
from m2t_fast.errors import UserError
from m2t_fast.journals import Appender, cut_torn_tail, lines_of


@given(st.lists(st.binary(max_size=9).filter(lambda line: b"\n" not in line), max_size=6), st.binary(max_size=9))
def test_whole_lines_stay_and_what_follows_is_cut(tmp_path_factory, lines, tail):
    tail = tail.replace(b"\n", b"")
    path = tmp_path_factory.mktemp("journal") / "a"
    whole = b"".join(line + b"\n" for line in lines)
    path.write_bytes(whole + tail)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journals, "_BLOCK", 4)
        assert [line for _, line in lines_of(path)] == [line + b"\n" for line in lines]
        cut_torn_tail(path)
    assert path.read_bytes() == whole
    assert [end for end, _ in lines_of(path)][-1:] == ([len(whole)] if lines else [])


def test_appending_behind_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\ntw")
    with Appender(path) as journal:
        journal.write(b"three\n")
    assert path.read_bytes() == b"one\nthree\n"


@pytest.mark.parametrize("fits", [0, 3, 6])
def test_lines_that_do_not_fit_leave_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: int) -> None:
    path = tmp_path / "a"
    write, left = os.write, [fits]

    def full(file: int, content: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = write(file, content[: left[0]])
        left[0] -= count
        return count

    with Appender(path) as journal:
        journal.write(b"one\n")
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(UserError, match=f"{path}: cannot write: No space left on device"):
            journal.write(b"two\nthree\n")
    assert path.read_bytes() == b"one\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    path = tmp_path / "a"
    path.symlink_to(outside)
    with pytest.raises(UserError, match=f"{path}: a link"), Appender(path):
        pass
    assert outside.read_bytes() == b"mine"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="not a regular file"):
        cut_torn_tail(path)
