"""Our joints in a body that was found: the node of each, and the place of those without a node."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from m2t_fast.motion.joint_names import COLLAR, FOOT, HEAD, JOINT_NAMES, SPINE, TOE
from m2t_fast.motion.matching.body import Body
from m2t_fast.motion.matching.limbs import ball_of_foot, collar_of, tip_of_toes
from m2t_fast.motion.matching.tree import Tree
from m2t_fast.skeleton import Skeleton

_TOGETHER = 0.03  # collars nearer than this share of a leg lie in the middle of the body: CMU's
_SPINE_RANGE = ((0.08, 0.45), (0.22, 0.7), (0.4, 0.92))  # shares of the way from the pelvis to the neck

Weights = dict[int, float]
"""A point as a weighted sum of nodes; the weights add up to 1."""


@dataclass
class Found:
    """Our joints as weights of nodes; ``made_up``: those without a node; ``from_ends``: those at an End Site."""

    weights: dict[str, Weights] = field(default_factory=dict)
    made_up: list[str] = field(default_factory=list)
    from_ends: list[str] = field(default_factory=list)


def joints_of(tree: Tree, body: Body, family: str | None) -> Found:
    """Every joint of our two skeletons that a body has.

    Left out, for :func:`fill`, are the spine where it is to be interpolated, balls of feet and tips of toes that have
    no node, and the neck, the head and the collars where the hierarchy has none.
    """
    found = Found()
    weights = found.weights
    weights["pelvis"] = {body.pelvis: 1.0}
    for side in ("left", "right"):
        leg, arm = getattr(body.legs, side), getattr(body.arms, side)
        for name, node in zip(("hip", "knee", "ankle"), leg.joints, strict=True):
            weights[f"{side}_{name}"] = {node: 1.0}
        for name, node in zip(("shoulder", "elbow", "wrist"), arm.joints, strict=True):
            weights[f"{side}_{name}"] = {node: 1.0}
        ball = ball_of_foot(tree, leg)
        if ball is not None:
            weights[f"{side}_foot"] = {ball: 1.0}
            tip = tip_of_toes(tree, leg, ball)
            if tip is not None:
                weights[f"{side}_toe"] = {tip: 1.0}
    _collars(tree, body, weights)
    neck, head = body.neck, body.head
    if family == "CMU" and neck is not None and head is not None:
        upper = [n for n in tree.between(neck, head)[1:-1] if "neck" in tree.said[n].roles]
        neck = upper[-1] if upper else neck  # two bones of the neck, the lower of which lies in the chest
    if neck is not None:
        weights["neck"] = {neck: 1.0}
    if head is not None:
        weights["head"] = {head: 1.0}
    for name, place in _spine(tree, body, neck, family).items():
        weights[name] = place
    found.from_ends = [name for name in weights if any(tree.ends[n] for n in weights[name]) and not _is_tip(name)]
    return found


def _is_tip(name: str) -> bool:
    return name.endswith("_toe")


def _collars(tree: Tree, body: Body, weights: dict[str, Weights]) -> None:
    collars = [collar_of(tree, body.arms.left), collar_of(tree, body.arms.right)]
    left, right = collars
    if left is None or right is None:
        return
    together = tree.distance(left, right) < _TOGETHER * body.legs.length
    for side, collar, arm in (("left", left, body.arms.left), ("right", right, body.arms.right)):
        weights[f"{side}_collar"] = {collar: 0.5, arm.joints[0]: 0.5} if together else {collar: 1.0}


def _spine(tree: Tree, body: Body, neck: int | None, family: str | None) -> dict[str, Weights]:
    """spine1 to spine3 where the trunk has three bones, or where its names are SMPL's or Bandai-Namco's."""
    bones = _distinct(tree, [body.pelvis, *body.trunk], 0.02 * body.legs.length)[1:]
    bones = [node for node in bones if neck is None or tree.distance(node, neck) > 0.02 * body.legs.length]
    if len(bones) == 3 and _like_a_spine(tree, [body.pelvis, *bones], neck):
        return {f"spine{number}": {node: 1.0} for number, node in enumerate(bones, start=1)}
    if len(bones) == 2 and family == "Bandai-Namco":
        low, high = bones
        return {"spine1": {low: 1.0}, "spine2": {low: 0.5, high: 0.5}, "spine3": {high: 1.0}}
    return {}


def _like_a_spine(tree: Tree, line: list[int], neck: int | None) -> bool:
    """Whether three bones lie along the trunk about where SMPL's spine does; one at the pelvis is not spine1."""
    if neck is None:
        return True
    lengths = [tree.distance(low, high) for low, high in itertools.pairwise([*line, neck])]
    shares = np.cumsum(lengths)[:3] / max(sum(lengths), 1e-30)
    return all(low <= share <= high for share, (low, high) in zip(shares, _SPINE_RANGE, strict=True))


def _distinct(tree: Tree, nodes: list[int], near: float) -> list[int]:
    """Nodes without those at the same place as the one before."""
    kept = nodes[:1]
    for node in nodes[1:]:
        if tree.distance(node, kept[-1]) > near:
            kept.append(node)
    return kept


