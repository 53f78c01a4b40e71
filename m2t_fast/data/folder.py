"""Reads a data folder in HumanML3D's layout; what cannot be used is left out and listed, or refused."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from m2t_fast.data.arrays import check_finite, check_motion, load_array, read_motion
from m2t_fast.data.faults import DataFault, Fault, NothingLeft, refusal, summary
from m2t_fast.data.raw import Caption, RawData, RawMotion
from m2t_fast.data.segments import parse_segments, read_segments
from m2t_fast.data.texts import parse_captions, read_captions, read_text
from m2t_fast.errors import UserError
from m2t_fast.progress import progress
from m2t_fast.skeleton import skeleton_of

__all__ = ["check_motion", "load_array", "read_captions", "read_folder", "read_motion", "read_split", "split_captions"]

SPLITS: tuple[str, ...] = ("train", "val", "test")
MOTIONS: tuple[str, ...] = ("new_joints", "new_joint_vecs")
"""Folders of motions; the first that is there is read."""

_JOINTS, _FEATURES = MOTIONS
_LIMIT = 1e6  # no coordinate of a body, in metres or millimetres: what a damaged file holds


def read_folder(path: str | Path, splits: Sequence[str] = SPLITS, strict: bool = True) -> RawData:
    """Reads the requested splits of a folder in HumanML3D's layout.

    ``new_joints/ID.npy`` holds (frames, J, 3) floats in metres (22 joints: HumanML3D, 21: KIT-ML; the same for all);
    where there is no such folder ``new_joint_vecs/ID.npy`` (frames, 263 or 251), from which the joints are recovered;
    ``texts/ID.txt`` one caption per line, ``caption#token/POS token/POS ...#start#end`` (start and end in seconds) or
    the caption alone; ``train.txt``, ``val.txt`` and ``test.txt`` one id per line; ``segments.json``, if any,
    ``{id: {"segments": [{"content", "start", "end", "parts"}, ...]}}`` in frames, end exclusive; a segment may also
    have ``"active": [start, end]`` and ``"caption_verbs"``, for each caption the verb that names it or null. val and
    test may be empty, train may not.

    Args:
        strict: refuse any fault in ``splits``. Otherwise motions whose files are missing or unreadable, hold NaN or
            have no caption, captions that are empty or malformed, and malformed segments are left out; ``faults`` of
            the result lists them. Where joint counts differ, the most frequent one stays.

    Raises:
        UserError: a folder or a split file is missing, a split is left without motions though it names some, or, with
            ``strict``, anything else is wrong; the message names the file and the id.
        ValueError: an unknown split.
    """
    folder = Path(path)
    for split in splits:
        if split not in SPLITS:
            raise ValueError(f"splits: got {split!r}, expected some of {', '.join(SPLITS)}")
    source = _source(folder)
    ids: dict[str, list[str]] = {}
    faults: list[Fault] = []
    for split in splits:
        ids[split], found = read_split(folder / f"{split}.txt")
        faults += found
    if not any(ids.values()):
        raise UserError(f"{folder}: no motions in {', '.join(f'{split}.txt' for split in splits)}")
    try:
        segments = read_segments(folder / "segments.json")
    except DataFault as error:
        segments = {}
        faults.append(Fault.of(splits[0], "", "segments", error))
    motions: dict[str, list[RawMotion]] = {split: [] for split in splits}
    pairs = [(split, motion_id) for split in splits for motion_id in ids[split]]
    for split, motion_id in progress(pairs, f"reading {folder}"):
        motion, found = _read_one(folder, source, split, motion_id, segments)
        faults += found
        if motion is not None:
            motions[split].append(motion)
    faults += _agree(folder, source, motions)
    faults.sort(key=lambda fault: list(splits).index(fault.split))  # stable: in the order of the files
    if faults and strict:
        raise refusal(str(folder), faults)
    for split in splits:
        if ids[split] and not motions[split]:
            own = [fault for fault in faults if fault.split == split]
            count = len(ids[split])
            unusable = f"none of its {count:,} motions can" if count > 1 else "its only motion cannot"
            text = f"{split}.txt: {unusable} be used; {summary(str(folder), own)}"
            raise NothingLeft(text, faults)
    joints = next(motion.joints.shape[1] for split in splits for motion in motions[split])
    return RawData(skeleton=skeleton_of(joints), splits=motions, source=str(folder), faults=tuple(faults))


def read_split(path: Path) -> tuple[list[str], list[Fault]]:
    """The ids of a split file, one per line, and the lines that are left out: ids that are repeated or not plain file
    names. Blank lines are skipped. Only ``train.txt`` must not be empty.

    Raises:
        UserError: the file is missing or not UTF-8 text, or train is empty.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such split file; expected one id per line")
    ids: dict[str, int] = {}
    faults: list[Fault] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        motion_id = line.strip()
        if not motion_id:
            continue
        if motion_id in (".", "..") or any(c in motion_id for c in "/\\\0"):
            message = f"{path}: line {number}: id {motion_id!r} is not a plain file name"
            faults.append(Fault(path.stem, motion_id, "id", "not an id", message))
        elif motion_id in ids:
            message = f"{path}: id {motion_id!r} appears twice, in lines {ids[motion_id]} and {number}"
            faults.append(Fault(path.stem, motion_id, "id", "repeated id", message))
        else:
            ids[motion_id] = number
    if path.stem == "train" and not ids:
        reason = f"; the first line left out: {faults[0].message}" if faults else ""
        raise UserError(f"{path}: empty; expected at least one id{reason}")
    return list(ids), faults


