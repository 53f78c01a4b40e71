"""The synthetic data set as a whole: reproducible, complete, physically plausible, fast, and strict about arguments."""

from __future__ import annotations

import time

import numpy as np
import pytest

from m2t_fast.data.raw import RawData, RawMotion
from m2t_fast.data.synthetic import generate
from m2t_fast.data.synthetic.actions import ACTIONS
from m2t_fast.skeleton import PART_NAMES

FEET = {22: ((7, 10), (8, 11)), 21: ((13, 15), (18, 20))}
FRAMES = {22: (40, 198), 21: (25, 190)}


@pytest.fixture(scope="module", params=[22, 21])
def data(request: pytest.FixtureRequest) -> RawData:
    return generate({"train": 400, "val": 12, "test": 12}, seed=3, joints=request.param)


def motions(data: RawData) -> list[RawMotion]:
    return [motion for split in data.splits.values() for motion in split]


def same(a: list[RawMotion], b: list[RawMotion]) -> bool:
    return len(a) == len(b) and all(
        (x.id, x.captions, x.segments) == (y.id, y.captions, y.segments) and np.array_equal(x.joints, y.joints)
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("joints", [22, 21])
def test_a_seed_gives_equal_bits_and_another_seed_other_motions(joints: int) -> None:
    first, again = generate(40, seed=5, joints=joints), generate(40, seed=5, joints=joints)
    other = generate(40, seed=6, joints=joints)
    for split in first.splits:
        assert same(first.splits[split], again.splits[split])
        assert not any(same([a], [b]) for a, b in zip(first.splits[split], other.splits[split], strict=True))


@pytest.mark.parametrize("joints", [22, 21])
def test_a_motion_does_not_depend_on_how_many_others_are_asked_for(joints: int) -> None:
    few = generate({"train": 5, "val": 9}, seed=1, joints=joints)
    many = generate({"train": 70, "val": 9, "test": 3}, seed=1, joints=joints)
    assert same(few.splits["val"], many.splits["val"])
    assert same(few.splits["train"], many.splits["train"][:5])


def test_splits_share_no_motion(data: RawData) -> None:
    everything = motions(data)
    assert len({motion.joints.tobytes() for motion in everything}) == len(everything)
    assert len({motion.id for motion in everything}) == len(everything)


def test_both_skeletons_do_the_same_actions() -> None:
    large, small = generate(20, seed=2, joints=22), generate(20, seed=2, joints=21)
    for a, b in zip(motions(large), motions(small), strict=True):
        assert a.captions == b.captions
        assert [s.action for s in a.segments or []] == [s.action for s in b.segments or []]
        assert len(a.joints) / 20.0 == pytest.approx(len(b.joints) / 12.5, abs=0.1)


def test_one_number_is_shared_out_and_the_default_is_a_thousand() -> None:
    assert {split: len(items) for split, items in generate(25).splits.items()} == {"train": 20, "val": 2, "test": 3}
    assert {split: len(items) for split, items in generate(3).splits.items()} == {"train": 1, "val": 1, "test": 1}
    assert {split: len(items) for split, items in generate().splits.items()} == {"train": 800, "val": 80, "test": 120}
    assert {split: len(items) for split, items in generate({"test": 2}).splits.items()} == {
        "train": 0,
        "val": 0,
        "test": 2,
    }


def test_shapes_lengths_and_start(data: RawData) -> None:
    joints, (shortest, longest) = data.skeleton.joints, FRAMES[data.skeleton.joints]
    lengths = []
    for motion in motions(data):
        assert motion.joints.shape[1:] == (joints, 3)
        assert motion.joints.dtype == np.float32
        assert np.isfinite(motion.joints).all()
        lengths.append(len(motion.joints))
        hips = [(1, 2), (11, 16)][joints == 21]
        across = motion.joints[0, hips[0]] - motion.joints[0, hips[1]]
        assert across[0] > 0.9 * np.linalg.norm(across), "left is +X at the start"
        assert np.array_equal(motion.joints[0, 0, ::2], [0.0, 0.0])
    assert shortest <= min(lengths) < 1.3 * shortest
    assert max(lengths) <= longest
    assert max(lengths) > 2.5 * min(lengths)


def test_bones_keep_their_length_and_differ_between_subjects(data: RawData) -> None:
    parents, children = np.array(data.skeleton.bones).T
    mean = []
    for motion in motions(data):
        lengths = np.linalg.norm(motion.joints[:, parents] - motion.joints[:, children], axis=-1)
        assert np.ptp(lengths, axis=0).max() < 1e-5
        mean.append(lengths[0])
    assert 0.01 < np.std(mean, axis=0)[np.mean(mean, axis=0) > 0.2].min() < 0.03
    assert 1.2 < np.mean([m.joints[0, :, 1].max() for m in motions(data)]) < 1.8


def test_left_and_right_bones_match(data: RawData) -> None:
    length = {pair: np.linalg.norm(np.diff(data.splits["train"][0].joints[0, pair], axis=0)) for pair in _bones(data)}
    left = [length[pair] for pair in _bones(data) if pair[1] in (*data.skeleton.parts[2], *data.skeleton.parts[4])]
    right = [length[pair] for pair in _bones(data) if pair[1] in (*data.skeleton.parts[3], *data.skeleton.parts[5])]
    assert sorted(left) == pytest.approx(sorted(right), abs=1e-5)


def _bones(data: RawData) -> tuple[tuple[int, int], ...]:
    return data.skeleton.bones


def test_the_lowest_joint_is_on_the_floor_except_in_flight(data: RawData) -> None:
    for motion in motions(data):
        lowest = motion.joints[..., 1].min(axis=1)
        assert lowest.min() > -1e-5
        flying = np.zeros(len(lowest), dtype=bool)
        for segment in motion.segments or []:
            if segment.action in ("jump", "hop", "run"):
                flying[segment.start : segment.end] = True
        assert lowest[~flying].max(initial=0.0) < 1e-5
        assert lowest.max() < 0.6


def test_motions_are_smooth(data: RawData) -> None:
    fps = data.skeleton.fps
    for motion in motions(data):
        step = np.diff(motion.joints, axis=0)
        assert np.linalg.norm(step, axis=-1).max() * fps < 13.0, "no joint is faster than a sprinter's foot"
        assert np.linalg.norm(step[:, 0], axis=-1).max() * fps < 5.5
        for segment in (motion.segments or [])[1:]:
            cut = motion.joints[segment.start - 1 : segment.start + 1]
            assert np.linalg.norm(np.diff(cut, axis=0), axis=-1).max() * fps < 1.5, "actions join at rest"


def test_the_standing_foot_hardly_slides(data: RawData) -> None:
    fps = data.skeleton.fps
    feet = np.array(FEET[data.skeleton.joints])
    ratios = []
    for motion in motions(data):
        if [s.action for s in motion.segments or []] not in (["walk"], ["wave"], ["squat"], ["kick"]):
            continue
        foot = motion.joints[:, feet].mean(axis=2)
        speed = np.linalg.norm(np.diff(foot, axis=0)[..., ::2], axis=-1) * fps
        standing = speed[np.arange(len(speed)), foot[:-1, :, 1].argmin(axis=1)]
        ratios.append(standing.mean())
    assert len(ratios) > 10
    assert max(ratios) < 0.3


def test_segments_tile_the_motion_and_name_parts(data: RawData) -> None:
    seen = set()
    for motion in motions(data):
        segments = motion.segments or []
        assert 1 <= len(segments) <= 3
        assert [s.start for s in segments] == [0, *(s.end for s in segments[:-1])]
        assert segments[-1].end == len(motion.joints)
        for segment in segments:
            assert segment.end - segment.start >= 0.5 * data.skeleton.fps
            assert segment.action in ACTIONS
            assert segment.parts
            assert set(segment.parts) <= set(PART_NAMES)
            assert len(set(segment.parts)) == len(segment.parts)
            seen.add(segment.action)
        assert all(a.action != b.action for a, b in zip(segments, segments[1:], strict=False))
    assert seen == set(ACTIONS)


def test_named_parts_move_more_than_the_others() -> None:
    data = generate({"train": 500}, seed=8)
    limbs = dict(zip(PART_NAMES[2:], ((20,), (21,), (7, 10), (8, 11)), strict=True))
    for motion in data.splits["train"]:
        segments = motion.segments or []
        if len(segments) > 1 or segments[0].action in ("stand", "bow", "bend", "walk", "run", "circle", "turn"):
            continue
        ranges = {part: np.ptp(motion.joints[:, j] - motion.joints[:, [0]], axis=0).max() for part, j in limbs.items()}
        named = [part for part in segments[0].parts if part in limbs]
        assert min(ranges[part] for part in named) > 0.08, (motion.id, segments, ranges)
        same_kind = [part for part in limbs if part not in named and part[-3:] in {name[-3:] for name in named}]
        for part in same_kind:
            assert ranges[part] < max(ranges[name] for name in named), (motion.id, segments, ranges)


def test_two_thousand_motions_in_seconds() -> None:
    began = time.process_time()
    data = generate({"train": 2000}, seed=0)
    assert time.process_time() - began < 6.0
    assert len(data.splits["train"]) == 2000


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"count": 0}, ValueError, "count: got 0"),
        ({"count": -4}, ValueError, "count: got -4"),
        ({"count": 2}, ValueError, "count: got 2"),
        ({"count": {}}, ValueError, "count: got no split"),
        ({"count": {"train": 0}}, ValueError, "count: got 0 for train"),
        ({"count": {"dev": 4}}, ValueError, "count: got the split 'dev'"),
        ({"count": {"val": 1.5}}, TypeError, "count: got 1.5 for val"),
        ({"count": "many"}, TypeError, "count: got 'many'"),
        ({"count": True}, TypeError, "count: got True"),
        ({"count": 4, "joints": 20}, ValueError, "joints: got 20"),
        ({"count": 4, "seed": -1}, ValueError, "seed: got -1"),
        ({"count": 4, "seed": 0.5}, TypeError, "seed: got 0.5"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        generate(**arguments)  # type: ignore[arg-type]
