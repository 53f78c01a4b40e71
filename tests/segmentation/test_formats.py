"""Segments as subtitles, tables and annotations: other programs' parsers read what was written."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess

import pytest

from m2t_fast.errors import UserError
from m2t_fast.segmentation import formats
from m2t_fast.segmentation.formats import Line, write

LINES = [
    Line(0.0, 3.25, "a person walks", 0.91),
    Line(3.25, 3661.5, 'a man, with "care", waves', 0.5),
]


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_subtitles_are_read_back(kind, tmp_path):
    pysubs2 = pytest.importorskip("pysubs2", reason="pysubs2 is not installed (the subtitles extra)")
    write(kind, tmp_path / "take", LINES)
    found = pysubs2.load(str(tmp_path / "take"))
    assert [(e.start, e.end, e.plaintext) for e in found] == [(1000 * s, 1000 * e, text) for s, e, text, _ in LINES]


@pytest.mark.parametrize(("kind", "codec"), [("srt", "subrip"), ("vtt", "webvtt")])
@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="ffprobe (of ffmpeg) is not installed")
def test_a_player_finds_every_subtitle(kind, codec, tmp_path):
    pytest.importorskip("pysubs2", reason="pysubs2 is not installed (the subtitles extra)")
    path = tmp_path / f"take.{kind}"
    write(kind, path, LINES)
    show = ("ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", str(path))
    found = json.loads(subprocess.run(show, capture_output=True, check=True, text=True).stdout)
    assert [stream["codec_name"] for stream in found["streams"]] == [codec]
    times = [(float(each["pts_time"]), float(each["duration_time"])) for each in found["packets"]]
    assert times == [(line.start, line.end - line.start) for line in LINES]


def test_a_table_is_read_back(tmp_path):
    write("csv", tmp_path / "take.csv", LINES)
    with open(tmp_path / "take.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(float(r["start"]), float(r["end"]), r["caption"], float(r["confidence"])) for r in rows] == LINES


def test_annotations_of_elan_are_read_back(tmp_path):
    pympi = pytest.importorskip("pympi", reason="pympi-ling is not installed (the subtitles extra)")
    write("eaf", tmp_path / "take.eaf", LINES, "take.bvh")
    found = pympi.Elan.Eaf(str(tmp_path / "take.eaf"))
    assert found.get_annotation_data_for_tier("captions") == [(1000 * s, 1000 * e, text) for s, e, text, _ in LINES]


def test_an_existing_file_is_replaced_and_a_missing_library_named(tmp_path, monkeypatch):
    (tmp_path / "take.csv").write_text("old")
    write("csv", tmp_path / "take.csv", [])
    assert (tmp_path / "take.csv").read_bytes() == b"start,end,caption,confidence\r\n"
    monkeypatch.setattr(formats, "_LIBRARIES", {"srt": "no_such_library"})
    with pytest.raises(
        UserError, match=r"--srt needs the package no_such_library: pip install 'm2t_fast\[subtitles\]'"
    ):
        formats.require("srt")
    with pytest.raises(ValueError, match="kind"):
        write("doc", tmp_path / "x", LINES)
