"""`make docs`: the gallery page shows what interpret wrote, and the documents tell the commands of the Makefile."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def computed(tmp_path: Path) -> Path:
    """What `make docs` computes before the page is made, with pictures of one colour each."""
    image = pytest.importorskip("PIL.Image", reason="Pillow, which comes with matplotlib, is not installed")
    folder = tmp_path / "computed"
    samples = [f"{kind}/{sample}" for kind in ("windows", "maps", "fine_grained") for sample in ("a", "b")]
    for run, names in (
        ("guided", ["gate_density", "part_histograms", "trajectory", *samples]),
        ("unguided", samples[:0]),
    ):
        for name in names or ["gate_density", "part_histograms", "trajectory"]:
            path = folder / "generated" / run / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.new("RGBA", (4, 4), (len(name), 0, 0, 255)).save(path)
    for sample in ("a", "b"):
        content = {"caption": f"caption {sample}", "text": f"text {sample}"}
        (folder / "generated" / "guided" / "fine_grained" / f"{sample}.json").write_text(json.dumps(content))
    for name in ("reference", "generated"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "localisation.md").write_text(f"about\n\n| {name} |\n| --- |\n")
    return folder


def test_the_page_and_the_tables(computed: Path, tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "docs" / "gallery.py")
    assert spec is not None and spec.loader is not None
    gallery = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gallery)
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(ROOT / "docs" / "interpretability.md", docs)
    for _ in range(2):  # a second time over the first
        gallery.main(computed, docs)
        page = (docs / "gallery.md").read_text(encoding="utf-8")
        assert "caption a\n" in page and "> text b\n" in page
        pictures = re.findall(r"\((gallery/[^)]+)\)", page)
        assert sorted(pictures) == sorted(f"gallery/{path.name}" for path in (docs / "gallery").iterdir())
        text = (docs / "interpretability.md").read_text(encoding="utf-8")
        for name in ("reference", "generated"):
            assert f"<!-- {name}, by make docs -->\n| {name} |\n| --- |\n<!-- end of {name} -->" in text


def test_the_committed_gallery_is_complete_and_small() -> None:
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    pictures = [ROOT / "docs" / link for link in re.findall(r"\((gallery/[^)]+)\)", page)]
    assert np.load(ROOT / "docs" / "gallery" / "motions.npz")["joints_11"].shape[1:] == (21, 3)
    assert len(pictures) == 9 and sum(path.stat().st_size for path in pictures) < 1_000_000


def test_the_commands_are_those_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    text = (ROOT / "docs" / "interpretability.md").read_text(encoding="utf-8")
    train = re.search(r"^docs: TRAIN = (.*)$", makefile, re.MULTILINE)
    assert train is not None and f'TRAIN="{train[1]}"' in text
    for options in ("--lambda-spat 0 --lambda-adapt 0", "--words reference --figures none", "--beam-size 2 --samples"):
        assert options in makefile and options in text
    samples = re.search(r"--samples (test_\d+ test_\d+)", makefile)
    assert samples is not None and samples[0] in text
