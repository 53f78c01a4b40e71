"""Finds a human body in a hierarchy: two legs and two arms, the trunk between them, neck and head, left and right."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from m2t_fast.motion.matching.limbs import Limb, fit_limb
from m2t_fast.motion.matching.names import LEFT, RIGHT
from m2t_fast.motion.matching.tree import Tree

_ARMS_OF_LEGS, _HEAD_OF_LEG = 0.63, 0.125  # arms, and the way from the neck to the head, as shares of a leg
_THORAX_BELOW, _NECK_ABOVE = 0.05, 0.095  # of a leg: a thorax between the shoulders, and no neck so far above them
_HEAD_ABOVE = 0.115  # of a leg above the line of the shoulders: lower is no head but the lower end of the neck
_SIDES = 1.5  # limbs of one body differ less from side to side
_MOST_PAIRS = 12  # pairs of limbs of a kind that are looked at


@dataclass(frozen=True)
class Pair:
    """A left and a right limb and the node where their branches part; ``told`` whether names say which is which."""

    left: Limb
    right: Limb
    at: int
    score: float
    told: bool

    @property
    def length(self) -> float:
        """Mean of both."""
        return 0.5 * (self.left.length + self.right.length)

    def swapped(self) -> Pair:
        """Left and right exchanged."""
        return Pair(self.right, self.left, self.at, self.score, self.told)


@dataclass(frozen=True)
class Body:
    """A body: its limbs; ``pelvis``; ``trunk``, the nodes after the pelvis up to where the arms branch off; ``neck``
    (lower end, None where the skeleton has none) and ``head`` (None without any)."""

    legs: Pair
    arms: Pair
    pelvis: int
    trunk: tuple[int, ...]
    neck: int | None
    head: int | None


def find_body(tree: Tree) -> Body | None:
    """The body that fits the hierarchy best; None if there are not two legs, and two arms away from them."""
    legs, arms = _pairs(tree, "leg"), _pairs(tree, "arm")
    best: tuple[float, Pair, Pair] | None = None
    for leg, arm in itertools.product(legs, arms):
        if not _apart(tree, leg, arm):
            continue
        score = leg.score + arm.score - min(0.5 * (math.log(arm.length / leg.length / _ARMS_OF_LEGS) / 0.2) ** 2, 6.0)
        trunk = _length(tree, tree.between(leg.at, arm.at))
        score -= 0.0 if 0.2 * leg.length < trunk < 1.5 * leg.length else 3.0
        score += 1.0 if _head_branches(tree, leg, arm) else 0.0
        if best is None or score > best[0]:
            best = (score, leg, arm)
    if best is None:
        return None
    legs_found, arms_found = _sides(tree, best[1], best[2])
    pelvis = _pelvis(tree, legs_found, arms_found)
    way = tree.between(pelvis, arms_found.at)
    neck, head = _neck_and_head(tree, legs_found, arms_found, way)
    if neck is None and head is not None and _on_the_shoulders(tree, legs_found, arms_found, head):
        neck, head = head, None
    elif neck is not None and _thorax_is_neck(tree, legs_found, arms_found, neck):
        neck, head = arms_found.at, neck
    trunk_nodes = tuple(node for node in way[1:] if node not in (neck, head) and "neck" not in tree.said[node].roles)
    return Body(legs_found, arms_found, pelvis, trunk_nodes, neck, head)


def _pairs(tree: Tree, kind: str) -> list[Pair]:
    found = []
    fitted: dict[int, Limb | None] = {}
    for node in range(len(tree.names)):
        below = [child for child in tree.branches(node) if not tree.ends[child]]
        for first, second in itertools.combinations(below, 2):
            limbs = []
            for start in (first, second):
                if start not in fitted:
                    fitted[start] = fit_limb(tree, start, kind)
                limbs.append(fitted[start])
            one, two = limbs
            if one is None or two is None:
                continue
            if one.places != two.places:
                one, two = _alike(tree, (first, second), (one, two), kind)
            if not 1 / _SIDES < one.length / two.length < _SIDES:
                continue
            score = one.score + two.score
            for a, b in ((one.upper, two.upper), (one.lower, two.lower)):
                score -= min(0.5 * (math.log(a / b) / 0.08) ** 2, 4.0)
            told = one.side * two.side == -1
            score += 2.0 if told else -3.0 if one.side * two.side == 1 else 0.0
            left, right = (two, one) if told and one.side == RIGHT else (one, two)
            found.append(Pair(left, right, node, score, told))
    return sorted(found, key=lambda pair: -pair.score)[:_MOST_PAIRS]


def _alike(tree: Tree, starts: tuple[int, int], limbs: tuple[Limb, Limb], kind: str) -> tuple[Limb, Limb]:
    """Limbs of two chains with the same names on both sides: their joints are at the same places in both chains, the
    places that fit both best."""
    names = [[(tree.said[node].base, tree.said[node].digits) for node in tree.chain(start)] for start in starts]
    if names[0] != names[1]:
        return limbs
    best = limbs
    most = -math.inf
    for limb in limbs:
        one, two = (fit_limb(tree, start, kind, limb.places) for start in starts)
        if one is not None and two is not None and one.score + two.score > most:
            best, most = (one, two), one.score + two.score
    return best


def _apart(tree: Tree, legs: Pair, arms: Pair) -> bool:
    """Whether the pairs branch off at different places and share no node."""
    if legs.at == arms.at:
        return False
    mine = {node for limb in (legs.left, legs.right) for node in (*limb.before, *limb.joints)}
    theirs = {node for limb in (arms.left, arms.right) for node in (*limb.before, *limb.joints)}
    return not mine & theirs and arms.at not in mine and legs.at not in theirs


def _length(tree: Tree, nodes: list[int]) -> float:
    return sum(tree.distance(a, b) for a, b in itertools.pairwise(nodes))


def _pelvis(tree: Tree, legs: Pair, arms: Pair) -> int:
    """The node where the legs part, or one beside it that is named pelvis (Biped's and Poser's have both)."""
    near = 0.2 * legs.length
    line = [legs.at, *reversed(tree.path(legs.at)[:-1])]
    named = [n for n in line if tree.said[n].roles.get("pelvis", 0.0) == 2.0 and tree.distance(n, legs.at) < near]
    below = [node for node in tree.branches(legs.at) if tree.said[node].roles.get("pelvis", 0.0) == 2.0]
    named += [
        node for node in below if tree.distance(node, legs.at) < near and node not in tree.between(legs.at, arms.at)
    ]
    if named:
        return named[0]
    hips = 0.5 * (tree.points[:, legs.left.joints[0]] + tree.points[:, legs.right.joints[0]])

    def apart(node: int) -> float:
        return float(np.median(np.linalg.norm(tree.points[:, node] - hips, axis=1)))

    unnamed = [node for node in line if not tree.said[node].roles and tree.distance(node, legs.at) < near]
    return min([legs.at, *unnamed], key=lambda node: (round(apart(node) / near, 2), node != legs.at))


def _head_branches(tree: Tree, legs: Pair, arms: Pair) -> list[int]:
    """Nodes where neck and head may begin: at the arms' branching or next to it, away from arms and legs."""
    starts = {(*limb.before, *limb.joints)[0] for limb in (arms.left, arms.right)}
    way = tree.between(legs.at, arms.at)
    if len(way) > 1 and tree.parents[arms.at] != way[-2]:  # the root is not at the legs' side
        starts.add(way[-2])
    found = [node for node in tree.branches(arms.at) if node not in starts and node not in way]
    parent = tree.parents[arms.at]
    if parent >= 0 and parent in way[1:]:
        found += [n for n in tree.branches(parent) if n not in way and {"neck", "head"} & set(tree.said[n].roles)]
    return found


