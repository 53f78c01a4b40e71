"""Reads a data folder in HumanML3D's layout, with every mistake in it named in one line."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2t_fast.data.raw import Caption, RawData, RawMotion, Segment
from m2t_fast.errors import UserError
from m2t_fast.skeleton import PART_NAMES, SKELETONS, Skeleton, skeleton_of

SPLITS: tuple[str, ...] = ("train", "val", "test")
_JOINTS_EXPECTED = f"(frames, {' or '.join(str(s.joints) for s in reversed(SKELETONS))}, 3)"


def read_folder(path: str | Path, splits: Sequence[str] = SPLITS) -> RawData:
    """Reads the asked splits of a folder in HumanML3D's layout.

    ``new_joints/ID.npy`` holds (frames, J, 3) floats in metres (22 joints: HumanML3D, 21: KIT-ML; the same for all);
    ``texts/ID.txt`` a caption a line, ``caption#token/POS token/POS ...#start#end`` (start and end in seconds) or the
    caption alone; ``train.txt``, ``val.txt`` and ``test.txt`` an id a line; ``segments.json``, which may be missing,
    ``{id: {"segments": [{"content", "start", "end", "parts"}, ...]}}`` in frames, end exclusive; a segment may also
    have ``"active": [start, end]`` and ``"caption_verbs"``, for each caption the verb that names it or null. val and
    test may be empty, train may not.

    Raises:
        UserError: anything above is missing, unreadable or malformed; the message names the file and the id.
        ValueError: an unknown split.
    """
    folder = Path(path)
    for split in splits:
        if split not in SPLITS:
            raise ValueError(f"splits: got {split!r}, expected some of {', '.join(SPLITS)}")
    if not folder.is_dir():
        raise UserError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}; expected a data folder")
    for name in ("new_joints", "texts"):
        if not (folder / name).is_dir():
            raise UserError(f"{folder}: no folder {name}/; expected new_joints/, texts/ and split files")
    ids = {split: read_split(folder / f"{split}.txt") for split in splits}
    segments = _read_segments(folder / "segments.json")
    motions: dict[str, list[RawMotion]] = {split: [] for split in splits}
    skeleton: Skeleton | None = None
    first = ""
    for split in splits:
        for motion_id in ids[split]:
            motion = _read_one(folder, split, motion_id, segments)
            joints = motion.joints.shape[1]
            if skeleton is None:
                skeleton, first = skeleton_of(joints), motion_id
            elif joints != skeleton.joints:
                raise UserError(
                    f"{folder / 'new_joints' / f'{motion_id}.npy'}: {joints} joints, but {first}.npy has "
                    f"{skeleton.joints}; expected the same number in all motions"
                )
            motions[split].append(motion)
    if skeleton is None:
        raise UserError(f"{folder}: no motions in {', '.join(f'{split}.txt' for split in splits)}")
    return RawData(skeleton=skeleton, splits=motions, source=str(folder))


def read_split(path: Path) -> list[str]:
    """The ids of a split file, one a line; blank lines are skipped. Only ``train.txt`` must not be empty.

    Raises:
        UserError: the file is missing or no UTF-8 text, an id is no plain file name or there twice, train is empty.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such split file; expected an id a line")
    ids: dict[str, int] = {}
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        motion_id = line.strip()
        if not motion_id:
            continue
        if motion_id in (".", "..") or any(c in motion_id for c in "/\\\0"):
            raise UserError(f"{path}: line {number}: id {motion_id!r} is no plain file name")
        if motion_id in ids:
            raise UserError(f"{path}: id {motion_id!r} is there twice, in lines {ids[motion_id]} and {number}")
        ids[motion_id] = number
    if not ids and path.stem == "train":
        raise UserError(f"{path}: empty; expected at least one id")
    return list(ids)


def read_motion(path: str | Path) -> np.ndarray:
    """One motion file as (frames, J, 3) float32, metres.

    Raises:
        UserError: the file is missing, truncated or no .npy of floats, has no frames or another shape than
            (frames, 21 or 22, 3), or holds NaN or infinite coordinates (the first bad frame is named).
    """
    return check_motion(load_array(path, _JOINTS_EXPECTED), path)


