"""The badges of README.md, from the package's own metadata and without a network: `python docs/badges.py`."""

from __future__ import annotations

import tomllib
from pathlib import Path

from m2t_fast import __version__

ROOT = Path(__file__).resolve().parents[1]
SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{name}: {value}">
<rect width="{width}" height="20" rx="3" fill="#0072b2"/>
<path d="M3 0h{left}v20H3a3 3 0 0 1-3-3V3a3 3 0 0 1 3-3z" fill="#444"/>
<g fill="#fff" font-family="DejaVu Sans,Verdana,sans-serif" font-size="11">
<text x="7" y="14">{name}</text><text x="{start}" y="14">{value}</text></g></svg>
"""


def badges() -> dict[str, str]:
    """File name -> SVG."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = project["requires-python"].removeprefix(">=") + "+"
    texts = {
        "version": ("m2t_fast", __version__),
        "python": ("Python", python),
        "licence": ("licence", project["license"]),
    }
    made = {}
    for file, (name, value) in texts.items():
        left = 7 * len(name) + 11
        made[f"{file}.svg"] = SVG.format(
            name=name, value=value, left=left, start=left + 8, width=left + 7 * len(value) + 16
        )
    return made


if __name__ == "__main__":
    for file, text in badges().items():
        (ROOT / "docs" / "images" / file).write_text(text, encoding="utf-8")
