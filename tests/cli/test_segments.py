"""``caption --segments``, ``fit-segments`` and ``evaluate --segments`` on a run whose captions depend on the motion."""

from __future__ import annotations

import gc
import io
import itertools
import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch

from m2t_fast import load_run
from m2t_fast.data import synthetic
from m2t_fast.data.takes import join_clips
from m2t_fast.inference import Segment
from m2t_fast.segmentation import Segmenter
from m2t_fast.skeleton import HUMANML3D


@pytest.fixture(scope="module")
def take(tmp_path_factory):
    """Three clips in one file of about 12 seconds."""
    path = tmp_path_factory.mktemp("takes") / "take.npy"
    np.save(path, join_clips(synthetic.generate(12).splits["train"][:3], HUMANML3D).joints)
    return path


def test_segments_tile_the_take_in_every_output(call, tiny_run, take, tmp_path):
    end = len(np.load(take)) / 20
    result = call("caption", tiny_run, take, "--segments", "--max-length", 5, "--csv", tmp_path / "take.csv")
    assert result.code == 0, result
    rows = [line.split("\t") for line in result.out.splitlines()]
    starts, ends = ([float(row[column]) for row in rows] for column in (0, 1))
    assert starts[0] == 0.0 and ends[-1] == pytest.approx(end, abs=0.01) and starts[1:] == ends[:-1]
    assert all(0.0 <= float(row[2]) <= 1.0 for row in rows)
    assert len((tmp_path / "take.csv").read_text().splitlines()) == len(rows) + 1
    listed = json.loads(call("caption", tiny_run, take, "--segments", "--json", "--max-length", 5).out)
    assert listed["file"] == str(take) and [s["caption"] for s in listed["segments"]] == [row[3] for row in rows]
    for segment in listed["segments"]:
        assert set(segment) >= {"start", "end", "caption", "score", "words"}
        assert all(segment["start"] <= word["mean"] <= segment["end"] for word in segment["words"])
    found = load_run(tiny_run).segment(take, max_length=5)
    assert [(s.start, s.end, s.caption) for s in found] == [
        (s["start"], s["end"], s["caption"]) for s in listed["segments"]
    ]
    assert all(s.start <= w.start <= w.end <= s.end + 1e-6 for s in found for w in s.words)


def test_frames_from_a_pipe_give_the_segments_of_a_stream(call, refused, tiny_run, take, monkeypatch):
    joints = np.load(take)[:120]
    lines = [" ".join(map(repr, frame.ravel().tolist())) + "\n" for frame in joints]
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(lines)))
    result = call("caption", tiny_run, "-", "--fps", 20, "--max-length", 3)
    assert result.code == 0, result
    stream = load_run(tiny_run).stream(fps=20, max_length=3)
    expected = [*stream.push(joints), *stream.close()]
    rows = [line.split("\t") for line in result.out.splitlines()]
    assert [row[3] for row in rows] == [s.caption for s in expected] and float(rows[-1][1]) == 6.0
    monkeypatch.setattr(sys, "stdin", io.StringIO("[" + lines[0].strip().replace(" ", ", ") + "]\n\n"))
    listed = json.loads(call("caption", tiny_run, "-", "--fps", 20, "--max-length", 3, "--json").out)
    assert listed["file"] == "-" and [segment["end"] for segment in listed["segments"]] == [0.05]
    for text, reason in (("1 2 3\n", "line 1: got 3 numbers, expected 66"), ("a\n", "expected 66 numbers")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert reason in refused("caption", tiny_run, "-", "--fps", 20)
    assert "--fps" in refused("caption", tiny_run, "-")
    assert "pipe alone" in refused("caption", tiny_run, "-", take, "--fps", 20)
    assert "--csv" in refused("caption", tiny_run, "-", "--fps", 20, "--csv", "a.csv")


def test_a_pipe_that_is_no_text_or_never_ends_a_line(refused, tiny_run, monkeypatch):
    class Endless:
        def readline(self, size):
            return "0 " * (size // 2)

    frame = b"0 " * 66 + b"\n"
    for pipe, reason in (
        (io.TextIOWrapper(io.BytesIO(frame + b"\xff\n"), "utf-8"), "not text"),
        (Endless(), "line 1 is longer than"),
        (None, "standard input is closed"),
    ):
        monkeypatch.setattr(sys, "stdin", pipe)
        assert reason in refused("caption", tiny_run, "-", "--fps", 20)


def test_a_pipe_and_a_file_give_the_same_json(call, tiny_run, take, monkeypatch, tmp_path):
    path = tmp_path / "part.npy"
    np.save(path, np.load(take)[:120])
    of_file = json.loads(call("caption", tiny_run, path, "--segments", "--json", "--max-length", 3).out)
    lines = "".join(" ".join(map(repr, frame.ravel().tolist())) + "\n" for frame in np.load(path))
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    of_pipe = json.loads(call("caption", tiny_run, "-", "--fps", 20, "--max-length", 3, "--json").out)
    assert {"file": str(path), "segments": of_pipe["segments"]} == of_file and of_pipe["file"] == "-"


def test_the_page_of_a_take_shows_its_segments(call, tiny_run, take, tmp_path):
    page = tmp_path / "take.html"
    result = call("caption", tiny_run, take, "--segments", "--max-length", 3, "--html", page)
    assert result.code == 0, result
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.DOTALL)[1])
    rows = [line.split("\t") for line in result.out.splitlines()]
    (motion,) = data["motions"]
    seconds = [[start / motion["fps"] + motion["start"], text] for start, _, text in motion["segments"]]
    assert [text for _, text in seconds] == [row[3] for row in rows]
    assert [start for start, _ in seconds] == pytest.approx([float(row[0]) for row in rows], abs=0.02)


