"""From a capture to the joints of a run's skeleton: a joint map first, then our own names, then the body found."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.motion.capture import Capture
from m2t_fast.motion.joint_names import JOINT_NAMES, SPINE
from m2t_fast.motion.matching.body import Body, find_body, sides_disagree
from m2t_fast.motion.matching.families import Nodes, family_of, scheme_of
from m2t_fast.motion.matching.human import why_no_human
from m2t_fast.motion.matching.joints import Found, Weights, fill, joints_of, make_up_feet
from m2t_fast.motion.matching.limbs import ROLES
from m2t_fast.motion.matching.names import LEFT, RIGHT
from m2t_fast.motion.matching.tree import Tree
from m2t_fast.skeleton import Skeleton

JointMap = Mapping[str, "str | list[str] | dict[str, float]"]
"""Our joint name -> name of a joint of the file, several whose average is meant, or weights by name."""

_FITS = 0.5  # a known skeleton of which a smaller share of the joints is there is not what the file means
_FOLDED = 0.01  # of the way from pelvis to neck: a bone of no length
_LISTED = 40  # joint names that an error shows


@dataclass(frozen=True)
class JointMatch:
    """Which joints of a capture are those of a skeleton.

    Attributes:
        skeleton: the joints that were wanted.
        weights: our joint name -> weights of nodes, in the skeleton's order; without ``missing``.
        missing: joints without a node, put where bodies have them: balls of feet, tips of toes.
        said: one phrase: how the joints were found, and which were estimated.
        by_map: whether a joint map named all of them.
    """

    skeleton: Skeleton
    weights: dict[str, Weights]
    missing: list[str]
    said: str
    by_map: bool

    def positions(self, points: np.ndarray) -> np.ndarray:
        """Joints (T, J, 3) of nodes (T, N, 3)."""
        names = JOINT_NAMES[self.skeleton.name]
        joints = np.zeros((len(points), len(names), 3))
        for index, name in enumerate(names):
            for node, weight in self.weights.get(name, {}).items():
                joints[:, index] += weight * points[:, node]
        make_up_feet(joints, names, self.missing)
        return joints

    def to_map(self, names: tuple[str, ...]) -> dict[str, str | dict[str, float]]:
        """The match as a joint map: a name, or weights by name; ``names`` are those of the capture."""
        written: dict[str, str | dict[str, float]] = {}
        for name, weights in self.weights.items():
            parts = {names[node]: round(weight, 4) for node, weight in weights.items() if abs(weight) > 1e-9}
            written[name] = next(iter(parts)) if len(parts) == 1 else parts
        return written


def match_joints(path: str | Path, capture: Capture, skeleton: Skeleton, custom: JointMap | None = None) -> JointMatch:
    """Finds the joints of ``skeleton``.

    A joint map that names every joint that cannot be derived is taken as it is. Otherwise the joints that it leaves out
    are found in the hierarchy: our own names and SMPL's directly, all others by structure, with names as evidence.

    Args:
        path: the file, for messages.
        capture: its content.
        skeleton: which joints to find.
        custom: the joint map.

    Raises:
        UserError: there is no such body, or it is not a human's; or a name in the joint map is not a joint of the file.
    """
    nodes, names = Nodes(capture.names), JOINT_NAMES[skeleton.name]
    own = {name: _resolve(path, nodes, capture.names, name, theirs) for name, theirs in (custom or {}).items()}
    needed = [name for name in names if not _can_be_derived(name)]
    tree = Tree(capture)
    trunk: tuple[int, ...] = ()
    family = family_of(nodes, needed)
    by_map = all(name in own for name in needed)
    notes: list[str] = []
    if by_map:
        found, by = Found(), ""
        _tips(tree, own, found, names)
    elif (direct := _own_names(tree, names)) is not None:
        found, by = Found(direct), "m2t_fast's own joint names" if skeleton.name == "kit" else "SMPL joint names"
    else:
        body = find_body(tree)
        if body is None or not _agrees(tree, body):
            raise UserError(_not_found(path, nodes, capture.names, [n for n in needed if n not in own]))
        found, trunk = joints_of(tree, body, family), body.trunk
        named = any(tree.said[node].roles for node in body.legs.left.joints + body.arms.left.joints)
        by = f"{family} joint names" if family else f"joints by hierarchy{' and names' if named else ''}"
        if sides_disagree(tree, body):
            notes.append("what is named left is on the right of where the feet point: mirrored?")
        if not (body.legs.told or body.arms.told):
            notes.append("left and right by the feet")
    filled = [name for name in needed if name not in own]
    spines = [name for name in names if name in SPINE]
    if any(name in own for name in spines) and not all(name in own for name in spines):
        for name in spines:  # all from one source, so that they stay in order
            found.weights.pop(name, None)
    found.weights.update(own)
    missing = fill(tree, found, skeleton, trunk, given=own)
    if by_map:
        by = "joints by the joint map"
    elif own:
        by = f"joints by the joint map and {by.removeprefix('joints ')}"
    match = JointMatch(
        skeleton, {name: found.weights[name] for name in names if name in found.weights}, missing,
        "; ".join([by + _made_up(found, own, capture.names, names), *notes]), by_map,
    )  # fmt: skip
    _refuse_doubles(path, match, own, capture.names)
    if not by_map:
        at = match.positions(tree.points)
        reason = why_no_human({name: at[:, index] for index, name in enumerate(names)})
        if reason is not None and not any(name in own for name in filled):
            raise UserError(
                f"{path}: apparently not a human: {reason}; if it is one, name its joints with --joint-map FILE "
                "(m2t-fast caption --show-joints FILE prints what was found)"
            )
    return match


def _can_be_derived(name: str) -> bool:
    return name in SPINE or name.endswith(("_collar", "_toe"))


def _own_names(tree: Tree, names: tuple[str, ...]) -> dict[str, Weights] | None:
    """The nodes that have exactly our names (SMPL's for 22 joints) in any spelling; None unless all are there."""
    sides = {"left": LEFT, "right": RIGHT}
    at: dict[tuple[int, str, tuple[int, ...]], int] = {}
    for node, said in enumerate(tree.said):
        if not tree.ends[node]:
            at.setdefault((said.side, said.base, said.digits), node)
    found: dict[str, Weights] = {}
    for name in names:
        side, _, rest = name.partition("_")
        base = rest if side in sides else name
        digits = tuple(int(character) for character in base if character.isdecimal())
        there = at.get((sides.get(side, 0), base.rstrip("0123456789"), digits))
        if there is None:
            return None
        found[name] = {there: 1.0}
    line = [next(iter(found[name])) for name in ("pelvis", *(n for n in names if n in SPINE), "neck")]
    bones = [tree.distance(low, high) for low, high in itertools.pairwise(line)]
    # Second Life's spine1 to spine4 are folded into the pelvis.
    return found if min(bones) > _FOLDED * sum(bones) else None


def _agrees(tree: Tree, body: Body) -> bool:
    """Whether no joint of a limb has the name of another joint of that limb."""
    for kind, pair in (("leg", body.legs), ("arm", body.arms)):
        for limb in (pair.left, pair.right):
            bases: set[str] = set()
            for role, node in zip(ROLES[kind], limb.joints, strict=True):
                said = tree.said[node]
                if said.roles and role not in said.roles and said.base not in bases and max(said.roles.values()) >= 2:
                    return False
                bases.add(said.base)
    return True


def _tips(tree: Tree, own: dict[str, Weights], found: Found, names: tuple[str, ...]) -> None:
    """Takes the End Sites of the balls of the feet that a joint map names as the tips of the toes."""
    for side in ("left", "right"):
        name = f"{side}_toe"
        if name not in names or name in own:
            continue
        ball = max(own[f"{side}_foot"], key=lambda node: own[f"{side}_foot"][node])
        ends = [child for child in tree.children[ball] if tree.ends[child]]
        ankle = max(own[f"{side}_ankle"], key=lambda node: own[f"{side}_ankle"][node])
        if ends and tree.length[ends[0]] > 0.01 * tree.distance(ball, ankle):
            found.weights[name] = {ends[0]: 1.0}


def _resolve(path: str | Path, nodes: Nodes, names: tuple[str, ...], name: str, theirs: object) -> Weights:
    if isinstance(theirs, dict):
        parts = dict(theirs)
    else:
        several = theirs if isinstance(theirs, list) else [theirs]
        parts = {one: several.count(one) / len(several) for one in several}
    weights: Weights = {}
    for one, weight in parts.items():
        index = nodes.find(one)
        if index is None:
            near = difflib.get_close_matches(one, names, n=3)
            hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(names[:_LISTED])}"
            raise UserError(f"{path}: no joint {one!r}, which the joint map names for {name}; {hint}")
        weights[index] = weights.get(index, 0.0) + weight
    return weights