def _neck_and_head(tree: Tree, legs: Pair, arms: Pair, way: list[int]) -> tuple[int | None, int | None]:
    on_the_way = [node for node in way[1:] if "neck" in tree.said[node].roles]
    starts = _head_branches(tree, legs, arms)
    chains = [tree.chain(node) for node in starts]

    def worth(chain: list[int]) -> tuple[float, float]:
        told = sum(any(role in tree.said[node].roles for role in ("neck", "head")) for node in chain)
        return told, tree.length[chain[0]] + tree.reach[chain[0]]

    chain = [*on_the_way, *(max(chains, key=worth) if chains else [])]
    necks = [node for node in chain if "neck" in tree.said[node].roles]
    heads = [node for node in chain if "head" in tree.said[node].roles]
    if heads:
        before = [node for node in necks if chain.index(node) < chain.index(heads[0])]
        surest = max((tree.said[node].roles["neck"] for node in before), default=0.0)
        unnamed = [n for n in chain[: chain.index(heads[0])] if not tree.said[n].roles and not tree.ends[n]]
        neck = next((node for node in before if tree.said[node].roles["neck"] == surest), None)
        return (neck if neck is not None else unnamed[0] if unnamed else None), heads[0]
    if necks:
        neck = necks[-1] if len(necks) > 1 and necks[0] == arms.at else necks[0]
        after = chain[chain.index(neck) + 1 :]
        return neck, (_head_of(tree, neck, after, legs.length) if after else None)
    return _unnamed_neck(tree, chain, legs.length)


def _on_the_shoulders(tree: Tree, legs: Pair, arms: Pair, head: int) -> bool:
    """Whether the joint called head is at the lower end of the neck, as in Roblox's skeleton, which has no neck."""
    return not tree.ends[head] and _above_shoulders(tree, legs, arms, head) < _HEAD_ABOVE * legs.length


