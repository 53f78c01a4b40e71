"""Takes joined from clips: known segments, no jumps, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from m2t_fast.data import synthetic
from m2t_fast.data.takes import join_clips, load_clips, make_takes
from m2t_fast.errors import UserError
from m2t_fast.motion.placement import facing
from m2t_fast.skeleton import HUMANML3D, KIT


@pytest.fixture(scope="module")
def clips():
    return synthetic.generate(60).splits["train"]


def largest_step(joints: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(joints, axis=0), axis=2).max())


def test_segments_tile_the_take_and_carry_their_clips(clips):
    take = join_clips(clips[:4], HUMANML3D)
    assert [segment.id for segment in take.segments] == [clip.id for clip in clips[:4]]
    assert take.segments[0].start == 0 and take.segments[-1].end == len(take.joints)
    for before, after, clip in zip(take.segments, take.segments[1:], clips, strict=False):
        assert before.end == after.start and before.end - before.start == len(clip.joints)
    assert take.segments[1].captions == tuple(caption.text for caption in clips[1].captions)
    assert take.segments[1].actions == tuple(segment.action for segment in clips[1].segments)


def test_a_blended_join_is_as_smooth_as_motion_and_an_unblended_one_jumps(clips):
    usual = max(largest_step(clip.joints) for clip in clips[:5])
    joined, cut = (join_clips(clips[:5], HUMANML3D, **options) for options in ({}, {"blend": 0.0}))
    assert largest_step(joined.joints) <= 1.5 * usual
    for segment in joined.segments[1:]:
        smooth, jump = (largest_step(take.joints[segment.start - 1 : segment.start + 1]) for take in (joined, cut))
        assert smooth < 1e-5 < 0.01 < jump


def test_each_clip_goes_on_where_the_last_one_ends_and_faces_as_it_does(clips):
    take = join_clips(clips[:6], HUMANML3D, blend=0.0)
    for segment in take.segments[1:]:
        before, after = take.joints[segment.start - 1], take.joints[segment.start]
        assert np.abs(before[0, [0, 2]] - after[0, [0, 2]]).max() < 1e-5
        assert facing(before[None], HUMANML3D) == pytest.approx(facing(after[None], HUMANML3D), abs=1e-4)
    for clip, segment in zip(clips, take.segments, strict=False):  # turned and moved as a whole: distances stay
        joints = take.joints[segment.start : segment.end]
        for one, other in ((0, -1), (3, 20)):
            moved = np.linalg.norm(joints[one] - joints[other], axis=1)
            assert np.allclose(moved, np.linalg.norm(clip.joints[one] - clip.joints[other], axis=1), atol=1e-4)


def test_a_pause_holds_the_pose_and_belongs_to_no_segment(clips):
    take = join_clips(clips[:2], HUMANML3D, blend=0.0, pause=1.0)
    first, second = take.segments
    assert second.start - first.end == 20
    assert (take.joints[first.end : second.start] == take.joints[first.end - 1]).all()


def test_the_same_seed_makes_the_same_takes_of_single_actions(clips):
    one, other = (make_takes(clips, HUMANML3D, 3, seed=5) for _ in range(2))
    assert all((a.joints == b.joints).all() and a.segments == b.segments for a, b in zip(one, other, strict=True))
    assert any(a.segments != b.segments for a, b in zip(one, make_takes(clips, HUMANML3D, 3, seed=6), strict=True))
    for take in one:
        ids = [segment.id for segment in take.segments]
        assert 3 <= len(ids) <= 6 and len(set(ids)) == len(ids)
        assert all(len(segment.actions) == 1 for segment in take.segments)


@pytest.mark.parametrize("arguments", [{"blend": -1.0}, {"pause": float("nan")}, {"blend": float("inf")}])
def test_refused_numbers_are_named(clips, arguments):
    with pytest.raises(ValueError, match=f"^{next(iter(arguments))}: got"):
        join_clips(clips[:2], HUMANML3D, **arguments)


def test_no_clips_and_too_few_are_refused(clips):
    with pytest.raises(ValueError, match="clips: got none"):
        join_clips([], HUMANML3D)
    with pytest.raises(ValueError, match="fewest"):
        make_takes(clips[:2], HUMANML3D, 1, seed=0)


def test_clips_of_another_skeleton_are_refused(tmp_path):
    for folder in ("new_joints", "texts"):
        (tmp_path / folder).mkdir()
    np.save(tmp_path / "new_joints" / "a.npy", np.zeros((30, 21, 3), np.float32))
    (tmp_path / "texts" / "a.txt").write_text("a person stands\n")
    (tmp_path / "val.txt").write_text("a\n")
    assert [clip.id for clip in load_clips(str(tmp_path), "val", KIT)] == ["a"]
    with pytest.raises(UserError, match="21 joints, but the run reads 22"):
        load_clips(str(tmp_path), "val", HUMANML3D)
