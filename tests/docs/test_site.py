"""The documentation site builds without a warning, and every page of docs/ is in it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("furo", reason="furo is not installed (the docs extra)")
    pytest.importorskip("myst_parser", reason="myst-parser is not installed (the docs extra)")
    build = pytest.importorskip("sphinx.cmd.build", reason="sphinx is not installed (the docs extra)")
    folder = tmp_path_factory.mktemp("site")
    assert build.main(["-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(folder)]) == 0
    return folder


def test_the_site_builds_without_a_warning(site):
    assert 200_000 < (site / "motions.html").stat().st_size < 1_500_000
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS)).with_suffix(".html").exists(), page


def test_the_theme_s_faults_are_mended(site):
    """Each of the changes still has something to change: a newer theme may need others."""
    sys.path.insert(0, str(DOCS))
    try:
        import accessible
    finally:
        sys.path.remove(str(DOCS))
    text = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.html"))
    for before, after in accessible.CHANGES:
        assert after in text and before not in text.replace(after, ""), before
    page = (site / "index.html").read_text(encoding="utf-8")
    assert accessible.mend(page) == page


AXE = os.environ.get("AXE_CORE")


@pytest.mark.skipif(AXE is None, reason="AXE_CORE does not name axe.min.js (npm pack axe-core)")
@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="no chromedriver")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_axe_finds_nothing(site, size, theme):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (the dev extra)")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--allow-file-access-from-files"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    found = []
    try:
        driver.set_window_size(*size)
        for page in sorted(site.rglob("*.html")):
            driver.get(page.as_uri())
            driver.execute_script(f"document.body.dataset.theme = '{theme}'")
            driver.execute_script(Path(AXE or "").read_text(encoding="utf-8"))
            violations = driver.execute_async_script(
                "const done = arguments[0]; axe.run().then((result) => done(result.violations))"
            )
            found += [(page.name, v["id"], v["nodes"][0]["html"]) for v in violations]
            if driver.execute_script("return document.documentElement.scrollWidth > window.innerWidth + 1"):
                found.append((page.name, "scrolls sideways", ""))
    finally:
        driver.quit()
    assert found == []


def test_every_page_is_in_the_table_of_contents():
    index = (DOCS / "index.md").read_text()
    pages = {str(page.relative_to(DOCS).with_suffix("")) for page in DOCS.rglob("*.md")} - {"index"}
    listed = {line.strip() for line in index.splitlines()}
    assert pages <= listed, pages - listed
