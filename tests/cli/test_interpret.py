"""``m2t-fast interpret``: its files, its table, several runs, and every input it refuses."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from m2t_fast.cli import interpret, main
from m2t_fast.data import synthetic
from m2t_fast.interpretation import gallery
from m2t_fast.run_folder import WEIGHTS, load_run

pytest.importorskip("matplotlib", reason="matplotlib is not installed (the plot extra)")


@pytest.fixture(scope="module", autouse=True)
def little_data() -> Iterator[None]:
    """Little synthetic data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "DEFAULT_COUNT", {"train": 40, "val": 2, "test": 6})
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, little_data: None) -> tuple[Path, Path]:
    """Two runs trained for two epochs, with and without guidance."""
    folder = tmp_path_factory.mktemp("runs")
    common = ["train", "--data", "synthetic", "--preset", "kit", "--epochs", "2", "--quiet", "--learning-rate", "0.003"]
    assert main([*common, "--output", str(folder / "guided")]) == 0
    assert main([*common, "--output", str(folder / "free"), "--lambda-spat", "0", "--lambda-adapt", "0"]) == 0
    return folder / "guided", folder / "free"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_all_figures(call: Callable, runs: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "figures"
    result = call(
        "interpret", runs[0], "--data", "synthetic", "--output", output, "--words", "reference", "--samples", 1
    )
    assert (result.code, result.err) == (0, "")
    assert "| lambda_spat | 2 |" in result.out and result.out.endswith(f"{output}\n")
    expected = {f"{name}.{suffix}" for name in gallery.SPLIT_FIGURES for suffix in ("png", "pdf", "json")}
    expected |= {f"{n}/test_00003.{s}" for n in ("windows", "fine_grained") for s in ("png", "pdf", "json")}
    expected |= {f"maps/test_00003.{s}" for s in ("png", "pdf", "npz")} | {"localisation.md", "localisation.json"}
    assert files(output) == expected
    table = json.loads((output / "localisation.json").read_text())
    assert (table["data"], table["words"], table["beam_size"]) == ("synthetic", "reference", None)
    (measured,) = table["runs"]
    assert measured["motions"] == 6
    assert measured["run"] == "guided" and measured["lambda_adapt"] == 3.0 and measured["named"] == 1.0
    gates = json.loads((output / "gate_density.json").read_text())
    assert gates["motion"]["all"]["count"] == measured["gate"]["motion_words"]
    arrays = np.load(output / "maps" / "test_00003.npz")
    fine = json.loads((output / "fine_grained" / "test_00003.json").read_text())
    assert [entry["word"] for entry in fine["words"]] == arrays["words"].tolist() == fine["references"][0].split()
    assert [entry["gate"] for entry in fine["words"]] == pytest.approx(arrays["gate"].tolist())


def test_several_runs_make_one_table(call: Callable, runs: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "both"
    options = ("--figures", "gate_density,maps", "--samples", "test_00002", "--beam-size", 2)
    result = call("interpret", *runs, runs[0], "--data", "synthetic", "--output", output, *options)
    assert (result.code, result.err) == (0, "")
    names = ("guided", "free", "guided-2")
    found = files(output)
    assert {f"{name}/gate_density.png" for name in names} < found and "part_histograms.png" not in str(found)
    assert all(path.split("/")[0] in {*names, "localisation.md", "localisation.json"} for path in found)
    table = json.loads((output / "localisation.json").read_text())
    assert [(run["run"], run["lambda_spat"]) for run in table["runs"]] == [
        ("guided", 2.0),
        ("free", 0.0),
        ("guided-2", 2.0),
    ]
    assert table["runs"][0] == {**table["runs"][2], "run": "guided"}
    assert "| | guided | free | guided-2 |" in result.out and table["beam_size"] == 2


def test_data_without_segments(call: Callable, tiny_run: Path, data_of: Callable[[int], Path], tmp_path: Path) -> None:
    output = tmp_path / "out"
    options = ("--samples", 1, "--words", "reference", "--stems", "Walks", "swims")
    result = call("interpret", tiny_run, "--data", data_of(22), "--output", output, *options)
    assert (result.code, result.err) == (0, f"m2t-fast: --stems: no caption of {tiny_run} has 'swims'\n")
    assert "only the gate is measured" in result.out and "| lambda_spat | – |" in result.out
    assert json.loads((output / "gate_density.json").read_text())["shown"] == ["walk", "swim"]


def test_only_the_table(
    call: Callable, runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # no matplotlib is needed for it
    output = tmp_path / "table"
    options = ("--figures", "none", "--width", 2, "--times", "active")
    assert call("interpret", *runs, "--data", "synthetic", "--output", output, *options).code == 0
    assert files(output) == {"localisation.md", "localisation.json"}
    table = json.loads((output / "localisation.json").read_text())
    assert (table["width"], table["times"]) == (2.0, "active")


def test_mistakes_leave_nothing(
    refused: Callable, runs: tuple[Path, Path], data_of: Callable[[int], Path], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    common = ("--data", "synthetic", "--output", output)
    own = (runs[0], *common)
    assert "--figures: unknown figure 'map', expected all, none or some of" in refused(
        "interpret", *own, "--figures", "map"
    )
    assert "--figures: unknown figure ','" in refused("interpret", *own, "--figures", ",")
    assert "--force-gate: captions that are read keep" in refused(
        "interpret", *own, "--words", "reference", "--force-gate", 1
    )
    assert "expected none alone" in refused("interpret", *own, "--figures", "none,maps")
    assert "'m9' is not an id of the test split" in refused("interpret", *own, "--samples", "m9")
    assert "expected a number above 0" in refused("interpret", *own, "--width", 0)
    assert "no such run folder" in refused("interpret", runs[0], tmp_path / "nowhere", *common)
    assert "motions have 22 joints, but" in refused("interpret", runs[0], "--data", data_of(22), "--output", output)
    assert list(tmp_path.iterdir()) == []
    output.mkdir()
    assert "output folder exists already" in refused("interpret", *own)


def test_weights_that_are_not_numbers(refused: Callable, runs: tuple[Path, Path], tmp_path: Path) -> None:
    broken = Path(shutil.copytree(runs[0], tmp_path / "run"))
    model = load_run(broken).model
    options = ("--data", "synthetic", "--words", "reference", "--output", tmp_path / "out")
    for factor, message in (
        (math.nan, "has values that are not finite"),
        (1e30, "not finite: its weights are damaged"),
    ):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(factor)
        save_file(model.state_dict(), broken / WEIGHTS)  # our own writer refuses what is not finite
        assert message in refused("interpret", broken, *options)
        model = load_run(runs[0]).model
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_without_matplotlib(
    refused: Callable, runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    error = refused("interpret", runs[0], "--data", "synthetic", "--output", tmp_path / "out")
    assert "pip install 'm2t_fast[plot]'" in error
    assert list(tmp_path.iterdir()) == []


def test_the_names_of_figures_are_the_gallery_s() -> None:
    assert interpret.FIGURES == gallery.FIGURES
