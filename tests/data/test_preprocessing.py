"""Settings, downsampling, statistics and filters."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.data.preprocessing import DataSettings, Statistics, downsample, downsample_segments, filter_motions
from m2t_fast.data.raw import Caption, RawMotion, Segment
from m2t_fast.errors import UserError


def motion(frames: int, *captions: str, name: str = "m") -> RawMotion:
    joints = np.arange(frames * 66, dtype=np.float32).reshape(frames, 22, 3)
    return RawMotion(name, joints, [Caption(text, None) for text in captions or ("a man walks",)])


def test_presets_and_round_trip() -> None:
    assert DataSettings.kit() == DataSettings(max_frames_train=100)
    assert DataSettings.humanml3d() == DataSettings(min_frames=40, max_frames=200, max_tokens=20, min_captions=3)
    settings = DataSettings.humanml3d(min_captions=1)
    assert settings.min_captions == 1
    assert DataSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    "bad",
    [
        {"downsample": 0},
        {"first_frame": -1},
        {"min_frames": 0},
        {"max_frames": 2.5},
        {"max_tokens": True},
        {"min_captions": 0},
        {"min_count": None},
        {"min_frames": 9, "max_frames": 8},
    ],
)
def test_bad_settings_are_named(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(bad))}: got"):
        DataSettings(**bad)
    with pytest.raises(ValueError, match="unknown field 'fps'"):
        DataSettings.from_dict({"fps": 20})


def test_downsample_starts_at_frame_1() -> None:
    frames = np.arange(7)[:, None, None]
    assert downsample(frames, DataSettings()).ravel().tolist() == [1, 3, 5]
    assert downsample(frames[:2], DataSettings()).ravel().tolist() == [1]
    assert downsample(frames[:1], DataSettings()).ravel().tolist() == [0]
    assert downsample(frames, DataSettings(downsample=1, first_frame=0)).ravel().tolist() == list(range(7))
    assert downsample(frames, DataSettings(downsample=3, first_frame=9)).ravel().tolist() == [6]


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 5), st.data())
def test_segments_follow_their_frames(frames: int, step: int, first: int, data: st.DataObject) -> None:
    settings = DataSettings(downsample=step, first_frame=first)
    cuts = sorted(data.draw(st.sets(st.integers(1, frames - 1), max_size=3))) if frames > 1 else []
    edges = [0, *cuts, frames]
    segments = [Segment("walk", a, b, ("root",)) for a, b in zip(edges, edges[1:], strict=False)]
    kept = downsample(np.arange(frames)[:, None, None], settings).ravel().tolist()
    for segment, converted in zip(segments, downsample_segments(segments, frames, settings), strict=True):
        inside = [i for i, frame in enumerate(kept) if segment.start <= frame < segment.end]
        assert 0 <= converted.start < converted.end <= len(kept)
        if inside:
            assert list(range(converted.start, converted.end)) == inside
        else:
            assert converted.end == converted.start + 1


def test_active_frames_and_words_follow() -> None:
    """Frames 1, 3, 5 are kept; the caption of too many words takes its naming word with it."""
    segment = Segment("wave", 0, 6, (), active=(2, 6), words=("wave", "lift", None))
    captions = [Caption(text, None) for text in ("he waves", "he lifts one arm", "he stands")]
    motion = RawMotion("m", np.zeros((6, 22, 3), np.float32), captions, [segment, Segment("walk", 0, 6, ())])
    (kept,), _ = filter_motions([motion], "test", DataSettings(max_tokens=3))
    assert kept.segments == [Segment("wave", 0, 3, (), active=(1, 3), words=("wave", None)), Segment("walk", 0, 3, ())]


def test_statistics_by_hand() -> None:
    a = np.zeros((1, 2, 3), np.float32)
    b = np.zeros((2, 2, 3), np.float32)
    b[:, 0, 0] = 3
    a[..., 1] = b[..., 1] = 7.3
    b[1, 1, 2] = -6
    statistics = Statistics.of([a, b])
    np.testing.assert_allclose(statistics.mean, (1, 7.3, -1), rtol=1e-6)
    np.testing.assert_allclose(statistics.std, (np.sqrt(2), 1, np.sqrt(5)), rtol=1e-6)
    with pytest.raises(ValueError, match="motions: got no frames"):
        Statistics.of([])


def test_statistics_far_from_the_origin() -> None:
    values = np.random.default_rng(0).normal(1000, 0.5, size=(5000, 22, 3)).astype(np.float32)
    statistics = Statistics.of([values[:10], values[10:]])
    np.testing.assert_allclose(statistics.mean, values.reshape(-1, 3).mean(0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(statistics.std, values.reshape(-1, 3).astype(np.float64).std(0), rtol=1e-10)


def test_apply_and_invert() -> None:
    statistics = Statistics((1.0, 2.0, 3.0), (0.5, 1.0, 2.0))
    joints = np.random.default_rng(0).normal(size=(4, 22, 3)).astype(np.float32)
    applied = statistics.apply(joints)
    assert applied.dtype == np.float32
    np.testing.assert_allclose(applied, (joints - [1, 2, 3]) / [0.5, 1, 2], atol=1e-6)
    np.testing.assert_allclose(statistics.invert(applied), joints, atol=1e-6)
    tensor = torch.from_numpy(joints).double()
    torch.testing.assert_close(statistics.invert(statistics.apply(tensor)), tensor)
    assert Statistics.from_dict(json.loads(json.dumps(statistics.to_dict()))) == statistics


@pytest.mark.parametrize(
    ("mean", "std", "name"),
    [
        ((0, 0), (1, 1, 1), "mean"),
        ((0, 0, float("nan")), (1, 1, 1), "mean"),
        ((0, 0, 0), (1, 0, 1), "std"),
        ((0, 0, 0), (1, 1, float("inf")), "std"),
    ],
)
def test_bad_statistics(mean: tuple[float, ...], std: tuple[float, ...], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: got"):
        Statistics(mean, std)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected mean and std"):
        Statistics.from_dict({"mean": [0, 0, 0]})


def test_filters_and_their_report() -> None:
    settings = DataSettings(min_frames=4, max_frames=20, max_frames_train=6, max_tokens=3, min_captions=2)
    motions = [
        motion(3),
        motion(21),
        motion(14, "a b", "c d"),
        motion(13, "a b c", "...", "a b c d", "e", name="kept"),
        motion(4, "a b", "a b c d"),
    ]
    kept, report = filter_motions(motions, "train", settings)
    assert [m.id for m in kept] == ["kept"]
    assert len(kept[0].joints) == 6
    assert [words for _, words in kept[0].captions] == [["a", "b", "c"], ["e"]]
    assert report == {
        "motions": {"read": 5, "kept": 1},
        "captions": {"read": 10, "kept": 2},
        "dropped": {
            "min_frames": 1,
            "max_frames": 1,
            "max_frames_train": 1,
            "max_tokens": 2,
            "no_words": 1,
            "min_captions": 1,
        },
    }
    kept, report = filter_motions(motions[2:3], "test", settings)
    assert len(kept) == 1 and sum(report["dropped"].values()) == 0


def test_limits_are_inclusive() -> None:
    settings = DataSettings(min_frames=4, max_frames=4, max_frames_train=2, max_tokens=3, min_captions=1)
    assert len(filter_motions([motion(4)], "train", settings)[0]) == 1


def test_nothing_left_says_why() -> None:
    settings = DataSettings(max_frames=10, max_tokens=2)
    with pytest.raises(UserError) as caught:
        filter_motions([motion(11), motion(5), motion(12)], "val", settings)
    message = str(caught.value)
    assert "val: the data settings leave nothing of 3 motions" in message and "\n" not in message
    assert "2 motions by max_frames (10), 1 caption by max_tokens (2), 1 motion by min_captions (1)" in message
    assert filter_motions([], "val", settings)[0] == []