def load_array(path: str | Path, expected: str) -> np.ndarray:
    """The array of floats in a .npy file; ``expected`` is the shape that messages name.

    Raises:
        UserError: the file is missing, truncated or no .npy of floats.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except Exception as error:  # foreign bytes make NumPy raise nearly anything, from EOFError to MemoryError
        raise UserError(f"{path}: truncated or not a .npy file of numbers ({_one_line(error)})") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise UserError(f"{path}: an .npz archive, expected a .npy file of shape {expected}")
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise UserError(f"{path}: dtype {array.dtype}, expected float16, float32 or float64")
    return array


def check_motion(joints: np.ndarray, path: str | Path) -> np.ndarray:
    """An array of floats as (frames, J, 3) float32; ``path`` is for messages.

    Raises:
        UserError: no frames, another shape than (frames, 21 or 22, 3), NaN or infinite coordinates.
    """
    if joints.ndim != 3 or joints.shape[2] != 3 or joints.shape[1] not in [s.joints for s in SKELETONS]:
        raise UserError(f"{path}: shape {joints.shape}, expected {_JOINTS_EXPECTED}")
    if len(joints) == 0:
        raise UserError(f"{path}: no frames (shape {joints.shape}), expected at least one")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is reported below
        joints = np.ascontiguousarray(joints, dtype=np.float32)
    finite = np.isfinite(joints)
    if not finite.all():
        bad = ~finite.all(axis=(1, 2))
        raise UserError(
            f"{path}: NaN or infinite coordinates in {bad.sum()} of {len(bad)} frames, first in frame {bad.argmax()} "
            "(repair the file or take its id out of the split files)"
        )
    return joints


def read_captions(path: str | Path) -> list[Caption]:
    """The captions of one text file; blank lines are skipped.

    A start or end of "nan" (HumanML3D has some) means the whole motion, as 0.0 does.

    Raises:
        UserError: the file is unreadable, no UTF-8, has no captions, or a line is malformed (its number is named).
    """
    captions = [
        _parse_caption(line.strip(), f"{path}: line {number}")
        for number, line in enumerate(_read_text(Path(path)).split("\n"), start=1)
        if line.strip()
    ]
    if not captions:
        raise UserError(f"{path}: no captions; expected a line 'caption#token/POS ...#start#end' or a plain caption")
    return captions


def _parse_caption(line: str, where: str) -> Caption:
    fields = line.rsplit("#", 3)
    if not fields[0].strip():
        raise UserError(f"{where}: no caption before the first '#'")
    if len(fields) == 1:
        return Caption(text=line, tags=None)
    if len(fields) != 4:
        raise UserError(f"{where}: {len(fields)} fields between '#', expected caption#token/POS ...#start#end")
    tags = []
    for item in fields[1].split():
        token, slash, tag = item.rpartition("/")
        if not slash or not tag:
            raise UserError(f"{where}: tagged token {item!r}, expected token/POS")
        tags.append((token, tag))
    times = []
    for name, field in zip(("start", "end"), fields[2:], strict=True):
        try:
            seconds = float(field)
        except ValueError:
            raise UserError(f"{where}: {name} {field.strip()!r}, expected seconds") from None
        if math.isinf(seconds) or seconds < 0:
            raise UserError(f"{where}: {name} {field.strip()}, expected finite seconds from 0 on")
        times.append(0.0 if math.isnan(seconds) else seconds)
    return Caption(text=fields[0].strip(), tags=tuple(tags) or None, start=times[0], end=times[1])


def _read_one(folder: Path, split: str, motion_id: str, segments: dict[str, Any]) -> RawMotion:
    motion_file = folder / "new_joints" / f"{motion_id}.npy"
    text_file = folder / "texts" / f"{motion_id}.txt"
    for file in (motion_file, text_file):
        if not file.is_file():
            raise UserError(
                f"{folder}: id {motion_id!r} of {split}.txt has no file {file.parent.name}/{file.name} "
                "(add the file or take the id out of the split file)"
            )
    joints = read_motion(motion_file)
    captions = read_captions(text_file)
    found = None
    if motion_id in segments:
        where = f"{folder / 'segments.json'}: id {motion_id!r}"
        found = _parse_segments(segments[motion_id], len(joints), len(captions), where)
    return RawMotion(id=motion_id, joints=joints, captions=captions, segments=found)


def _read_segments(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: truncated or not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f'{path}: got a JSON {type(content).__name__}, expected {{id: {{"segments": [...]}}}}')
    return content


def _parse_segments(entry: Any, frames: int, captions: int, where: str) -> list[Segment]:
    listed = entry.get("segments") if isinstance(entry, dict) else None
    if not isinstance(listed, list):
        raise UserError(f'{where}: expected {{"segments": [...]}}')
    segments = []
    for number, item in enumerate(listed):
        try:
            action, start, end, parts = item["content"], item["start"], item["end"], tuple(item["parts"])
        except (KeyError, TypeError):
            raise UserError(f"{where}: segment {number}: expected content, start, end and parts") from None
        if not isinstance(action, str) or type(start) is not int or type(end) is not int:
            raise UserError(f"{where}: segment {number}: expected content as a string and start, end as frame numbers")
        if not 0 <= start < end <= frames:
            raise UserError(f"{where}: segment {number}: frames {start} to {end}, expected a range in 0 to {frames}")
        for part in parts:
            if part not in PART_NAMES:
                raise UserError(f"{where}: segment {number}: part {part!r}, expected some of {', '.join(PART_NAMES)}")
        active, words = item.get("active"), item.get("caption_verbs") or []
        if active is not None:
            if not (isinstance(active, list) and len(active) == 2 and all(type(frame) is int for frame in active)):
                raise UserError(f"{where}: segment {number}: active {active!r}, expected [start, end] in frames")
            if not 0 <= active[0] < active[1] <= frames:
                raise UserError(
                    f"{where}: segment {number}: active frames {active[0]} to {active[1]}, expected a range in "
                    f"0 to {frames}"
                )
        if not isinstance(words, list) or not all(word is None or isinstance(word, str) for word in words):
            raise UserError(f"{where}: segment {number}: caption_verbs {words!r}, expected a word or null a caption")
        if words and len(words) != captions:
            raise UserError(
                f"{where}: segment {number}: {len(words)} caption_verbs, expected one for each of {captions} captions"
            )
        segments.append(Segment(action, start, end, parts, tuple(active) if active else None, tuple(words)))
    return segments


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
