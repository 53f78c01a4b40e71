"""Finds the joints of a run's skeleton among the nodes of a .bvh file."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.motion.bvh import Bvh
from m2t_fast.motion.joint_names import COLLAR, JOINT_NAMES, SCHEMES, SPINE, TOE, Scheme
from m2t_fast.skeleton import Skeleton

JointMap = Mapping[str, str | list[str]]
"""Our joint name -> name of a .bvh joint, or several whose average is meant."""

_FITS = 0.5  # a known skeleton of which a smaller share of the joints is there is not what the file means
_LISTED = 40  # joint names that an error shows
_NO_LENGTH = 0.01  # an End Site nearer to its joint than this share of the foot says nothing


def read_joint_map(path: str | Path, skeleton: Skeleton) -> dict[str, str | list[str]]:
    """A JSON file ``{our joint name: joint name or list of joint names}`` for ``skeleton``; it may leave joints out.

    Raises:
        UserError: the file is unreadable or says something else, or a name is none of ``JOINT_NAMES``.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: cannot read: {error.strerror or error}") from None
    except ValueError as error:  # JSON and UTF-8 errors are both
        raise UserError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: got a JSON {type(content).__name__}, expected {{our joint: joint of the file}}")
    names = JOINT_NAMES[skeleton.name]
    for name, theirs in content.items():
        if name not in names:
            raise UserError(f"{path}: unknown joint {name!r}, expected some of {', '.join(names)}")
        several = theirs if isinstance(theirs, list) else [theirs]
        if not several or not all(isinstance(one, str) and one for one in several):
            raise UserError(f"{path}: {name}: got {theirs!r}, expected a joint name or a list of joint names")
    return content


class _Nodes:
    """Looks nodes up by name: as written, else without case, name space, punctuation and a prefix that all share."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.count = len(names)
        self.exact: dict[str, int] = {}
        self.loose: dict[str, int] = {}
        joints = [_loosen(name) for name in names if not name.endswith(".end")]
        shared = os.path.commonprefix(joints) if len(joints) > 1 else ""
        for index, name in enumerate(names):
            self.exact.setdefault(name, index)
            self.loose.setdefault(_loosen(name), index)
            self.loose.setdefault(_loosen(name)[len(shared) :], index)

    def find(self, name: str) -> int | None:
        found = self.exact.get(name)
        return self.loose.get(_loosen(name)) if found is None and name else found

    def find_any(self, alternatives: str) -> int | None:
        return next((found for name in alternatives.split("|") if (found := self.find(name)) is not None), None)


def _loosen(name: str) -> str:
    """``mixamorig:LeftUpLeg``, ``mixamorig1_LeftUpLeg`` and ``left up leg`` are the same name."""
    base, dot, end = name.rpartition(".end")
    text = re.sub(r"[^0-9a-z]", "", (base if dot and not end else name).rsplit(":", 1)[-1].lower())
    return re.sub(r"^mixamorig\d*", "", text) + (".end" if dot and not end else "")


def map_joints(
    path: str | Path, bvh: Bvh, skeleton: Skeleton, custom: JointMap | None = None
) -> tuple[np.ndarray, np.ndarray, str]:
    """The joints of ``skeleton`` in a .bvh file, by the names of a known skeleton, with ``custom`` names first.

    Args:
        path: the file, for messages.
        bvh: its content.
        skeleton: which joints to find.
        custom: names that come before those of the known skeleton.

    Returns:
        positions (T, J, 3), rest pose (J, 3), both in the file's units and axes, and one phrase that says by which
        names they were found and which joints were put where the file has none.

    Raises:
        UserError: joints are missing, with the names that the file has.
    """
    nodes = _Nodes(bvh.names)
    own = {name: _resolve_own(path, nodes, bvh, name, theirs) for name, theirs in (custom or {}).items()}
    found = [_resolve_scheme(scheme, nodes) for scheme in SCHEMES]
    needed = [name for name in JOINT_NAMES[skeleton.name] if not _can_be_derived(name)]
    missing = [[name for name in needed if name not in own and name not in joints] for joints in found]
    # Required joints first; then CMU, which has no Spine2, is no Mixamo skeleton without one.
    best = min(range(len(SCHEMES)), key=lambda i: (len(missing[i]), len(SCHEMES[i].joints) - len(found[i])))
    scheme, known = SCHEMES[best], found[best]
    if missing[best]:
        names = [n for n in bvh.names if not n.endswith(".end")]
        shown = ", ".join(names[:_LISTED]) + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
        if len(known) < _FITS * len(scheme.joints):
            raise UserError(
                f"{path}: a skeleton that is not known by name: no joint for {', '.join(missing[best])}; it has "
                f"{shown} (name its joints with --joint-map FILE)"
            )
        wanted = ", ".join(f"{name} ({_expected(scheme.joints[name])})" for name in missing[best])
        raise UserError(f"{path}: {scheme.name} skeleton without a joint for {wanted}; it has {shown} (--joint-map)")
    spines = [name for name in JOINT_NAMES[skeleton.name] if name in SPINE]
    if not all(name in own or name in known for name in spines):  # all from one source, so that they stay in order
        known = {name: weights for name, weights in known.items() if name not in SPINE}
    weights = {**known, **own}
    derived = _derive(weights, scheme, nodes, bvh, skeleton)
    matrix = np.stack([weights[name] for name in JOINT_NAMES[skeleton.name]])
    said = "joints by the joint map" if own else f"{scheme.name} joint names"
    if own and any(name in known and name not in own for name in needed):
        said += f" and {scheme.name} joint names"
    if derived:
        said += f", interpolated {', '.join(derived)}"
    return np.einsum("jn,tnc->tjc", matrix, bvh.positions), matrix @ bvh.rest, said


def _can_be_derived(name: str) -> bool:
    return name in SPINE or name.endswith(("_collar", "_toe"))


def _resolve_scheme(scheme: Scheme, nodes: _Nodes) -> dict[str, np.ndarray]:
    """The weights of the joints that a known skeleton's names give."""
    found = {}
    for name, theirs in scheme.joints.items():
        indices = [nodes.find_any(one) for one in ([theirs] if isinstance(theirs, str) else theirs)]
        if None not in indices:
            found[name] = _average(nodes.count, [index for index in indices if index is not None])
    return found


