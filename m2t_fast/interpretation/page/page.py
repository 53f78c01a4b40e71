"""Fills the page's template with motions, captions and attention: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from m2t_fast._version import __version__
from m2t_fast.files import write_bytes
from m2t_fast.interpretation.captioned import CaptionedMotion
from m2t_fast.interpretation.motion_words import FUNCTION_WORDS, MOTION_WORD
from m2t_fast.skeleton import PART_NAMES, Skeleton

SCRIPTS: tuple[str, ...] = ("model.js", "stage.js", "timeline.js", "gallery.js", "main.js")
"""In this order they make one script."""

TITLE_LENGTH = 80


def render_page(
    motions: Sequence[CaptionedMotion],
    threshold: float = MOTION_WORD,
    part_names: Sequence[str] = PART_NAMES,
    about: str = "",
) -> str:
    """The page as text. Several motions make a gallery with a filter by word or name.

    Positions are rounded to millimetres and attention to thousandths, so that a motion of 10 s takes about 70 kB. The
    page loads nothing: its content security policy allows its own script and style, by their hashes, and no address.

    Args:
        motions: at least one.
        threshold: words with at least this gate (0 to 1) are shown as motion words; the reader can change it.
        part_names: names of the P parts.
        about: where the captions come from: run, data, date; shown below the title.

    Raises:
        ValueError: no motions, a threshold out of range, or not one name per part.
    """
    if len(motions) == 0:
        raise ValueError("motions: got none, expected at least one motion")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: got {threshold!r}, expected a number from 0 to 1")
    if len(part_names) != len(PART_NAMES):
        raise ValueError(f"part_names: got {len(part_names)} names, expected {len(PART_NAMES)}")
    template = files("m2t_fast.interpretation.page")
    style = template.joinpath("page.css").read_text("utf-8")
    parts = "\n".join(template.joinpath(name).read_text("utf-8") for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{parts}}})();\n'
    skeletons = {motion.skeleton.name: motion.skeleton for motion in motions}
    data = {
        "functionWords": sorted(FUNCTION_WORDS),
        "parts": [name.replace("_", " ") for name in part_names],
        "skeletons": {name: _skeleton(skeleton) for name, skeleton in skeletons.items()},
        "motions": [_motion(motion) for motion in motions],
    }
    title = motions[0].caption or motions[0].name
    if len(motions) > 1:
        title = f"{len(motions)} captioned motions"
    elif len(title) > TITLE_LENGTH:
        title = title[: TITLE_LENGTH - 1] + "\u2026"
    filled = {
        "version": __version__,
        "title": html.escape(title),
        "about": html.escape(about),
        "threshold": f"{threshold:.2f}",
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
        "captions": "".join(f"<li>{html.escape(f'{m.name}: {_told(m)}')}</li>" for m in motions),
        "data": _json(data),
    }
    # One pass: what is filled in is not looked at again, so a caption may hold braces.
    frame = template.joinpath("page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: filled[match[1]], frame)


def save_page(
    path: str | Path, motions: Sequence[CaptionedMotion], threshold: float = MOTION_WORD, about: str = ""
) -> Path:
    """Write :func:`render_page` into a file; an existing file is replaced as a whole.

    Raises:
        ValueError: as :func:`render_page`.
        UserError: the file cannot be written.
    """
    path = Path(path)
    page = render_page(motions, threshold, about=about)
    write_bytes(path, page.encode("utf-8", "replace"))  # replace: the name of a file may hold bytes that are no text
    return path


def page_bytes(motions: Sequence[CaptionedMotion]) -> int:
    """About how many bytes :func:`render_page` will need, extrapolated from a few motions."""
    some = motions[:: max(1, len(motions) // 16)]
    numbers = sum(m.joints.size + m.window.size + m.spatial.size for m in motions)
    written = sum(len(_json(_motion(motion))) for motion in some)
    return round(written * numbers / sum(m.joints.size + m.window.size + m.spatial.size for m in some))


def _told(motion: CaptionedMotion) -> str:
    """The text of a motion, in one line: its caption, or those of its segments."""
    return "; ".join(text for _, _, text in motion.segments) or motion.caption


def _motion(motion: CaptionedMotion) -> dict[str, Any]:
    """What the scripts read about a motion; model.js has the inverse."""
    return {
        "name": motion.name,
        "skeleton": motion.skeleton.name,
        "fps": motion.fps,
        "start": round(motion.start, 3),
        "reference": motion.reference,
        "notes": motion.notes,
        "doubts": list(motion.doubts),
        "score": None if motion.score is None else round(float(motion.score), 4),
        "segments": [[round(float(start), 2), round(float(end), 2), text] for start, end, text in motion.segments],
        "others": [[text, round(float(score), 4)] for text, score in motion.others],
        "joints": _thousandths(motion.joints),
        "words": [
            {
                "text": word,
                "gate": round(float(motion.gate[number]), 3),
                "mean": round(float(motion.mean[number]), 2),
                "std": round(float(motion.std[number]), 2),
                "window": _thousandths(motion.window[number]),
                "spatial": _thousandths(motion.spatial[number]),
            }
            for number, word in enumerate(motion.words)
        ],
    }


def _skeleton(skeleton: Skeleton) -> dict[str, Any]:
    """What the drawing needs of a skeleton."""
    return {
        "joints": skeleton.joints,
        "bones": skeleton.bones,
        "partOf": skeleton.part_of,
        "head": skeleton.head,
        "hips": skeleton.hips,
    }


def _thousandths(values: np.ndarray) -> list[int]:
    """Flat, times 1000, as whole numbers."""
    return [int(value) for value in np.rint(values * 1000.0).ravel().tolist()]


def _json(value: Any) -> str:
    """JSON that nothing can end early inside a script element: no <, > or & in it, and ASCII alone."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"
