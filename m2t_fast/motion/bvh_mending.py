"""Common mistakes of .bvh files, read as they are meant: frames miscounted, props beside the body, CMU's trunk."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.wording import counted

_CMU_CHEST = ("chest2", "spine1")
_BODY = 12  # joints that a body has at least: a hierarchy of fewer, beside one, is a prop

Row = tuple[int, str]
"""A line of values with its number."""


@dataclass
class Node:
    """A joint or an End Site; ``channels`` are ("position", "rotation" or "scale", axis 0 to 2)."""

    name: str
    parent: int
    offset: np.ndarray | None = None
    channels: list[tuple[str, int]] = field(default_factory=list)


def is_comment(line: str) -> bool:
    """Whether a line is a comment: the format has none, but people write them."""
    return line.lstrip().startswith(("#", "//"))


def separated(line: str) -> str:
    """A line of numbers with spaces in place of separating commas or semicolons; decimal commas stay.

    A comma separates where numbers have points, or where a space comes after it.
    """
    line = line.replace(";", " ")
    if "," in line and ("." in line or re.search(r",\s", line)):
        return line.replace(",", " ") if "." in line else re.sub(r",(?=\s|$)", " ", line)
    return line


def mended_rows(rows: list[Row], frames: int, channels: int, ended: bool) -> tuple[list[Row], str]:
    """Rows of ``channels`` numbers where the number of lines is not ``frames``, and a note that says so.

    Text behind the last frame is left out. The right number of values in lines of another length is put
    together. Else there are as many frames as whole lines; a last line that was cut off (not ``ended``) does not
    count. With an empty note the rows are as they came, and nothing could be mended.
    """
    behind = rows[frames:]
    if behind and not any(_is_number(word) for _, line in behind for word in line.split()[:1]):
        return rows[:frames], "text after the last frame left out"
    widths = [len(line.split()) for _, line in rows]
    if channels and sum(widths) == frames * channels and any(width != channels for width in widths):
        words = [word for _, line in rows for word in line.split()]
        first = rows[0][0]
        joined = [(first, " ".join(words[n : n + channels])) for n in range(0, len(words), channels)]
        return joined, f"values of {counted(frames, 'frame')} in {counted(len(rows), 'line')}"
    whole = rows[:-1] if rows and len(rows) < frames and (widths[-1] != channels or not ended) else rows
    if not whole or any(width != channels for width in widths[: len(whole)]):
        return rows, ""
    cut = ": cut off?" if len(whole) < frames else ""
    return whole, f"{counted(len(whole), 'frame')}, where the file says {frames}{cut}"


def _is_number(word: str) -> bool:
    try:
        float(word.replace(",", "."))
    except ValueError:
        return False
    return True


def one_body(path: str | Path, nodes: list[Node], values: np.ndarray) -> tuple[list[Node], np.ndarray, list[str]]:
    """The one of several hierarchies that can be a body, its values, and the names of the roots of the others.

    Raises:
        UserError: several of them can be.
    """
    root_of: list[int] = []
    for index, node in enumerate(nodes):
        root_of.append(index if node.parent < 0 else root_of[node.parent])
    roots = sorted(set(root_of))
    if len(roots) == 1:
        return nodes, values, []
    joints = [root for node, root in zip(nodes, root_of, strict=True) if not node.name.endswith(".end")]
    bodies = [root for root in roots if joints.count(root) >= _BODY]
    if len(bodies) != 1:
        names = ", ".join(repr(nodes[root].name) for root in roots[:6])
        raise UserError(f"{path}: {len(roots)} skeletons ({names}), expected one body in a file")
    kept = [index for index, root in enumerate(root_of) if root == bodies[0]]
    place = {index: number for number, index in enumerate(kept)}
    columns = np.repeat(root_of, [len(node.channels) for node in nodes]) == bodies[0]
    body = [Node(n.name, place.get(n.parent, -1), n.offset, n.channels) for n in (nodes[index] for index in kept)]
    return body, values[:, columns], [nodes[root].name for root in roots if root != bodies[0]]


def mend_trunk(nodes: list[Node]) -> float | None:
    """Puts the bone of the thorax back into a hierarchy of the CMU database; its length, None where none is missing.

    In the database's own .asf files the chest bone begins at the joint that conversions to .bvh call Spine1, and neck
    and collar bones begin at its end. The conversions leave it out: neck and collars have no OFFSET from Spine1, and
    everything above is one bone too low. Its length is written nowhere; in the .asf files it is that of the bone
    below, to a few percent, and it goes on in that bone's direction.
    """
    below: dict[int, list[int]] = {}
    for index, node in enumerate(nodes):
        below.setdefault(node.parent, []).append(index)
    names = {re.sub("[^a-z0-9]", "", node.name.rsplit(":", 1)[-1].lower()) for node in nodes}
    if not (names >= {"lhipjoint", "rhipjoint", "lowerback"} and 0 in below):
        return None
    for chest, node in enumerate(nodes):
        if re.sub("[^a-z0-9]", "", node.name.rsplit(":", 1)[-1].lower()) not in _CMU_CHEST:
            continue
        hung = [nodes[child] for child in below.get(chest, []) if not nodes[child].name.endswith(".end")]
        bone = np.asarray(node.offset)
        if len(hung) == 3 and all(not np.any(child.offset) for child in hung) and np.any(bone):
            for child in hung:
                child.offset = bone.copy()
            return float(np.linalg.norm(bone))
    return None
