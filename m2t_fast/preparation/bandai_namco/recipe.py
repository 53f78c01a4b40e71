"""The whole recipe: which takes, which clips of them, their splits and captions, and the data folder they become."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2t_fast.data.folder import SPLITS
from m2t_fast.data.raw import RawMotion, Segment
from m2t_fast.errors import UserError
from m2t_fast.preparation.bandai_namco.captions import captions_of
from m2t_fast.preparation.bandai_namco.clips import (
    Clip,
    are_different,
    can_follow,
    clip_of,
    is_usable,
    join,
    misfit,
    window_to_join,
    windows_of,
)
from m2t_fast.preparation.bandai_namco.contents import KINDS, RARE
from m2t_fast.preparation.bandai_namco.licence import write_notice
from m2t_fast.preparation.bandai_namco.takes import Take, find_files, read_take
from m2t_fast.preparation.folder import write_folder
from m2t_fast.preparation.mirror import PREFIX, mirror_motion
from m2t_fast.progress import progress
from m2t_fast.reading import read_json

_PIECES, _SPARE = 90, 30  # clips of each content of data set 2, and takes besides that only joined clips use
_TEST, _VAL = 0.15, 0.05
_JOINED = 0.517  # joined clips for each clip of one take
_LONG, _MIRRORED, _LONG_MIRRORED = 105, 0.46, 0.18  # shares of short and of long clips that are mirrored as well
_TRIES, _WORN = 5, 0.02  # pairs tried for a joined clip; metres of misfit that another use of a take counts as
_PATIENCE = 40  # draws for each joined clip, of which most are of contents that do not go together

# Contents of one or two takes: training sees every one of them, and of two the other is for the test.
_SETTLED: dict[str, str] = {
    **dict.fromkeys(("kick_normal_001", "respond_normal_001", "dance-short_normal_001"), "train"),
    **dict.fromkeys(("call_normal_001", "call_normal_002", "punch_normal_001", "slash_normal_001"), "train"),
    **dict.fromkeys(("punch_normal_002", "slash_normal_002"), "test"),
}


@dataclass(frozen=True)
class Made:
    """What :func:`prepare_bandai_namco` made: motions per split, those by kind of clip ("single", "turn", "multi" and
    "mirrored"), takes used, hours, and a line for each file that was left out."""

    counts: dict[str, int]
    kinds: dict[str, int]
    takes: int
    hours: float
    left_out: list[str]


def prepare_bandai_namco(clone: str | Path, folder: str | Path, seed: int = 0, shown: bool = True) -> Made:
    """Turns a clone of the Bandai-Namco-Research-Motiondataset into a data folder of captioned clips.

    Takes that are unreadable, shorter than 1.2 s or not what their label says are left out. All others of data set 1,
    and of data set 2 about 90 of each content, the styles in turn, become clips of 2 to 10 s; about half as many clips
    are two takes joined; about a third of all are added mirrored as well. No take is in two splits. A take gives the
    same clip whatever else the clone holds; captions and choices are drawn by ``seed``.

    Args:
        clone: the folder that ``git clone`` made, whole or in part.
        folder: an existing, empty folder.
        shown: show progress on stderr.

    Raises:
        UserError: there is no usable take.
    """
    folder = Path(folder)
    takes, left_out = _read(find_files(clone), shown)
    if not takes:
        raise UserError(f"{clone}: no usable motion; the first that was left out: {left_out[0]}")
    base, spare = _choose(takes, random.Random(f"{seed} takes"))
    split_of = _splits([*base, *spare], random.Random(f"{seed} splits"))
    clips = [(split_of[take.name], clip) for take in base for w in windows_of(take) if (clip := clip_of(take, w))]
    wanted = _JOINED * len(clips)
    for split, share in zip(SPLITS, (1.0 - _TEST - _VAL, _VAL, _TEST), strict=True):
        pool = [take for take in (*base, *spare) if split_of[take.name] == split]
        joined = _joined(pool, round(share * wanted), random.Random(f"{seed} joined {split}"))
        clips += [(split, clip) for clip in joined]
    motions: dict[str, list[RawMotion]] = {split: [] for split in SPLITS}
    about: dict[str, dict[str, Any]] = {}
    for number, (split, clip) in enumerate(progress(clips, "writing captions", "clips", shown)):
        motion_id = f"{number:06d}"
        dice = random.Random(f"{seed} clip {motion_id}")
        motions[split].append(_motion(motion_id, clip, dice))
        about[motion_id] = _about(clip, split, mirrored=False)
        if _is_mirrored(clip, dice):
            motions[split].append(mirror_motion(motions[split][-1]))
            about[PREFIX + motion_id] = _about(clip, split, mirrored=True)
    counts = write_folder(folder, motions)
    _describe(folder / "segments.json", about)
    write_notice(folder, Path(clone))
    kinds = Counter(clip.kind for _, clip in clips)
    kinds["mirrored"] = sum(entry["mirrored"] for entry in about.values())
    frames = sum(len(motion.joints) for found in motions.values() for motion in found)
    used = {name for _, clip in clips for name in clip.takes}
    return Made(counts, dict(kinds), len(used), frames / 20.0 / 3600.0, left_out)


def _read(files: Sequence[Path], shown: bool) -> tuple[list[Take], list[str]]:
    """The usable takes, and a line for each file that is not one."""
    takes, left_out = [], []
    for path in progress(files, "reading takes", "takes", shown):
        try:
            take = read_take(path)
        except UserError as error:
            left_out.append(str(error))
            continue
        if take.content not in KINDS:
            left_out.append(f"{path}: content {take.content!r} is not known")
        elif is_usable(take):
            takes.append(take)
        else:
            left_out.append(f"{path}: too short, or not the {take.content} that its name says")
    return takes, left_out


def _choose(takes: Iterable[Take], dice: random.Random) -> tuple[list[Take], list[Take]]:
    """The takes that become clips of their own, and those that only joined clips use."""
    base, spare = [], []
    of_content: dict[str, list[Take]] = defaultdict(list)
    for take in takes:
        if take.group == "1":
            base.append(take)
        else:
            of_content[take.content].append(take)
    for content in sorted(of_content):
        pieces, rest = 0, []
        for take in _styles_in_turn(of_content[content], dice):
            windows = windows_of(take)
            if windows and pieces < _PIECES:
                base.append(take)
                pieces += len(windows)
            else:
                rest.append(take)
        spare += rest[:_SPARE]
    return base, spare


def _styles_in_turn(takes: Iterable[Take], dice: random.Random) -> Iterator[Take]:
    of_style: dict[str, list[Take]] = defaultdict(list)
    for take in takes:
        of_style[take.style].append(take)
    for found in of_style.values():
        dice.shuffle(found)
    while any(of_style.values()):
        for style in sorted(of_style):
            if of_style[style]:
                yield of_style[style].pop()


def _splits(takes: Sequence[Take], dice: random.Random) -> dict[str, str]:
    """The split of every take: shares of each content, as near as whole takes come, over all contents together."""
    of_content: dict[tuple[str, str], list[str]] = defaultdict(list)
    split_of = {}
    for take in takes:
        settled = _SETTLED.get(take.name.partition("_")[2]) if take.group == "1" else None
        if settled:
            split_of[take.name] = settled
        else:
            of_content[take.group, take.content].append(take.name)
    dealt = 0
    for key in sorted(of_content):
        names = sorted(of_content[key])
        dice.shuffle(names)
        for name in names:
            dealt += 1
            # One more of a split whenever its share of all dealt so far passes another whole number.
            test = int(dealt * _TEST + 0.5) > int((dealt - 1) * _TEST + 0.5)
            val = int(dealt * _VAL + 0.25) > int((dealt - 1) * _VAL + 0.25)
            split_of[name] = "test" if test else "val" if val else "train"
    return split_of


def _joined(pool: Sequence[Take], count: int, dice: random.Random) -> Iterator[Clip]:
    """At most ``count`` clips of two takes of the pool: of a few pairs the one whose poses match best."""
    of_content: dict[str, list[Take]] = defaultdict(list)
    for take in sorted(pool, key=lambda take: take.name):
        of_content[take.content].append(take)
    contents = sorted(of_content)
    weights = [0.5 if KINDS[c] in RARE else 0.6 if KINDS[c] == "aside" else 1.0 for c in contents]
    uses: Counter[str] = Counter()
    made = 0
    for _ in range(_PATIENCE * count if contents else 0):
        if made == count:
            return
        pair = dice.choices(contents, weights, k=2)
        if not are_different(*pair):
            continue
        found = []
        for _ in range(_TRIES):
            first, second = (dice.choice(of_content[content]) for content in pair)
            windows = window_to_join(first, dice), window_to_join(second, dice)
            if can_follow(first, second, windows):
                ends = [take.joints[slice(*w)] for take, w in zip((first, second), windows, strict=True)]
                worn = _WORN * (uses[first.name] + uses[second.name])
                found.append((misfit(*ends) + worn, first, second, windows))
        if found:
            _, first, second, windows = min(found, key=lambda one: one[0])
            uses.update((first.name, second.name))
            made += 1
            yield join(first, second, windows)


def _is_mirrored(clip: Clip, dice: random.Random) -> bool:
    share = _MIRRORED if len(clip.joints) <= _LONG else _LONG_MIRRORED
    return dice.random() < share or (clip.kind != "multi" and clip.actions[0].kind in RARE)


def _motion(motion_id: str, clip: Clip, dice: random.Random) -> RawMotion:
    captions, names = captions_of(clip, dice)
    segments = [
        Segment(action.content, action.start, action.end, action.parts, action.active, words)
        for action, words in zip(clip.actions, names, strict=True)
    ]
    return RawMotion(motion_id, clip.placed(), captions, segments)


def _about(clip: Clip, split: str, mirrored: bool) -> dict[str, Any]:
    """Where a clip is from."""
    return {
        "source": [f"{name}.bvh" for name in clip.takes],
        "source_windows_20fps": [list(window) for window in clip.windows],
        "split": split,
        "kind": clip.kind,
        "mirrored": mirrored,
        "frames": len(clip.joints),
        "styles": [action.style for action in clip.actions],
    }


def _describe(path: Path, about: dict[str, dict[str, Any]]) -> None:
    """Adds to segments.json where each clip is from, and the style of each of its actions."""
    known = read_json(path)
    for motion_id, entry in about.items():
        for segment, style in zip(known[motion_id]["segments"], entry.pop("styles"), strict=True):
            segment["style"] = style
        known[motion_id] = {**entry, **known[motion_id]}
    path.write_text(json.dumps(known, ensure_ascii=False), encoding="utf-8")
