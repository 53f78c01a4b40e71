"""On real files: what the recipe gives for them is what bandai22 holds."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.preparation.bandai_namco.clips import clip_of, join, windows_of
from m2t_fast.preparation.bandai_namco.takes import Take, find_files, read_take


@pytest.fixture(scope="module")
def takes(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Take]:
    archive = shared_data / "bandai_source_sample.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no {archive.name} in {shared_data}")
    folder = tmp_path_factory.mktemp("sample")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    return {path.stem: read_take(path) for path in find_files(folder) if path.stat().st_size}


def test_joints_times_and_parts(takes: dict[str, Take], bandai: Path) -> None:
    compared: Counter[str] = Counter()
    for motion_id, entry in json.loads((bandai / "segments.json").read_text()).items():
        sources = [name.removesuffix(".bvh") for name in entry["source"]]
        if entry["mirrored"] or not all(name in takes for name in sources):
            continue
        own = [takes[name] for name in sources]
        windows = [tuple(window) for window in entry["source_windows_20fps"]]
        if entry["kind"] == "multi":
            clip = join(own[0], own[1], (windows[0], windows[1]))
        else:
            assert windows[0] in windows_of(own[0]), motion_id
            clip = clip_of(own[0], windows[0])
            assert clip is not None, motion_id
        expected = np.load(bandai / "new_joints" / f"{motion_id}.npy")
        np.testing.assert_allclose(clip.placed(), expected, atol=1e-4, rtol=0, err_msg=motion_id)
        assert clip.kind == entry["kind"]
        for action, segment in zip(clip.actions, entry["segments"], strict=True):
            assert (action.content, action.style) == (segment["content"], segment["style"]), motion_id
            assert (action.start, action.end) == (segment["start"], segment["end"]), motion_id
            assert action.active == (tuple(segment["active"]) if "active" in segment else None), motion_id
            assert set(action.parts) == set(segment["parts"]), motion_id
        compared[entry["kind"]] += 1
    assert compared == {"single": 66, "turn": 4, "multi": 22}
