"""The numbers of a data set, counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from m2t_fast.data.describe import describe, format_description
from m2t_fast.data.loading import load_data
from m2t_fast.data.preprocessing import DataSettings

Folder = Callable[..., Path]
LINES = [
    "a man walks forward#a/DET man/NOUN walk/VERB forward/ADV#0#0\na man waves#a/DET man/NOUN wave/VERB#0#0\n",
    "a man walks#a/DET man/NOUN walk/VERB#0#0\n",
    "a zebra walks#a/DET zebra/NOUN walk/VERB#0#0\nwalks#walk/VERB#0#0\n",
    "a man#a/DET man/NOUN#0#0\n",
]


@pytest.mark.parametrize(("joints", "name", "fps"), [(21, "KIT-ML", 6.25), (22, "HumanML3D", 10.0)])
def test_counts(make_folder: Folder, joints: int, name: str, fps: float) -> None:
    folder = make_folder([20, 10, 8, 40], joints=joints, texts=LINES)
    prepared = load_data(folder, DataSettings(min_count=1, max_tokens=3))
    result = json.loads(json.dumps(describe(prepared)))
    assert (result["joints"], result["paper"], result["fps"], result["vocabulary"]) == (joints, name, fps, 8)
    train, test = result["splits"]["train"], result["splits"]["test"]
    assert (train["motions"], train["samples"]) == (2, 2)
    assert train["frames"] == {"min": 5, "median": 7.5, "max": 10, "mean": 7.5}
    assert train["words"] == {"min": 3, "median": 3, "max": 3, "mean": 3}
    assert train["hours"] == pytest.approx(15 / fps / 3600)
    assert train["gate"] == {"motion": pytest.approx(2 / 6), "non_motion": pytest.approx(4 / 6), "unsupervised": 0}
    assert train["parts"]["left_arm"] == pytest.approx(1 / 6) and train["parts"]["root"] == 0
    assert train["read"] == {"motions": 2, "captions": 3} and train["dropped"]["max_tokens"] == 1
    assert test["unknown"] == pytest.approx(1 / 4)
    assert train["paper"]["motions"] == {"KIT-ML": 4886, "HumanML3D": 22068}[name]
    assert test["paper"]["samples"] == {"KIT-ML": 1660, "HumanML3D": 12558}[name]


def test_text(make_folder: Folder) -> None:
    folder = make_folder([20, 10, 8, 40], texts=LINES)
    (folder / "val.txt").write_text("")
    text = format_description(describe(load_data(folder, DataSettings(min_count=1, max_tokens=3))))
    lines = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    assert text.splitlines()[0].endswith("data: humanml3d skeleton, 22 joints, vocabulary of 8 words")
    assert lines["motions"][-3:] == ["2", "0", "1"]
    assert "5 to 10, median 7.5" in text
    assert lines["frames at 10 Hz"][-6] == "-" and lines["dropped by max_tokens"][-3:] == ["1", "0", "0"]
    assert "22,068 / 66,734" in text and "action segments" not in text and "dropped by min_frames" not in text
    assert len({len(line) for line in text.splitlines()[1:]}) == 1