def _thorax_is_neck(tree: Tree, legs: Pair, arms: Pair, neck: int) -> bool:
    """Whether the arms start at a thorax without collars and the joint called neck lies in the head, as in skeletons
    made from keypoints of video (Human3.6M's): the thorax is then the lower end of the neck."""
    collars = [*arms.left.before, *arms.right.before]
    if collars or tree.said[arms.at].base != "thorax":
        return False
    below, above = (_above_shoulders(tree, legs, arms, node) / legs.length for node in (arms.at, neck))
    return below > -_THORAX_BELOW and above > _NECK_ABOVE


def _above_shoulders(tree: Tree, legs: Pair, arms: Pair, node: int) -> float:
    """How far a node lies above the line of the shoulders, along the trunk."""
    hips, shoulders = (
        0.5 * (tree.points[:, pair.left.joints[0]] + tree.points[:, pair.right.joints[0]]) for pair in (legs, arms)
    )
    up = shoulders - hips
    up = up / np.maximum(np.linalg.norm(up, axis=1, keepdims=True), 1e-30)
    return float(np.median(((tree.points[:, node] - shoulders) * up).sum(axis=1)))


def _unnamed_neck(tree: Tree, chain: list[int], leg: float) -> tuple[int | None, int | None]:
    """Neck and head of a chain whose names say nothing: the head lies about an eighth of a leg above the neck."""
    nodes = [node for node in chain if not tree.ends[node]]
    if len(nodes) >= 2:
        return nodes[0], _head_of(tree, nodes[0], nodes[1:], leg)
    if nodes:
        return (nodes[0], chain[1]) if len(chain) > 1 else (None, nodes[0])
    return None, (chain[0] if chain else None)


def _head_of(tree: Tree, neck: int, above: list[int], leg: float) -> int:
    """The head among nodes above the neck whose names do not say: the one as far above the neck as heads are."""
    return min(above, key=lambda node: abs(tree.distance(node, neck) - _HEAD_OF_LEG * leg))


def _sides(tree: Tree, legs: Pair, arms: Pair) -> tuple[Pair, Pair]:
    """Both pairs with left and right told apart: by their names, else by the other pair, else by where feet and knees
    point."""
    if not legs.told or not arms.told:
        left = left_of(tree, legs, arms)
        if legs.told or arms.told:
            told = legs if legs.told else arms
            left = _across(tree, told)
        if not legs.told and _agreement(tree, legs, left) < 0:
            legs = legs.swapped()
        if not arms.told and _agreement(tree, arms, left) < 0:
            arms = arms.swapped()
    return legs, arms


def _across(tree: Tree, pair: Pair) -> np.ndarray:
    return tree.points[:, pair.left.joints[0]] - tree.points[:, pair.right.joints[0]]


def _agreement(tree: Tree, pair: Pair, left: np.ndarray) -> float:
    return float(np.sign((_across(tree, pair) * left).sum(axis=1)).sum())


def left_of(tree: Tree, legs: Pair, arms: Pair) -> np.ndarray:
    """(S, 3) where the left side is by the shape of the body alone: the side that up x forward points to, with forward
    where feet point from the ankle and knees bend to, and away from where elbows bend to."""
    points = tree.points
    hips, shoulders = (
        0.5 * (points[:, pair.left.joints[0]] + points[:, pair.right.joints[0]]) for pair in (legs, arms)
    )
    up = shoulders - hips
    forward = np.zeros_like(up)
    for limb in (legs.left, legs.right):
        hip, knee, ankle = (points[:, node] for node in limb.joints)
        forward += (knee - 0.5 * (hip + ankle)) / limb.length
        foot = next((node for node in limb.after if tree.distance(node, limb.joints[2]) > 0.03 * limb.length), None)
        if foot is not None:
            forward += 2.0 * _across_of(points[:, foot] - ankle, ankle - knee) / limb.length
    for limb in (arms.left, arms.right):
        shoulder, elbow, wrist = (points[:, node] for node in limb.joints)
        forward -= 0.5 * (elbow - 0.5 * (shoulder + wrist)) / limb.length
    return np.cross(up, forward)


def _across_of(vector: np.ndarray, line: np.ndarray) -> np.ndarray:
    """The component of ``vector`` (S, 3) at right angles to ``line``."""
    unit = line / np.maximum(np.linalg.norm(line, axis=1, keepdims=True), 1e-30)
    return vector - (vector * unit).sum(axis=1, keepdims=True) * unit


def sides_disagree(tree: Tree, body: Body) -> bool:
    """Whether the limbs named left are on the right by the body's shape, in nearly all frames."""
    left = left_of(tree, body.legs, body.arms)
    signs = [np.sign((_across(tree, pair) * left).sum(axis=1)).mean() for pair in (body.legs, body.arms)]
    return max(signs) < -0.8


__all__ = ["LEFT", "RIGHT", "Body", "Pair", "find_body", "left_of", "sides_disagree"]
