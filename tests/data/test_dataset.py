"""From raw data to ragged tensors, and what load_data does with its arguments."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from m2t_fast.data.dataset import MotionDataset, Prepared, prepare
from m2t_fast.data.folder import read_folder
from m2t_fast.data.loading import load_data
from m2t_fast.data.preprocessing import DataSettings, Statistics
from m2t_fast.data.raw import Caption, RawData, RawMotion, Segment
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.errors import UserError
from m2t_fast.skeleton import HUMANML3D, KIT

Folder = Callable[..., Path]


def raw_motion(name: str, frames: int, *texts: str) -> RawMotion:
    joints = np.random.default_rng(frames).normal(size=(frames, 22, 3)).astype(np.float32)
    tags = {"a": "DET", "man": "NOUN", "waves": "VERB", "walks": "VERB", "slowly": "ADV"}
    captions = [Caption(t, tuple((w, tags.get(w, "X")) for w in t.split())) for t in texts]
    return RawMotion(name, joints, captions, [Segment("walk", 0, frames, ("root",))] if frames > 4 else None)


@pytest.fixture
def raw() -> RawData:
    train = [raw_motion("x", 6, "a man waves", "a man walks slowly"), raw_motion("y", 1, "a man waves")]
    return RawData(HUMANML3D, {"train": train, "test": [raw_motion("z", 3, "a zebra waves")], "val": []}, "here")


def test_ragged_layout(raw: RawData) -> None:
    prepared = prepare(raw, DataSettings(min_count=2))
    assert prepared.vocabulary.words[4:] == ("a", "man", "waves")
    train = prepared["train"]
    assert (train.motions, len(train), train.ids) == (2, 3, ["x", "y"])
    assert train.frame_offsets.tolist() == [0, 3, 4]
    assert train.motion_lengths.tolist() == [3, 1] and train.sample_lengths.tolist() == [3, 3, 1]
    assert train.caption_motion.tolist() == [0, 0, 1]
    assert train.token_offsets.tolist() == [0, 5, 11, 16]
    assert train.tokens.tolist() == [1, 4, 5, 6, 2, 1, 4, 5, 3, 3, 2, 1, 4, 5, 6, 2]
    assert train.gate_targets.tolist() == [-1, 0, 0, 1, -1, -1, 0, 0, 1, 1, -1, -1, 0, 0, 1, -1]
    assert train.spatial_targets.shape == (16, 6)
    assert train.spatial_targets[3].tolist() == [0, 0, 1, 1, 0, 0]
    assert (train.spatial_targets[[0, 1, 2, 4, 8, 9]] == -1).all()
    assert train.references == [["a man waves", "a man walks slowly"], ["a man waves"]]
    assert train.segments == [[Segment("walk", 0, 3, ("root",))], None]
    assert train.fps == 10.0
    dtypes = {"frames": torch.float32, "gate_targets": torch.int8, "spatial_targets": torch.int8}
    for name in ("frames", "frame_offsets", "tokens", "token_offsets", "gate_targets", "spatial_targets"):
        assert getattr(train, name).dtype == dtypes.get(name, torch.int64)
    assert prepared["test"].references == [["a zebra waves"]]
    assert prepared["test"].segments is None
    val = prepared["val"]
    assert len(val) == val.motions == 0 and val.frames.shape == (0, 22, 3) and val.token_offsets.tolist() == [0]


def test_positions_are_standardised_by_the_training_split(raw: RawData) -> None:
    prepared = prepare(raw)
    for split, number, frames in (("train", 0, slice(1, None, 2)), ("test", 0, slice(1, None, 2))):
        joints = raw.splits[split][number].joints[frames]
        restored = prepared.statistics.invert(prepared[split].motion(number))
        np.testing.assert_allclose(restored.numpy(), joints, atol=1e-6)
    everything = prepared["train"].frames.reshape(-1, 3).double()
    torch.testing.assert_close(everything.mean(0), torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(everything.std(0, unbiased=False), torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match=r"number: got 2, expected 0 to 1"):
        prepared["train"].motion(2)


def test_given_vocabulary_and_statistics_are_used(raw: RawData) -> None:
    vocabulary, statistics = Vocabulary(["waves"]), Statistics((0, 0, 0), (1, 1, 1))
    del raw.splits["train"]
    prepared = prepare(raw, DataSettings(), vocabulary, statistics)
    assert prepared["test"].tokens.tolist() == [1, 3, 3, 4, 2]
    np.testing.assert_array_equal(prepared["test"].frames.numpy(), raw.splits["test"][0].joints[1::2])
    with pytest.raises(ValueError, match="vocabulary: got None"):
        prepare(raw, statistics=statistics)
    with pytest.raises(ValueError, match="statistics: got None"):
        prepare(raw, vocabulary=vocabulary)
    with pytest.raises(KeyError, match="split 'train': not loaded, expected one of test, val"):
        prepared["train"]


def same(a: Prepared, b: Prepared) -> bool:
    def equal(x: MotionDataset, y: MotionDataset) -> bool:
        return all(
            torch.equal(v, vars(y)[k]) if isinstance(v, torch.Tensor) else v == vars(y)[k] for k, v in vars(x).items()
        )

    shared = ("vocabulary", "statistics", "settings", "skeleton", "report", "source")
    return (
        all(getattr(a, name) == getattr(b, name) for name in shared)
        and list(a.splits) == list(b.splits)
        and all(equal(a[split], b[split]) for split in a.splits)
    )


def test_load_data_reads_a_folder_with_and_without_cache(make_folder: Folder) -> None:
    folder = make_folder([6, 3, 1, 4], joints=21)
    direct = load_data(folder, use_cache=False)
    assert direct.skeleton is KIT and direct["train"].ids == ["m0", "m1"]
    assert same(direct, load_data(folder)) and same(direct, load_data(str(folder)))
    only = load_data(folder, vocabulary=direct.vocabulary, statistics=direct.statistics, splits=("test",))
    assert list(only.splits) == ["test"] and torch.equal(only["test"].frames, direct["test"].frames)


def test_load_data_notices_changes(make_folder: Folder) -> None:
    folder = make_folder([6, 3, 1, 4])
    assert load_data(folder)["train"].motions == 2
    np.save(folder / "new_joints" / "m0.npy", np.zeros((9, 22, 3)))
    assert load_data(folder)["train"].motion_lengths.tolist() == [4, 1]
    (folder / "texts" / "m0.txt").write_text("a man runs#a/DET man/NOUN run/VERB#0#0\n")
    assert load_data(folder)["train"].references[0] == ["a man runs"]
    (folder / "train.txt").write_text("m0\n")
    assert load_data(folder)["train"].motions == 1
    assert load_data(folder, DataSettings(downsample=1))["train"].motion_lengths.tolist() == [8]
    (folder / "texts" / "m0.txt").unlink()
    with pytest.raises(UserError, match="m0"):
        load_data(folder)


def test_stored_targets_of_untagged_captions_depend_on_the_tagger(
    make_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from m2t_fast.data import loading, tagging

    folder = make_folder([3, 3, 3], texts="he walks\n")
    for name, tag, gate in (("one", "VERB", 1), ("two", None, -1)):
        monkeypatch.setattr(tagging, "_tagger", lambda n=name, t=tag: (n, lambda words: [t] * len(words)))
        assert load_data(folder)["train"].gate_targets[2] == gate
    monkeypatch.setattr(loading, "read_folder", lambda *_: pytest.fail("the cache was not used"))
    assert load_data(folder)["train"].gate_targets[2] == -1


def test_bad_arguments(make_folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        load_data(tmp_path / "nowhere")
    for splits in ((), ("dev",)):
        with pytest.raises(ValueError, match="splits: got"):
            load_data(make_folder([3, 3, 3], name=f"d{len(splits)}"), splits=splits)
    with pytest.raises(UserError, match="train: the data settings leave nothing of 1 motion:"):
        load_data(make_folder([3, 3, 3]), DataSettings(min_frames=4))


def test_synthetic_passes_its_arguments_on(raw: RawData, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, int | None]] = []
    fake = types.ModuleType("m2t_fast.data.synthetic")

    def generate(**arguments: int | None) -> RawData:
        seen.append(arguments)
        return RawData(raw.skeleton, dict(raw.splits), "synthetic")

    fake.generate = generate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "m2t_fast.data.synthetic", fake)
    monkeypatch.setattr("m2t_fast.data.synthetic", fake, raising=False)
    prepared = load_data("synthetic", seed=3, synthetic_count=5, splits=("train", "test"))
    assert list(prepared.splits) == ["train", "test"] and prepared.source == "synthetic"
    load_data("synthetic", joints=21)
    assert seen == [{"count": 5, "seed": 3, "joints": 22}, {"count": None, "seed": 0, "joints": 21}]


def test_same_data_through_the_pieces(make_folder: Folder) -> None:
    folder = make_folder([6, 3, 1, 4])
    settings = DataSettings(first_frame=0)
    assert same(prepare(read_folder(folder), settings), load_data(folder, settings))
