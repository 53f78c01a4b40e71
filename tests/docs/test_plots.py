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


def test_a_panel_has_a_line_for_each_way_through_all_its_points() -> None:
    module = plots()
    drawn = module.panel("t", {"cpu": [(1, 2.0), (10, 20.0), (100, 200.0)], "plain": [(1, 4.0), (100, 400.0)]}, 0, 0)
    assert drawn.count("<circle") == 4 and drawn.count('stroke-width="2"') == 2
    assert "M0.0" in drawn and "L280.0" in drawn and drawn.count("L140.0") == 1
