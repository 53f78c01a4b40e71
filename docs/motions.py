"""Twelve captioned motions as one page: `python docs/motions.py RUN` writes their data, `make site` makes the page."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np

from m2t_fast import load_run
from m2t_fast.data import synthetic
from m2t_fast.interpretation import CaptionedMotion, save_page

DATA = Path(__file__).parent / "gallery" / "motions.npz"
ABOUT = "Generated motions that the model was not trained on, captioned by the guided run of make docs"
COUNT = 12
ARRAYS = ("joints", "gate", "window", "spatial", "mean", "std")


def choose(run: str) -> list[CaptionedMotion]:
    """The first motion of each of twelve sequences of actions, in the generator's order, whatever the caption."""
    opened, seen, chosen = load_run(run), set(), []
    made = synthetic.generate({"train": 1, "val": 1, "test": 60}, seed=1, joints=opened.skeleton.joints)
    for motion in made.splits["test"]:
        actions = tuple(segment.action for segment in motion.segments or ())
        if len(chosen) < COUNT and actions not in seen and len(motion.joints) >= 40:
            seen.add(actions)
            found = opened.caption(motion.joints, fps=opened.skeleton.fps).motion
            named = {"name": " and ".join(actions), "reference": motion.captions[0].text}
            chosen.append(CaptionedMotion(**{**_fields(found), **named}))
    return chosen


def _fields(motion: CaptionedMotion) -> dict[str, object]:
    return {field.name: getattr(motion, field.name) for field in fields(motion)}


def write(motions: list[CaptionedMotion], path: Path = DATA) -> None:
    """Joints to a millimetre, attention to a thousandth, as the page has them."""
    arrays, rest = {}, []
    for number, motion in enumerate(motions):
        values = _fields(motion)
        for name in ARRAYS:
            arrays[f"{name}_{number}"] = np.round(np.asarray(values.pop(name), dtype=np.float64), 3).astype(np.float32)
        rest.append(values)
    np.savez_compressed(path, about=json.dumps(rest), **arrays)


def read(path: Path = DATA) -> list[CaptionedMotion]:
    """The motions that :func:`write` wrote."""
    with np.load(path) as file:
        motions = []
        for number, values in enumerate(json.loads(str(file["about"]))):
            values["others"] = tuple((text, score) for text, score in values["others"])
            motions.append(CaptionedMotion(**values, **{name: file[f"{name}_{number}"] for name in ARRAYS}))
    return motions


def page(path: Path) -> Path:
    """The page, into the built site."""
    return save_page(path, read(), about=ABOUT)


if __name__ == "__main__":
    write(choose(sys.argv[1]))
