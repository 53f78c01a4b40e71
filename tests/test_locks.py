"""Locks keep others out, also where who holds one removes its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from m2t_fast import locks
from m2t_fast.errors import UserError
from m2t_fast.files import make_folder, remove_folder
from m2t_fast.locks import LOCK, locked, locked_folder

HELD = "another process is at work in this folder"


@pytest.mark.parametrize("take", [lambda folder: locked(folder / LOCK), locked_folder], ids=["file", "folder"])
def test_one_at_a_time(take, tmp_path: Path) -> None:
    with take(tmp_path), pytest.raises(UserError, match=HELD), take(tmp_path):
        pass
    with take(tmp_path):
        pass


def test_the_lock_of_a_file_that_is_gone_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened while another process holds it, locked after that one has removed it: another may hold the new one."""
    opened = locks.open_own

    def open_and_remove(path: Path, flags: int) -> int:
        descriptor = opened(path, flags)
        path.unlink()
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr(locks, "open_own", open_and_remove)
        with pytest.raises(UserError, match=HELD), locked(tmp_path / LOCK):
            pass
    with locked(tmp_path / LOCK):
        pass


@pytest.mark.parametrize("when", ["before the lock is opened", "before it is held"])
def test_a_folder_that_is_removed_meanwhile_is_made_anew(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, turns, opened = tmp_path / "work", iter((True, True, False)), locks.open_own

    def open_and_remove(path: Path, flags: int) -> int:
        if not next(turns):
            return opened(path, flags)
        if when == "before it is held":
            descriptor = opened(path, flags)
            remove_folder(folder, [path])
            return descriptor
        remove_folder(folder, [path])
        return opened(path, flags)

    monkeypatch.setattr(locks, "open_own", open_and_remove)
    with locked_folder(folder):
        assert (folder / LOCK).exists()
    assert list(turns) == []


def test_a_folder_that_cannot_stay_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def make_nothing(folder: Path) -> None:
        made.append(folder)

    monkeypatch.setattr(locks, "make_folder", make_nothing)
    with pytest.raises(UserError, match="cannot write: No such file"), locked_folder(tmp_path / "work"):
        pass
    assert len(made) > 1


def test_a_folder_goes_with_its_own_files_only(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    make_folder(folder)
    for name in ("a", "b"):
        (folder / name).touch()
    remove_folder(folder, [folder / "a", folder / "missing"])
    assert [path.name for path in folder.iterdir()] == ["b"]
    remove_folder(folder, [folder / "b"])
    assert not folder.exists()
    remove_folder(folder, [])  # another process was faster