def _source(folder: Path) -> str:
    """The folder that holds the motions."""
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}; expected a data folder")
    source = next((name for name in MOTIONS if (folder / name).is_dir()), None)
    for name, there in ((f"{_JOINTS}/ or {_FEATURES}", source is not None), ("texts", (folder / "texts").is_dir())):
        if not there:
            raise UserError(f"{folder}: no folder {name}/; expected {_JOINTS}/, texts/ and split files")
    return str(source)


def _read_one(
    folder: Path, source: str, split: str, motion_id: str, segments: dict[str, Any]
) -> tuple[RawMotion | None, list[Fault]]:
    """A motion, None if it cannot be used, and what was left out."""
    try:
        files = [folder / source / f"{motion_id}.npy", folder / "texts" / f"{motion_id}.txt"]
        for file, kind in zip(files, ("no motion file", "no text file"), strict=True):
            if not file.is_file():
                raise DataFault(
                    kind,
                    f"{folder}: id {motion_id!r} of {split}.txt has no file {file.parent.name}/{file.name} "
                    "(add the file or take the id out of the split file)",
                )
        joints = _features(files[0]) if source == _FEATURES else read_motion(files[0])
        if (most := float(np.abs(joints).max())) > _LIMIT:
            raise DataFault("too large", f"{files[0]}: coordinates up to {most:.3g}, expected metres")
        lines = parse_captions(files[1])
        numbers = [number for number, line in enumerate(lines) if not isinstance(line, DataFault)]
        faults = [Fault.of(split, motion_id, "caption", line) for line in lines if isinstance(line, DataFault)]
    except DataFault as error:
        return None, [Fault.of(split, motion_id, "motion", error)]
    captions = [line for line in lines if not isinstance(line, DataFault)]
    if not captions:
        return None, [dataclasses.replace(faults[0], what="motion")]
    found = None
    if motion_id in segments:
        where = f"{folder / 'segments.json'}: id {motion_id!r}"
        try:
            found = [
                dataclasses.replace(segment, words=tuple(segment.words[n] for n in numbers if segment.words))
                for segment in parse_segments(segments[motion_id], len(joints), len(lines), where)
            ]
        except DataFault as error:
            faults.append(Fault.of(split, motion_id, "segments", error))
    return RawMotion(id=motion_id, joints=joints, captions=captions, segments=found), faults


def _features(path: Path) -> np.ndarray:
    """The joints (T, J, 3) float32 from the feature vectors of a file."""
    # motion reads files for data: at the top of this module the import would go round.
    from m2t_fast.motion.features import FEATURE_SIZES, recover_joints

    expected = f"(frames, {' or '.join(str(size) for size in sorted(FEATURE_SIZES, reverse=True))})"
    features = load_array(path, expected)
    if features.ndim != 2 or features.shape[1] not in FEATURE_SIZES:
        raise DataFault("wrong shape", f"{path}: shape {features.shape}, expected {expected}")
    if len(features) == 0:
        raise DataFault("no frames", f"{path}: no frames (shape {features.shape}), expected at least one")
    check_finite(features, path)
    with np.errstate(over="ignore", invalid="ignore"):
        return check_motion(recover_joints(features), path)


def _agree(folder: Path, source: str, motions: dict[str, list[RawMotion]]) -> list[Fault]:
    """Leaves out the motions whose number of joints is not the most frequent one; of equally frequent ones the first
    met counts."""
    counts = Counter(motion.joints.shape[1] for found in motions.values() for motion in found)
    if len(counts) < 2:
        return []
    most = counts.most_common(1)[0][0]
    first = next(m.id for found in motions.values() for m in found if m.joints.shape[1] == most)
    faults = []
    for split, found in motions.items():
        for motion in found:
            if (joints := motion.joints.shape[1]) != most:
                message = (
                    f"{folder / source / f'{motion.id}.npy'}: {joints} joints, but {first}.npy has {most}; expected "
                    "the same number in all motions"
                )
                faults.append(Fault(split, motion.id, "motion", "other joints", message))
        motions[split] = [motion for motion in found if motion.joints.shape[1] == most]
    return faults


def split_captions(path: str | Path, split: str) -> list[Caption]:
    """The captions of a split as far as they can be read, motion after motion.

    Raises:
        UserError: the split file is missing or not UTF-8 text, or train is empty.
    """
    folder = Path(path)
    captions: list[Caption] = []
    for motion_id in read_split(folder / f"{split}.txt")[0]:
        with suppress(DataFault):
            lines = parse_captions(folder / "texts" / f"{motion_id}.txt")
            captions += [line for line in lines if not isinstance(line, DataFault)]
    return captions