def _resolve_own(path: str | Path, nodes: _Nodes, bvh: Bvh, name: str, theirs: str | list[str]) -> np.ndarray:
    indices = []
    for one in [theirs] if isinstance(theirs, str) else theirs:
        index = nodes.find(one)
        if index is None:
            near = difflib.get_close_matches(one, bvh.names, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(bvh.names[:_LISTED])}"
            raise UserError(f"{path}: no joint {one!r}, which the joint map names for {name}; {hint}")
        indices.append(index)
    return _average(len(bvh.names), indices)


def _average(count: int, indices: list[int]) -> np.ndarray:
    weights = np.zeros(count)
    np.add.at(weights, indices, 1.0 / len(indices))
    return weights


def _expected(theirs: str | list[str]) -> str:
    return theirs.replace("|", " or ") if isinstance(theirs, str) else " and ".join(theirs)


def _derive(weights: dict[str, np.ndarray], scheme: Scheme, nodes: _Nodes, bvh: Bvh, skeleton: Skeleton) -> list[str]:
    """Adds to ``weights`` the joints of ``skeleton`` that no node is, and returns the names of those it made up."""
    derived = []
    for name in JOINT_NAMES[skeleton.name]:
        if name in weights:
            continue
        side = name.split("_")[0]
        if name in SPINE:
            trunk = [index for one in scheme.trunk if (index := nodes.find(one)) is not None]
            between = [_average(nodes.count, [index]) for index in trunk]
            weights[name] = _along([weights["pelvis"], *between, weights["neck"]], SPINE[name], bvh)
        elif name.endswith("_collar"):
            weights[name] = (1 - COLLAR) * weights["neck"] + COLLAR * weights[f"{side}_shoulder"]
        else:
            ankle, foot = weights[f"{side}_ankle"], weights[f"{side}_foot"]
            foot_name = bvh.names[int(foot.argmax())]
            tip = nodes.find_any(f"{scheme.tips.get(name, '')}|{foot_name}.end")
            if tip is not None:
                weights[name] = _average(nodes.count, [tip])
                if _distance(weights[name], foot, bvh) > _NO_LENGTH * _distance(foot, ankle, bvh):
                    continue
            weights[name] = foot + TOE * (foot - ankle)
        derived.append(name)
    return derived


def _along(points: Iterable[np.ndarray], share: float, bvh: Bvh) -> np.ndarray:
    """The weights of the point at ``share`` of the way along a line of bones."""
    line = list(points)
    lengths = [_distance(a, b, bvh) for a, b in zip(line[:-1], line[1:], strict=True)]
    left = share * sum(lengths)
    for start, end, length in zip(line[:-1], line[1:], lengths, strict=True):
        if left <= length and length > 0:
            return start + (end - start) * (left / length)
        left -= length
    return line[-1]


def _distance(first: np.ndarray, second: np.ndarray, bvh: Bvh) -> float:
    """Usual distance between two weighted points; bones keep their length, so every frame tells it."""
    return float(np.median(np.linalg.norm(np.einsum("n,tnc->tc", first - second, bvh.positions), axis=1)))