def test_a_long_take_without_the_option_hears_of_it(call, run_of, take):
    result = call("caption", run_of(22, max_frames=100), take, "--max-length", 3)
    assert result.code == 0 and "--segments" in result.err


def test_options_that_do_not_fit_are_refused(refused, tiny_run, take, tmp_path):
    assert "goes with --segments" in refused("caption", tiny_run, take, "--srt", tmp_path / "a.srt")
    assert "--gif" in refused("caption", tiny_run, take, "--segments", "--gif", tmp_path / "a.gif")
    assert "expected one" in refused("caption", tiny_run, take, take, "--segments", "--csv", tmp_path / "a.csv")
    assert "another file" in refused("caption", tiny_run, take, "--segments", "--csv", take)
    assert not list(tmp_path.iterdir())


def test_a_run_is_fitted_and_scored_on_takes_of_a_data_set(call, tiny_run, tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "DEFAULT_COUNT", {"train": 8, "val": 24, "test": 24})
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    result = call("fit-segments", run, "--data", "synthetic", "--takes", 2)
    assert result.code == 0 and (run / "segmenter.safetensors").exists(), result
    result = call("evaluate", run, "--data", "synthetic", "--segments", "--takes", 2, "--max-length", 4)
    assert result.code == 0, result
    rows = {row["name"]: row for row in json.loads((run / "segments.json").read_text())["rows"]}
    assert list(rows)[0] == "segments" and "every 4 s" in rows and "changes of speed" in rows
    assert all(0.0 <= row["f1_70"] <= row["f1_30"] <= 1.0 for row in rows.values())
    assert "F1@0.5" in result.out


def test_training_ends_with_a_segmenter_where_times_are_known(call, data_of, tmp_path, monkeypatch):
    train = ("train", "--epochs", 1, "--min-count", 1, "--segment-takes", 1)
    monkeypatch.setattr(synthetic, "DEFAULT_COUNT", {"train": 8, "val": 60, "test": 1})
    result = call(*train, "--data", "synthetic", "--output", tmp_path / "timed")
    assert result.code == 0 and "segmenter of long takes fitted on 1 takes" in result.err, result
    assert Segmenter.load(tmp_path / "timed" / "segmenter.safetensors").boundary_weight.isfinite().all()
    for name, data, takes in (("untimed", data_of(22), 1), ("declined", "synthetic", 0)):
        result = call(*train[:-1], takes, "--data", data, "--output", tmp_path / name, "--quiet")
        assert result.code == 0 and not (tmp_path / name / "segmenter.safetensors").exists(), result


def test_data_that_cannot_be_joined_are_refused(refused, tiny_run, data_of, tmp_path):
    assert "cannot be joined" in refused("fit-segments", tiny_run, "--data", data_of(22))


def test_a_damaged_segmenter_is_named(refused, tiny_run, take, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    (run / "segmenter.safetensors").write_bytes(b"nonsense")
    assert "segmenter.safetensors" in refused("caption", run, take, "--segments")


def test_a_stream_gives_what_it_saw_with_bounded_delay(tiny_run, take):
    joints = np.concatenate([np.load(take)] * 4)
    stream = load_run(tiny_run).stream(max_length=4)
    found, pushed = [], 0
    for first in range(0, len(joints), 30):
        piece = joints[first : first + 30]
        pushed += len(piece)
        for segment in stream.push(piece):
            assert segment.end <= pushed / 20
            found.append(segment)
        last = found[-1].end if found else 0.0
        assert pushed / 20 - last <= stream.delay + 10.0 + 1.5
    found += stream.close()
    assert found[0].start == 0.0 and found[-1].end == pytest.approx(len(joints) / 20, abs=0.05)
    assert all(a.end == pytest.approx(b.start, abs=0.051) for a, b in zip(found, found[1:], strict=False))
    with pytest.raises(ValueError, match="frames: got shape"):
        stream.push(np.zeros((3, 21, 3)))
    with pytest.raises(ValueError, match="NaN"):
        stream.push(np.full((1, 22, 3), np.nan))


def _held(stream):
    """Frames that a stream keeps alive: views count by what they look into."""
    arrays = [value for value in vars(stream).values() if isinstance(value, np.ndarray)]
    return sum(len(array if array.base is None else array.base) for array in arrays)


def test_a_stream_of_two_hours_holds_what_one_of_a_minute_holds(tiny_run, monkeypatch):
    run = load_run(tiny_run)

    def every_four_seconds(joints, offset, batch_size, search):
        ends = [*range(80, len(joints), 80), len(joints)]
        return [Segment(offset + a / 20, offset + b / 20, "", 0.5, ()) for a, b in itertools.pairwise([0, *ends])]

    monkeypatch.setattr(run, "_segments", every_four_seconds)
    stream, second, given, frames = run.stream(), np.zeros((20, 22, 3), np.float32), 0.0, []
    for _ in range(2 * 3600):
        for segment in stream.push(second):
            assert segment.start == pytest.approx(given)
            given = segment.end
        frames.append(_held(stream))
    assert 7200 - given <= 20.0 and max(frames) == max(frames[:60]) <= 20 * 20
    # A push of everything at once leaves no more behind.
    stream = run.stream()
    stream.push(np.zeros((20 * 600, 22, 3), np.float32))
    assert _held(stream) <= 20 * 20


def test_a_stream_leaves_no_tensors_behind(tiny_run, take):
    stream, alive = load_run(tiny_run).stream(max_length=2), []
    joints = np.load(take)
    joints = np.concatenate([joints] * 3)[: 20 * 30]
    for first in range(0, len(joints), 150):
        stream.push(joints[first : first + 150])
        gc.collect()
        alive.append(sum(type(found) is torch.Tensor for found in gc.get_objects()))
    assert alive[-1] == alive[-2]  # both after segments were found
