"""The preprocessed cache: where it lives, what it notices, and that it never gets in the way."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from m2t_fast.data import cache
from m2t_fast.data.loading import load_data

Folder = Callable[..., Path]
TENSORS = {"a": torch.arange(6).reshape(2, 3), "b": torch.zeros(0, 3), "c": torch.ones(3, dtype=torch.int8)}


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M2T_FAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M2T_FAST_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache.directory() == Path("/own")
    monkeypatch.delenv("M2T_FAST_CACHE")
    assert cache.directory() == Path("/xdg/m2t_fast")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.directory() == Path("/home/me/.cache/m2t_fast")


def test_round_trip(cache_folder: Path) -> None:
    file = cache_folder / "x-1.safetensors"
    assert cache.fetch(file) is None
    content = {"text": "\u00fcber", "list": [1, None, 0.1]}
    cache.store(file, TENSORS, content)
    stored = cache.fetch(file)
    assert stored is not None and stored[1] == content
    assert stored[0].keys() == TENSORS.keys()
    assert all(torch.equal(stored[0][k], v) and stored[0][k].dtype == v.dtype for k, v in TENSORS.items())


def test_damage_is_noticed(cache_folder: Path) -> None:
    file = cache_folder / "x-1.safetensors"
    cache.store(file, TENSORS, {"k": 1})
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    for content in (whole[:-1], whole[:4], b"", b"foreign" * 9, bytes(flipped)):
        file.write_bytes(content)
        assert cache.fetch(file) is None
    file.write_bytes(whole)
    assert cache.fetch(file) is not None


def test_path_depends_on_everything(make_folder: Folder, cache_folder: Path) -> None:
    folder = make_folder([3, 3, 3])
    paths = [cache.path_of(folder, {"a": 1}), cache.path_of(folder, {"a": 2})]
    assert cache.path_of(folder / ".." / folder.name, {"a": 1}) == paths[0]
    for name in ("train.txt", "texts/m0.txt", "new_joints/m1.npy"):
        os.utime(folder / name, ns=(1, 1))
        paths.append(cache.path_of(folder, {"a": 1}))
    (folder / "segments.json").write_text("{}")
    paths.append(cache.path_of(folder, {"a": 1}))
    (folder / "texts" / "broken.txt").symlink_to(folder / "nowhere")
    (folder / "README.md").write_text("not read")
    assert cache.path_of(folder, {"a": 1}) == paths[-1]
    assert len(set(paths)) == len(paths)
    assert len({p.name.partition("-")[0] for p in paths}) == 1
    assert all(p.parent == cache_folder for p in paths)


def test_a_corrupt_cache_is_rebuilt_silently(make_folder: Folder, cache_folder: Path) -> None:
    folder = make_folder([6, 3, 1])
    first = load_data(folder)
    (file,) = cache_folder.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    again = load_data(folder)
    assert torch.equal(first["train"].frames, again["train"].frames)
    assert cache.fetch(file) is not None and list(cache_folder.iterdir()) == [file]


def test_goes_on_without_a_cache(make_folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("M2T_FAST_CACHE", str(tmp_path / "file" / "cache"))
    assert load_data(make_folder([6, 3, 1]))["train"].motions == 1
    assert (tmp_path / "file").read_text() == ""


def test_use_cache_false_leaves_no_trace(make_folder: Folder, cache_folder: Path) -> None:
    load_data(make_folder([6, 3, 1]), use_cache=False)
    assert not cache_folder.exists()


def test_old_caches_of_a_folder_go(cache_folder: Path) -> None:
    files = [cache_folder / f"x-{number}.safetensors" for number in range(5)]
    other = cache_folder / "y-0.safetensors"
    cache.store(other, TENSORS, {})
    for age, file in enumerate(files[:4]):
        cache.store(file, TENSORS, {})
        os.utime(file, ns=(age, age))
    assert cache.fetch(files[0]) is not None  # used again, so not the oldest any more
    cache.store(files[4], TENSORS, {})
    assert sorted(cache_folder.iterdir()) == [files[0], files[2], files[3], files[4], other]


FORGED: dict[str, Callable[[dict, dict], object]] = {
    "a tensor is missing": lambda tensors, _: tensors.pop("train.tokens"),
    "a token that is no word": lambda tensors, _: tensors["train.tokens"].fill_(10**6),
    "offsets beyond the end": lambda tensors, _: tensors["train.frame_offsets"].add_(5),
    "offsets that go back": lambda tensors, _: tensors["train.token_offsets"].neg_(),
    "another dtype": lambda tensors, _: tensors.update({"train.gate_targets": tensors["train.gate_targets"].long()}),
    "a frame is not finite": lambda tensors, _: tensors["train.frames"].fill_(float("nan")),
    "fewer frames": lambda tensors, _: tensors.update({"train.frames": tensors["train.frames"][1:].clone()}),
    "a caption of another motion": lambda tensors, _: tensors["train.caption_motion"].fill_(1),
    "no vocabulary": lambda _, content: content.pop("vocabulary"),
    "words are numbers": lambda _, content: content.update(vocabulary=[1, 2, 3]),
    "other joints": lambda _, content: content.update(joints=21),
    "ids are missing": lambda _, content: content["splits"]["train"].update(ids=[]),
    "faults of another form": lambda _, content: content["splits"]["train"].update(faults=[[1] * 99]),
    "another split": lambda _, content: content["splits"].pop("val"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_what_another_program_wrote_is_built_again(
    cache_folder: Path, make_folder: Folder, forgery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its checksum is right, its content is not that of a data set."""
    folder = make_folder([6, 3, 1, 4])
    expected = load_data(folder)
    (file,) = cache_folder.iterdir()
    stored = cache.fetch(file)
    assert stored is not None
    FORGED[forgery](*stored)
    cache.store(file, *stored)
    assert cache.fetch(file) is not None
    found = load_data(folder)
    assert found.vocabulary.words == expected.vocabulary.words and found.splits.keys() == expected.splits.keys()
    for split in expected.splits:
        assert torch.equal(found[split].frames, expected[split].frames)
        assert torch.equal(found[split].tokens, expected[split].tokens)
        assert torch.equal(found[split].frame_offsets, expected[split].frame_offsets)


def test_words_that_the_model_does_not_have_are_not_taken_from_a_cache(cache_folder: Path, make_folder: Folder) -> None:
    folder = make_folder([6, 3, 1, 4])
    first = load_data(folder, use_cache=False)
    known = {"vocabulary": first.vocabulary, "statistics": first.statistics, "splits": ("test",)}
    load_data(folder, **known)
    (file,) = cache_folder.iterdir()
    stored = cache.fetch(file)
    assert stored is not None
    stored[1]["vocabulary"].append("more")
    cache.store(file, *stored)
    assert load_data(folder, **known).vocabulary.words == first.vocabulary.words
