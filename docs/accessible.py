"""Mends in the built pages what the site's theme leaves out for people with a keyboard or a screen reader.

axe-core found each of these; `tests/docs/test_site.py` runs it where it is at hand.
"""

from __future__ import annotations

from pathlib import Path

CHANGES = (
    # Captions of the navigation have the role of a heading without a level.
    ('<p class="caption" role="heading">', '<p class="caption" role="heading" aria-level="2">'),
    # Two asides on a page need names to be told apart.
    ('<aside class="sidebar-drawer">', '<aside class="sidebar-drawer" aria-label="Site">'),
    ('<aside class="toc-drawer">', '<aside class="toc-drawer" aria-label="On this page">'),
    ('<aside class="toc-drawer no-toc">', '<aside class="toc-drawer no-toc" aria-label="On this page">'),
    # What scrolls sideways must be reached by the keyboard.
    ('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'),
    ("<pre>", '<pre tabindex="0">'),
    # The corner of a table is no heading.
    ('<th class="head"><p></p></th>', "<td></td>"),
    # The search has no title.
    ('<div id="search-results">', '<h1>Search</h1>\n<div id="search-results">'),
)


def mend(html: str) -> str:
    """A page with all of :data:`CHANGES`; a mended page stays as it is."""
    for before, after in CHANGES:
        if after not in html:
            html = html.replace(before, after)
    return html


def mend_site(folder: Path) -> None:
    """Every page that the theme made in ``folder``."""
    for path in folder.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        if (mended := mend(html)) != html:
            path.write_text(mended, encoding="utf-8")
