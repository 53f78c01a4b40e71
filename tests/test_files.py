"""A file or a folder is there as a whole or not at all."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from m2t_fast import files
from m2t_fast.errors import UserError
from m2t_fast.files import atomic_path, new_folder, open_own, require_own, resolved


def test_replaces_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    with atomic_path(file) as temporary:
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_leaves_the_old_content(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_whose_name_is_too_long_leaves_no_parent(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write the output folder"), new_folder(tmp_path / "new" / ("a" * 300)):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_keeps_its_place(tmp_path: Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("/proc/self/fd/1")  # as /dev/stdout is
    for path in (pipe, link):
        with pytest.raises(UserError, match=f"{path.name}: cannot write: it is not a regular file"), atomic_path(path):
            pytest.fail("the work has begun")
    assert pipe.is_fifo() and link.is_symlink() and len(list(tmp_path.iterdir())) == 2


def test_os_errors_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="folder: cannot write"), atomic_path(tmp_path / "folder") as temporary:
        temporary.write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_failed_block_leaves_no_folder(tmp_path):
    for path in (tmp_path / "run", tmp_path / "new" / "parent" / "run"):
        with pytest.raises(KeyError), new_folder(path) as folder:
            (folder / "half").write_text("half")
            raise KeyError
        assert not any(tmp_path.iterdir())


def temporary_of(path: Path, process: int) -> Path:
    """What a process of this machine writes first."""
    with atomic_path(path) as temporary:
        temporary.touch()
    path.unlink()
    return path.with_name(temporary.name.replace(f"-{os.getpid()}.tmp", f"-{process}.tmp"))


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    killed, alive = (temporary_of(tmp_path / "run", process) for process in (dead.pid, os.getppid()))
    elsewhere = tmp_path / f".run.0-{dead.pid}.tmp"  # on a machine that shares the folder it may be alive
    killed.mkdir()
    for file in (alive, elsewhere):
        file.touch()
    with new_folder(tmp_path / "run"):
        pass
    expected = {"run", alive.name, elsewhere.name}
    assert {path.name for path in tmp_path.iterdir()} == expected
    killed.mkdir()  # while another process made the folder
    with pytest.raises(UserError, match="exists already"), new_folder(tmp_path / "run"):
        pass
    assert {path.name for path in tmp_path.iterdir()} == expected


def test_containers_that_share_a_folder_take_names_of_their_own(tmp_path: Path, monkeypatch) -> None:
    """Every container has a process 1."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(files, "_machine", files._machine.__wrapped__)  # asked every time
    taken = set()
    for machine in ("one", "other"):
        for space in ("pid:[1]", "pid:[2]"):
            monkeypatch.setattr(platform, "node", lambda machine=machine: machine)
            monkeypatch.setattr(os, "readlink", lambda _, space=space: space)
            with atomic_path(tmp_path / "file") as temporary:
                temporary.touch()
            taken.add(temporary.name)
    assert len(taken) == 4


def test_a_file_of_our_own_is_no_link_and_no_pipe(tmp_path: Path) -> None:
    own, link, pipe = (tmp_path / name for name in ("own", "link", "pipe"))
    link.symlink_to(tmp_path / "elsewhere")
    os.close(open_own(own, os.O_WRONLY | os.O_CREAT))
    with pytest.raises(UserError, match="link: a link, expected"):
        open_own(link, os.O_WRONLY | os.O_CREAT)
    if hasattr(os, "mkfifo"):
        os.mkfifo(pipe)
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
            with pytest.raises(UserError, match="pipe: cannot write: it is not a regular file"):
                open_own(pipe, flags)
    with pytest.raises(UserError, match="missing: cannot write: No such file"):
        open_own(tmp_path / "missing", os.O_RDWR)
    require_own(tmp_path)
    require_own(tmp_path / "missing")
    assert own.exists() and not (tmp_path / "elsewhere").exists()


def test_paths_resolve_where_links_go_round_and_null_bytes_are(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "link").symlink_to(tmp_path / "there")
    assert resolved(tmp_path / "round").name == "round"
    assert resolved(tmp_path / "link") == (tmp_path / "there").resolve()
    assert resolved("a\0b").name == "a\0b"
