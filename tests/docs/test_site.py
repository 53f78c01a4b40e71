"""The documentation site builds without a warning, and every page of docs/ is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("furo", reason="furo is not installed (the docs extra)")
    pytest.importorskip("myst_parser", reason="myst-parser is not installed (the docs extra)")
    build = pytest.importorskip("sphinx.cmd.build", reason="sphinx is not installed (the docs extra)")
    assert build.main(["-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(tmp_path / "site")]) == 0
    assert 200_000 < (tmp_path / "site" / "motions.html").stat().st_size < 1_500_000
    for page in DOCS.rglob("*.md"):
        assert (tmp_path / "site" / page.relative_to(DOCS)).with_suffix(".html").exists(), page


def test_every_page_is_in_the_table_of_contents():
    index = (DOCS / "index.md").read_text()
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md")} - {"index"}
    listed = {line.strip() for line in index.splitlines()}
    assert pages <= listed, pages - listed