def fill(
    tree: Tree, found: Found, skeleton: Skeleton, trunk: tuple[int, ...], given: Collection[str] = ()
) -> list[str]:
    """Adds joints of ``skeleton`` that can be derived from nodes; returns those still missing: balls of the feet.

    ``trunk`` are the nodes between pelvis and neck, along which the spine is interpolated; ``given`` joints stay.
    """
    weights = found.weights
    if "neck" not in weights and {"left_shoulder", "right_shoulder"} <= weights.keys():
        beside = [weights.get(f"{side}_collar", weights[f"{side}_shoulder"]) for side in ("left", "right")]
        weights["neck"] = _mix(beside[0], beside[1], 0.5)
        found.made_up.append("neck")
    if "head" not in weights and "neck" in weights:
        below = {trunk[-1]: 1.0} if trunk else weights["pelvis"]
        length, leg = _distance(tree, below, weights["neck"]), _leg(tree, weights)
        weights["head"] = _mix(below, weights["neck"], 1.0 + HEAD * leg / length if length > 0 else 1.0)
        found.made_up.append("head")
    missing = []
    spines = [name for name in JOINT_NAMES[skeleton.name] if name in SPINE]
    if not all(name in weights for name in spines):  # all from one source, so that they stay in order
        line = [weights["pelvis"], *({node: 1.0} for node in trunk), weights["neck"]]
        for name in (name for name in spines if name not in given):
            weights[name] = _along(tree, line, SPINE[name])
            found.made_up.append(name)
    for name in JOINT_NAMES[skeleton.name]:
        side = name.split("_")[0]
        if name in weights:
            continue
        if name.endswith("_collar"):
            weights[name] = _mix(weights["neck"], weights[f"{side}_shoulder"], COLLAR)
            found.made_up.append(name)
        elif name.endswith("_foot"):
            missing.append(name)
            found.made_up.append(name)
        elif name.endswith("_toe") and f"{side}_foot" in weights:
            weights[name] = _mix(weights[f"{side}_ankle"], weights[f"{side}_foot"], 1.0 + TOE)
            found.made_up.append(name)
        elif name.endswith("_toe"):
            missing.append(name)
            found.made_up.append(name)
    found.made_up.sort(
        key=lambda name: JOINT_NAMES[skeleton.name].index(name) if name in JOINT_NAMES[skeleton.name] else -1
    )
    return missing


def make_up_feet(joints: np.ndarray, names: tuple[str, ...], missing: list[str]) -> None:
    """Puts the balls of the feet (and the tips of the toes) of joints (T, J, 3), in place, where the body faces: as
    far from the ankle as in usual bodies, forward and down.

    Forward is at right angles to the shin and to the line of the hips, to the side where ``up x forward`` is left.
    """
    at = {name: joints[:, index] for index, name in enumerate(names)}
    across = at["left_hip"] - at["right_hip"]
    for name in missing:
        side, _, what = name.partition("_")
        down = _unit(at[f"{side}_ankle"] - at[f"{side}_knee"])
        forward = _unit(np.cross(down, across))
        leg = np.linalg.norm(at[f"{side}_hip"] - at[f"{side}_knee"], axis=1)
        leg = np.median(leg + np.linalg.norm(at[f"{side}_knee"] - at[f"{side}_ankle"], axis=1))
        reach = 1.0 if what == "foot" else 1.0 + TOE
        joints[:, names.index(name)] = at[f"{side}_ankle"] + leg * (FOOT[0] * reach * forward + FOOT[1] * down)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-30)


def _mix(first: Weights, second: Weights, share: float) -> Weights:
    """The point ``share`` of the way from the first to the second."""
    mixed = {node: (1.0 - share) * weight for node, weight in first.items()}
    for node, weight in second.items():
        mixed[node] = mixed.get(node, 0.0) + share * weight
    return mixed


def _place(tree: Tree, point: Weights) -> np.ndarray:
    return sum(weight * tree.points[:, node] for node, weight in point.items()) + np.zeros((len(tree.points), 3))


def _distance(tree: Tree, first: Weights, second: Weights) -> float:
    return float(np.median(np.linalg.norm(_place(tree, first) - _place(tree, second), axis=1)))


def _leg(tree: Tree, weights: dict[str, Weights]) -> float:
    return sum(
        _distance(tree, weights[f"left_{a}"], weights[f"left_{b}"]) for a, b in (("hip", "knee"), ("knee", "ankle"))
    )


def _along(tree: Tree, line: list[Weights], share: float) -> Weights:
    """The point at ``share`` of the way along a line of bones."""
    lengths = [_distance(tree, a, b) for a, b in itertools.pairwise(line)]
    left = share * sum(lengths)
    for (start, end), length in zip(itertools.pairwise(line), lengths, strict=True):
        if left <= length and length > 0:
            return _mix(start, end, left / length)
        left -= length
    return line[-1]
