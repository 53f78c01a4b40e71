"""Part files and the list of files: torn lines, retries, order, and memory that does not grow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.captioning import manifest
from m2t_fast.captioning.journal import Bits, Journal, Part
from m2t_fast.captioning.manifest import names_of, write_manifest
from m2t_fast.errors import UserError


def listed(path: Path) -> list[str]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def record(number: int, **more: str) -> dict:
    return {"number": number, "file": f"{number}.npy", **(more or {"caption": "a person walks"})}


@given(st.integers(1, 40), st.data())
def test_bits(count, data):
    numbers = data.draw(st.sets(st.integers(0, count - 1)))
    bits = Bits(count)
    for number in numbers:
        bits.add(number)
    assert {n for n in range(count) if n in bits} == numbers and len(bits) == len(numbers)


@given(st.integers(1, 30), st.integers(1, 7), st.integers(1, 4), st.data())
def test_merged_is_every_record_once_in_order(tmp_path_factory, count, window, ranks, data):
    """Whatever the order in which ranks finished what, and wherever their files were cut."""
    folder = tmp_path_factory.mktemp("parts")
    order = data.draw(st.permutations(range(count)))
    for number in order:
        with Part(folder, data.draw(st.integers(0, ranks - 1))) as part:
            part.append([record(number)])
    for path in folder.glob("part-*"):
        content = path.read_bytes()
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    journal = Journal(folder, count, window)
    journal.scan()
    done = {n for n in range(count) if n in journal.done}
    assert [r["number"] for r in journal.merged()] == sorted(done)
    assert {n for w in journal.open_windows() for n in journal.numbers(w)} >= set(range(count)) - done
    with Part(folder, 0) as part:
        part.append([record(number) for number in range(count) if number not in done])
    journal.scan()
    assert [r["number"] for r in journal.merged()] == list(range(count)) and not journal.open_windows()


def test_a_file_that_failed_is_tried_again_and_listed_once(tmp_path):
    with Part(tmp_path, 0) as part:
        part.append([record(0, error="bad"), record(1), record(2, error="bad")])
        part.append([record(0, error="bad still")])
    with Part(tmp_path, 3) as part:
        part.append([record(2)])
    journal = Journal(tmp_path, 3, 2)
    journal.scan()
    assert [n in journal.done for n in range(3)] == [False, True, True] and journal.open_windows() == [0]
    assert [("error" in r) for r in journal.merged()] == [True, False, False]


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "[]",
        "[" * 100_000,
        '{"number": 1.5}',
        '{"number": 1, "file": 2}',
        '{"number": 9}',
        '{"number": -1}',
        '{"number": "1"}',
        "{}",
    ],
    ids=lambda line: line[:20],
)
def test_a_damaged_line_is_an_error_that_names_the_file(tmp_path, line):
    (tmp_path / "part-00000.jsonl").write_text(f"{line}\n")
    with pytest.raises(UserError, match="part-00000.jsonl: damaged"):
        Journal(tmp_path, 3, 2).scan()


def test_folders_are_listed_in_order_without_hidden_and_foreign_files(tmp_path, monkeypatch):
    source = tmp_path / "motions"
    names = ["b.npy", "a/z.BVH", "a/b/c.npy", "a.npy", "ü.npy", "c d.npy"]
    for name in [*names, ".hidden.npy", ".git/x.npy", "notes.txt", "a/.x/y.npy"]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(b"")
    for at_once in (100, 2, 1):  # in memory, and merged from pieces
        monkeypatch.setattr(manifest, "_SORTED_AT_ONCE", at_once)
        base, count = write_manifest(source, tmp_path / "files")
        assert (base, count) == (source, len(names)) and listed(tmp_path / "files") == sorted(names)


def test_a_data_folder_is_its_joints(tmp_path):
    for name in ("new_joints/2.npy", "new_joints/1.npy", "new_joint_vecs/1.npy", "Mean.npy"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(b"")
    write_manifest(tmp_path / "data", tmp_path / "files")
    assert listed(tmp_path / "files") == ["new_joints/1.npy", "new_joints/2.npy"]


def test_a_list_keeps_its_order_and_repeats(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_bytes(b"b.npy\r\n\n/x/a.npy\nb.npy\n\xff.npy")
    base, count = write_manifest(Path("list.txt"), tmp_path / "files")
    assert base == tmp_path and count == 4
    assert listed(tmp_path / "files") == ["b.npy", "/x/a.npy", "b.npy", "\udcff.npy"]
    assert list(names_of(tmp_path / "files", 3, [0, 1])) == [
        [(0, "b.npy"), (1, "/x/a.npy"), (2, "b.npy")],
        [(3, "\udcff.npy")],
    ]
    assert list(names_of(tmp_path / "files", 1, [1, 3])) == [[(1, "/x/a.npy")], [(3, "\udcff.npy")]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nothing", None, "no such folder or file"),
        ("empty.txt", b"\n", "no paths in it"),
        ("motion.npy", b"", "a motion file"),
        ("binary", b"\x00\x01", "line 1 is not text"),
    ],
)
def test_sources_that_are_none(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        write_manifest(tmp_path / name, tmp_path / "files")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="no motion files in it"):
        write_manifest(tmp_path / "folder", tmp_path / "files")
    assert not (tmp_path / "files").exists()
