"""The plots of docs/benchmarks.md are those of the files in benchmarks/results."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from xml.etree import ElementTree

DOCS = Path(__file__).resolve().parents[2] / "docs"


def plots():
    spec = importlib.util.spec_from_file_location("plots", DOCS / "plots.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pictures_are_of_the_files() -> None:
    made, page = plots().main(), (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    assert "train_cpu.svg" in made
    for file, text in made.items():
        assert (DOCS / "images" / file).read_text(encoding="utf-8") == text, "python docs/plots.py draws them anew"
        assert f"(images/{file})" in page
        ElementTree.fromstring(text)


def test_bars_have_whiskers_where_there_is_a_range() -> None:
    module = plots()
    plain = module.bars("t", [[module.Bar("a", "ours", 2.0)]], "ms")
    ranged = module.bars("t", [[module.Bar("a", "ours", 2.0, 1.5, 3.0), module.Bar("<b>", "loop", 40.0)]], "ms")
    assert "<path" not in plain and ranged.count("<path") == 1 and "&lt;b&gt;" in ranged
