"""Files of the data set as joints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.data import synthetic
from m2t_fast.errors import UserError
from m2t_fast.preparation.bandai_namco.takes import bone_lengths, find_files, read_take, to_rate, with_bones


@pytest.fixture(scope="module")
def joints() -> np.ndarray:
    return synthetic.generate({"train": 1}, seed=1).splits["train"][0].joints.astype(np.float64)


def test_a_file(tmp_path: Path, joints: np.ndarray, take_writer: Callable[..., None]) -> None:
    path = tmp_path / "dataset-2_raise-up-left-hand_not-confident_012.bvh"
    take_writer(path, joints, fps=20.0)
    take = read_take(path)
    assert (take.name, take.group, take.content, take.style) == (path.stem, "2", "raise-up-left-hand", "not-confident")
    expected = joints.copy()
    expected[:, 6] = (joints[:, 3] + joints[:, 9]) / 2  # the files have a joint less in the spine
    expected = with_bones(expected, bone_lengths(expected))  # bones of synthetic motions, too, keep their lengths
    np.testing.assert_allclose(take.joints, expected, atol=1e-5)


@pytest.mark.parametrize(("fps", "ours", "theirs"), [(30.0, 2, 3), (60.0, 1, 3), (20.0, 1, 1), (119.88, None, None)])
def test_another_rate_keeps_path_and_bones(
    joints: np.ndarray, fps: float, ours: int | None, theirs: int | None
) -> None:
    found = to_rate(joints, fps)
    assert len(found) == int((len(joints) - 1) * 20 / fps + 1e-3) + 1
    np.testing.assert_allclose(bone_lengths(found), bone_lengths(joints), atol=1e-9)
    same = found[::ours, 0]
    if ours is not None:  # frames that the motion itself has
        np.testing.assert_allclose(same, joints[::theirs, 0][: len(same)], atol=1e-9)


def test_what_is_no_clone(tmp_path: Path, joints: np.ndarray, take_writer: Callable[..., None]) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder; expected a clone: git clone https://"):
        find_files(tmp_path / "nowhere")
    take_writer(tmp_path / "walk.bvh", joints)
    with pytest.raises(UserError, match="no dataset-"):
        find_files(tmp_path)
    with pytest.raises(UserError, match="expected dataset-N_CONTENT_STYLE_NUMBER.bvh"):
        read_take(tmp_path / "walk.bvh")
    path = tmp_path / "dataset-1_walk_normal_001.bvh"
    take_writer(path, joints)
    assert find_files(tmp_path) == [path]
    path.write_text(path.read_text().replace("Chest", "Torso"))
    with pytest.raises(UserError, match="no joint Chest"):
        read_take(path)
    path.write_text(path.read_text().replace("Torso", "Chest").replace("Frame Time: 0.033333", "Frame Time: 0"))
    with pytest.raises(UserError, match="frame time 0"):
        read_take(path)
