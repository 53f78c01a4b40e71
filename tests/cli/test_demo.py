"""``m2t-fast demo``: what it prints and leaves behind, and what it refuses before it works for minutes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.cli import demo
from m2t_fast.data.loading import load_data
from m2t_fast.run_folder import load_run

pytest.importorskip("matplotlib", reason="matplotlib is not installed (the plot extra)")


def test_from_nothing_to_a_picture(call: Callable, motion: Callable, tmp_path: Path) -> None:
    output = tmp_path / "deep" / "demo"
    result = call("demo", "--output", output, "--motions", 60, "--epochs", 2, "--seed", 3, "--device", "cpu")
    assert result.code == 0, result
    run = load_run(output)
    assert run.training is not None and run.training["epochs"] == 2 and run.training["seed"] == 3
    records = [json.loads(line) for line in (output / "predictions.jsonl").read_text().splitlines()]
    data = load_data("synthetic", run.settings, seed=3, synthetic_count=60)
    assert [record["id"] for record in records] == data["test"].ids
    shown = [line.split(maxsplit=1)[1] for line in result.out.splitlines() if line.startswith("  caption ")]
    beside = [line.split(maxsplit=1)[1] for line in result.out.splitlines() if line.startswith("  reference ")]
    assert shown == [record["prediction"] for record in records[: demo.SHOWN]]
    assert beside == [record["references"][0] for record in records[: demo.SHOWN]]
    assert "BLEU-1 " in result.out and "BLEU-4 " in result.out
    assert re.search(
        r"\nGate (on the right side for \d+% of [\d,]+ words; body part right|and body parts: no)", result.out
    )
    ends = result.out.splitlines()
    assert next(line for line in ends[-5:] if str(output) in line).startswith(f"Open this      {output}/captions.html")
    picture = output / "attention.png"
    assert picture.read_bytes().startswith(b"\x89PNG") and str(picture) in result.out
    page = output / "captions.html"
    text = page.read_text("utf-8")
    assert str(page) in result.out and text.count('"reference":') == min(24, len(records))
    assert all(json.dumps(record["references"][0]) in text for record in records[:1])
    file = tmp_path / "motion.npy"
    np.save(file, motion(40))
    assert call("caption", output, file).code == 0


def test_the_caption_of_several_actions_that_agrees_best_is_drawn() -> None:
    test = load_data("synthetic", synthetic_count=60)["test"]
    several = [number for number, segments in enumerate(test.segments or []) if len(segments or ()) > 1]
    single = next(number for number in range(test.motions) if number not in several)
    records = [{"prediction": "a person", "score": -1.0, "references": r} for r in test.references]
    records[single]["prediction"] = test.references[single][0]
    records[several[1]]["score"] = -0.5
    assert demo._choose(test, records) == several[1]
    records[several[0]]["prediction"] = test.references[several[0]][0]
    assert demo._choose(test, records) == several[0]
    assert demo._choose(test, [{**record, "prediction": ""} for record in records]) is None


def test_a_folder_that_exists(refused: Callable, tmp_path: Path) -> None:
    assert f"{tmp_path}: output folder exists already" in refused("demo", "--output", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--epochs", 0), "argument --epochs: got '0'"),
        (("--motions", 5), "argument --motions: got '5', expected a whole number of at least 30"),
        (("--seed", -1), "argument --seed: got '-1'"),
        (("--device", "gpu"), "--device: got 'gpu'"),
        (("--backend", "fast"), "unknown backend 'fast'"),
    ],
)
def test_mistaken_options(refused: Callable, tmp_path: Path, argv: tuple, message: str) -> None:
    assert message in refused("demo", "--output", tmp_path / "demo", *argv)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib(refused: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'm2t_fast[plot]'" in refused("demo", "--output", tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []
