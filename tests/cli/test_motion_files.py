"""What is said on stderr about the motion files of a command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.cli.motion_files import Said

pytestmark = pytest.mark.filterwarnings("ignore:captions without part-of-speech tags")


def test_one_line_for_files_that_differ_in_bracketed_numbers_alone(capsys: pytest.CaptureFixture[str]) -> None:
    said = Said()
    for height, frames in ((1.81, "1,200"), (1.64, "90"), (1.7, "300")):
        said.add(["22 joints", f"unit cm (a body of about {height} m)", f"to 20 ({frames} frames)"], "m")
    said.add(["22 joints", "unit cm (a body of about 1.6 m)", "upside down (--up -y?)"], "n")
    said.add(["21 joints", "unit cm (a body of about 1.81 m)", "to 20 (7 frames)"], "o")
    said.report()
    assert capsys.readouterr().err.splitlines() == [
        "m2t-fast: m and 2 more files: 22 joints; unit cm (a body of about 1.64-1.81 m); to 20 (90-1,200 frames)",
        "m2t-fast: n: 22 joints; unit cm (a body of about 1.6 m); upside down (--up -y?)",
        "m2t-fast: o: 21 joints; unit cm (a body of about 1.81 m); to 20 (7 frames)",
    ]


def test_a_body_model_for_files_without_parameters_is_refused(
    refused: Callable, tiny_run: Path, motion: Callable, tmp_path: Path
) -> None:
    file, captions = tmp_path / "m.npy", tmp_path / "captions.jsonl"
    np.save(file, motion(20))
    captions.write_text(json.dumps({"file": "m", "caption": "a person walks"}))
    (tmp_path / "smpl.npz").write_bytes(b"")
    model = ("--body-model", tmp_path / "smpl.npz")
    wanted = "--body-model: none of the motions holds SMPL parameters"
    assert wanted in refused("caption", tiny_run, file, *model)
    out = tmp_path / "data"
    assert wanted in refused("prepare", file, "--captions", captions, "--output", out, *model)
    assert not out.exists()


@pytest.mark.parametrize("features", [False, True])
def test_nan_says_where_and_what_to_do(
    features: bool, refused: Callable, tiny_run: Path, motion: Callable, tmp_path: Path
) -> None:
    array = np.zeros((20, 263), np.float32) if features else motion(20)
    array[7] = np.nan
    np.save(tmp_path / "m.npy", array)
    error = refused("caption", tiny_run, tmp_path / "m.npy")
    assert "in 1 of 20 frames, first in frame 7 (cut these frames off, or fill them by interpolation)" in error


@pytest.mark.parametrize("width", [132, 144, 198, 216])
def test_poses_that_are_no_axis_angles_are_refused(
    width: int, refused: Callable, tiny_run: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "m.npz", poses=np.zeros((20, width)), trans=np.zeros((20, 3)))
    assert "no motion in it: it holds poses, trans" in refused("caption", tiny_run, tmp_path / "m.npz")
