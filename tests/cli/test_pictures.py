"""``m2t-fast caption --html --gif --mp4``: the files it writes, and what it refuses before any work."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.cli.pictures import add_arguments
from m2t_fast.interpretation.motion_words import MOTION_WORD


@pytest.fixture
def files(tmp_path: Path, motion: Callable) -> list[Path]:
    folder = tmp_path / "motions"
    (folder / "deep").mkdir(parents=True)
    paths = [folder / "b.npy", folder / "a.npy", folder / "deep" / "b.npy"]
    for number, (path, frames) in enumerate(zip(paths, (30, 1, 12), strict=True)):
        np.save(path, motion(frames, seed=number))
    return paths


def data_of(path: Path) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.DOTALL)
    return json.loads(text)


def test_the_page_says_what_json_says(call: Callable, tiny_run: Path, files: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = call("caption", tiny_run, *files, "--html", page, "--json", "--max-length", 6, "--gate-threshold", 0.25)
    assert result.code == 0, result.err
    described = [json.loads(line) for line in result.out.splitlines()]
    motions = data_of(page)["motions"]
    assert [motion["name"] for motion in motions] == ["b.npy", "a.npy", "deep/b.npy"]
    assert 'value="0.25"' in page.read_text()
    for motion, expected, file in zip(motions, described, files, strict=True):
        kept = np.load(file)[min(1, len(np.load(file)) - 1) :: 2]
        np.testing.assert_allclose(np.reshape(motion["joints"], kept.shape) / 1000, kept, atol=6e-4)
        assert [word["text"] for word in motion["words"]] == [word["word"] for word in expected["words"]]
        for word, other in zip(motion["words"], expected["words"], strict=True):
            assert word["gate"] == pytest.approx(other["gate"], abs=6e-4)
            # The page's time is that of the file, too.
            assert motion["start"] + word["mean"] / motion["fps"] == pytest.approx(other["mean"], abs=2e-3)
            assert word["std"] / motion["fps"] == pytest.approx(other["std"], abs=2e-3)
            window, spatial = np.array(word["window"]), np.reshape(word["spatial"], (-1, 6)) / 1000
            assert len(window) == len(spatial) == len(kept)
            parts = (window[:, None] * spatial).sum(0) / window.sum()
            np.testing.assert_allclose(parts, list(other["parts"].values()), atol=2e-3)


def test_captions_are_the_same_with_and_without(call: Callable, tiny_run: Path, files: list[Path]) -> None:
    plain = call("caption", tiny_run, *files, "--max-length", 6)
    page = files[0].parent / "page.html"
    page.write_text("old")
    assert call("caption", tiny_run, *files, "--max-length", 6, "--html", page) == plain
    assert page.read_text().startswith("<!-- ")
    assert sorted(path.name for path in page.parent.iterdir()) == ["a.npy", "b.npy", "deep", "page.html"]


def test_the_page_names_run_score_and_other_captions(
    call: Callable, tiny_run: Path, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    found = call("caption", tiny_run, *files, "--html", page, "--json", "--max-length", 6)
    described = [json.loads(line) for line in found.out.splitlines()]
    assert f"Run {tiny_run} \u00b7 {files[0]} and 2 more \u00b7 2" in page.read_text() and "MB" not in found.err
    for motion, expected in zip(data_of(page)["motions"], described, strict=True):
        assert motion["score"] == pytest.approx(expected["score"], abs=1e-4)
        assert [text for text, _ in motion["others"]] == [other["caption"] for other in expected["captions"][1:]]
    monkeypatch.setattr("m2t_fast.cli.pictures.LARGE_PAGE", 1e4)
    found = call("caption", tiny_run, *files, "--html", page, "--max-length", 6)
    assert found.code == 0 and f"--html {page}: 3 motions make a page of about 0 MB" in found.err


def test_21_joints(call: Callable, run_of: Callable, motion: Callable, tmp_path: Path) -> None:
    np.save(tmp_path / "kit.npy", motion(40, joints=21))
    assert call("caption", run_of(21), tmp_path / "kit.npy", "--html", tmp_path / "p.html", "--max-length", 4).code == 0
    (found,) = data_of(tmp_path / "p.html")["motions"]
    assert (found["skeleton"], found["fps"], found["start"]) == ("kit", 6.25, 0.08)


def test_animations(call: Callable, tiny_run: Path, files: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the plot extra)")
    gif, mp4 = tmp_path / "a.gif", tmp_path / "a.mp4"
    films = ["--mp4", mp4] if shutil.which("ffmpeg") else []
    result = call("caption", tiny_run, files[2], "--gif", gif, *films, "--max-length", 4)
    assert result.code == 0 and len(result.out.splitlines()) == 1
    assert gif.read_bytes().startswith(b"GIF89a")
    assert not films or mp4.read_bytes()[4:8] == b"ftyp"


def test_refused_before_any_work(
    refused: Callable, tiny_run: Path, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m2t_fast.run_folder.load_run", lambda *_: pytest.fail("work has begun"))
    nowhere = tmp_path / "nowhere" / "page.html"
    assert f"{nowhere}: cannot write: No such file" in refused("caption", tiny_run, files[0], "--html", nowhere)
    assert f"{tmp_path}: cannot write: it is a folder" in refused("caption", tiny_run, files[0], "--html", tmp_path)
    error = refused("caption", tiny_run, *files, "--html", files[1])
    assert f"--html {files[1]}: is also {files[1]}, expected another file" in error
    error = refused("caption", tiny_run, tmp_path / "motions", "--html", files[2])  # of a folder, too
    assert f"is also {files[2]}" in error
    page = tmp_path / "page.html"
    error = refused("caption", tiny_run, *files, "--html", page, "--gif", tmp_path / "motions" / ".." / "page.html")
    assert "page.html: is also the file of --html" in error
    error = refused("caption", tiny_run, *files, "--html", page, "--gate-threshold", 2)
    assert "--gate-threshold" in error and "at most 1" in error
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'm2t_fast[plot]'" in refused("caption", tiny_run, *files, "--gif", tmp_path / "a.gif")
    assert [path.name for path in tmp_path.iterdir()] == ["motions"]


def test_without_ffmpeg(
    refused: Callable, tiny_run: Path, files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the plot extra)")
    monkeypatch.setenv("PATH", "")
    error = refused("caption", tiny_run, *files, "--html", tmp_path / "page.html", "--mp4", tmp_path / "a.mp4")
    assert "an MP4 needs the program ffmpeg, which is not installed" in error
    assert [path.name for path in tmp_path.iterdir()] == ["motions"]


def test_the_threshold_is_the_one_of_all_pictures() -> None:
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert parser.parse_args([]).gate_threshold == MOTION_WORD
