"""The programs of examples/ run, each with what it asks for."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.cli import main
from m2t_fast.data import synthetic

ROOT = Path(__file__).resolve().parents[2]


def program(name: str):
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder, barely trained."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "DEFAULT_COUNT", {"train": 40, "val": 4, "test": 6})
        assert main(["train", "--data", "synthetic", "--epochs", "1", "--output", str(folder)]) == 0
    return folder


def test_every_program_is_tested():
    tested = Path(__file__).read_text()
    names = [path.stem for path in (ROOT / "examples").glob("*.py")]
    assert len(names) == 6 and all(f'program("{name}")' in tested for name in names)


def test_fused_attention(capsys):
    program("fused_attention").main()
    assert capsys.readouterr().out.startswith("pooled (4, 3, 16) gradient")


def test_additive_attention(capsys):
    program("additive_attention").main()
    assert capsys.readouterr().out == "context (3, 5, 16) each query's weights sum to 1.00\n"


def test_guided_training(capsys):
    program("guided_training").main(steps=4)
    totals = [float(line.rsplit(" ", 1)[1]) for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert len(totals) == 4 and totals[-1] < totals[0]


def test_caption_folder(run, tmp_path, capsys):
    for number in range(2):
        motion = synthetic.generate(3, seed=number, joints=22).splits["test"][0]
        np.save(tmp_path / f"take{number}.npy", motion.joints)
    program("caption_folder").main(str(run), str(tmp_path))
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()[:2]] == ["take0.npy", "take1.npy"]
    assert (tmp_path / "captions.html").exists()


def test_fine_tuning(run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(synthetic, "DEFAULT_COUNT", {"train": 40, "val": 4, "test": 6})
    shutil.copytree(run, tmp_path / "first")
    monkeypatch.chdir(tmp_path)
    program("fine_tuning").main("first", "synthetic", "second", "1")
    assert (tmp_path / "second" / "model.safetensors").exists() and "second" in capsys.readouterr().out


def test_custom_skeleton(run):
    custom = program("custom_skeleton")
    names = [*custom.YOURS[::-1], "L_Thumb"]
    joints = np.random.default_rng(0).normal(size=(5, 23, 3))
    found = custom.reorder(joints, names)
    assert found.shape == (5, 22, 3)
    np.testing.assert_array_equal(found[:, 0, 1], joints[:, 21, 2] / 100)  # the pelvis is ours first; Y is their Z
    custom.main(str(run))


def test_the_notebook(run, tmp_path, monkeypatch, capsys):
    shutil.copytree(run, tmp_path / "runs" / "first")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "examples" / "captioning.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 4 and not any(cell.get("outputs") for cell in notebook["cells"])
    namespace = {}
    for number, cell in enumerate(cells):
        exec(compile(cell, f"cell {number}", "exec"), namespace)
    assert "<svg" in namespace["caption"]._repr_html_() or "<iframe" in namespace["caption"]._repr_html_()
    assert "gate" in capsys.readouterr().out and (tmp_path / "caption.html").exists()


def test_the_motion_is_one_that_synthetic_makes():
    """Nobody's capture, so anybody may have it; 95 frames that a model trained on ``synthetic`` has not seen."""
    motion = synthetic.generate(24, seed=12, joints=21).splits["test"][2]
    np.testing.assert_allclose(np.load(ROOT / "examples" / "motion.npy"), motion.joints, atol=1e-5)
    assert motion.captions[0].text == "a person stumbles forward and then walks in a clockwise circle."