def _not_found(path: str | Path, nodes: Nodes, names: tuple[str, ...], needed: list[str]) -> str:
    scheme, missing = scheme_of(nodes, needed)
    joints = [n for n in names if not n.endswith(".end")]
    shown = ", ".join(joints[:_LISTED]) + (f" and {len(joints) - _LISTED} more" if len(joints) > _LISTED else "")
    if missing and len(missing) < (1 - _FITS) * len(scheme.joints):
        wanted = ", ".join(f"{name} ({_expected(scheme.joints[name])})" for name in missing)
        return f"{path}: {scheme.name} skeleton without a joint for {wanted}; it has {shown} (--joint-map)"
    return (
        f"{path}: no human body in its skeleton: no two legs and two arms of three joints each at the ends of a trunk; "
        f"it has {shown} (name its joints with --joint-map FILE)"
    )


def _expected(theirs: str | list[str]) -> str:
    return theirs.replace("|", " or ") if isinstance(theirs, str) else " and ".join(theirs)


def _made_up(found: Found, own: Mapping[str, Weights], names: tuple[str, ...], wanted: tuple[str, ...]) -> str:
    """The note about joints that the file does not have."""
    made_up = [name for name in found.made_up if name not in own]
    said = f", interpolated {', '.join(made_up)}" if made_up else ""
    ends = [name for name in found.from_ends if name not in own and name in wanted]
    if ends:
        said += f", {', '.join(f'{name} at {names[next(iter(found.weights[name]))]}' for name in ends)}"
    return said


def _refuse_doubles(path: str | Path, match: JointMatch, own: Mapping[str, Weights], names: tuple[str, ...]) -> None:
    """Refuses a joint map that puts two joints of ours on one node of the file."""
    taken: dict[int, str] = {}
    for name, weights in match.weights.items():
        if len(weights) > 1:
            continue
        node = next(iter(weights))
        if node in taken and (name in own or taken[node] in own):
            what_to_do = "give one of them another joint" if {name, taken[node]} <= own.keys() else "name both"
            raise UserError(
                f"{path}: {names[node]} would be both {taken[node]} and {name}; {what_to_do} in the joint map "
                "(m2t-fast caption --show-joints FILE prints a map to edit)"
            )
        taken[node] = name
