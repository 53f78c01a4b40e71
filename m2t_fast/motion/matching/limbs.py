"""A leg or an arm in a chain of joints, by the names and by the lengths of the bones."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from m2t_fast.motion.matching.names import Name
from m2t_fast.motion.matching.tree import Tree

ROLES: dict[str, tuple[str, str, str]] = {"leg": ("hip", "knee", "ankle"), "arm": ("shoulder", "elbow", "wrist")}
_ORDER = {
    "leg": {"beforehip": 0, "hip": 1, "knee": 2, "ankle": 3, "foot": 4},
    "arm": {"collar": 0, "shoulder": 1, "elbow": 2, "wrist": 3},
}
_UPPER_OF_LOWER = {"leg": 1.0, "arm": 1.08}  # thigh of shin, upper arm of forearm
_OF_DIAMETER = {"leg": 0.36, "arm": 0.235}  # of the longest way between two nodes of a body
_OTHERWISE, _SKIPPED = 2.0, 1.0  # what a name costs that says otherwise, and one that is passed over
_STRAIGHT = 0.03  # share by which the bones of one half of a limb may be longer than the straight way
_NEAR_FOOT = 0.03  # a node nearer to the ankle, in legs, is no ball of the foot
_MIDDLE_OF_FOOT = 0.11  # nearer to the ankle is the middle of the foot, where its ball has a node, too
_HALVES = 2.0  # the halves of a limb of a body differ less


@dataclass(frozen=True)
class Limb:
    """Where a limb is: ``joints`` are hip, knee and ankle, or shoulder, elbow and wrist; ``before`` the nodes from the
    branching on, ``after`` what follows; ``upper`` and ``lower`` lengths; ``score`` how well it fits; ``side`` by its
    names; ``places`` of the joints in the chain from the branching on."""

    joints: tuple[int, int, int]
    before: tuple[int, ...]
    after: tuple[int, ...]
    upper: float
    lower: float
    score: float
    side: int
    places: tuple[int, ...]

    @property
    def length(self) -> float:
        """Upper and lower half."""
        return self.upper + self.lower


def fit_limb(tree: Tree, start: int, kind: str, places: tuple[int, ...] | None = None) -> Limb | None:
    """The best fit of a leg or an arm (``kind``) to the chain that begins at node ``start``; None if nothing fits.

    ``places``: take these joints of the chain, like the other side.
    """
    chain = tree.chain(start)
    if len(chain) < 3:
        return None
    roles = ROLES[kind]
    order = _ORDER[kind]
    said = [tree.said[node] for node in chain]
    along = np.cumsum([0.0, *(tree.length[node] for node in chain[1:])])
    first = tree.length[start]
    best: Limb | None = None
    for picked in itertools.combinations(range(len(chain)), 3) if places is None else [places]:
        a, b, c = picked
        if c >= len(chain):
            continue
        if tree.ends[chain[a]] or tree.ends[chain[b]]:
            continue
        upper, lower = along[b] - along[a], along[c] - along[b]
        if min(upper, lower) <= 0 or max(upper, lower) > _HALVES * min(upper, lower):
            continue
        score = _by_names(said, picked, roles, order) - (1.0 if tree.ends[chain[c]] else 0.0)
        score -= 0.1 * (a + b + c)  # of several alike (bones split in two) the first
        score -= _penalty(math.log(upper / lower / _UPPER_OF_LOWER[kind]), 0.25)
        score -= _penalty(math.log((upper + lower) / (_OF_DIAMETER[kind] * tree.diameter)), 0.35)
        before = (along[a] + first) / (upper + lower)
        score -= _penalty(max(0.0, before - (0.35 if kind == "leg" else 0.7)), 0.15)
        if kind == "leg":
            foot = along[c + 1] - along[c] if c + 1 < len(chain) else 0.0
            score -= _penalty(max(0.0, foot / (upper + lower) - 0.3), 0.08)
        if best is not None and score <= best.score:
            continue
        bent = sum(_bend(tree, chain[i : j + 1], along[j] - along[i]) for i, j in ((a, b), (b, c)))
        score -= 2.0 * bent
        if best is None or score > best.score:
            sides = sum(said[index].side for index in range(c + 1))
            side = (sides > 0) - (sides < 0)
            nodes = (chain[a], chain[b], chain[c])
            best = Limb(nodes, tuple(chain[:a]), tuple(chain[c + 1 :]), upper, lower, score, side, picked)
    return best


def _by_names(said: list[Name], picked: tuple[int, ...], roles: tuple[str, ...], order: dict[str, int]) -> float:
    bases = [name.base for name in said if name.roles]
    if len(bases) >= 3 and len(set(bases)) == 1:
        return 0.0  # "arm_joint_4", "arm_joint_3", "arm_joint_2" tell the limb, and none of its joints
    score = 0.0
    for index, name in enumerate(said):
        mine = {role: value for role, value in name.roles.items() if role in order}
        if index in picked:
            role = roles[picked.index(index)]
            score += mine.get(role, -_OTHERWISE if name.roles or name.other else 0.0)
        elif mine:
            surest = max(mine, key=lambda role: mine[role])
            before = sum(index > other for other in picked)  # how many of the three lie before it
            fits = any(before <= order[role] <= before + 1 for role in mine)
            if not fits:
                score -= _SKIPPED * mine[surest]
            elif surest in roles and before < 3 and index < picked[-1]:
                wanted = said[picked[roles.index(surest)]].roles.get(surest, 0.0)
                score -= _SKIPPED * max(0.0, mine[surest] - wanted)
    return score


def _bend(tree: Tree, nodes: list[int], length: float) -> float:
    """1 where a half of a limb that is made of several bones is not straight in most frames, else 0."""
    if len(nodes) < 3 or length <= 0:
        return 0.0
    return float(tree.distance(nodes[0], nodes[-1]) < (1.0 - _STRAIGHT) * length)


def _penalty(off: float, spread: float) -> float:
    return min(0.5 * (off / spread) ** 2, 5.0)


def ball_of_foot(tree: Tree, leg: Limb) -> int | None:
    """The node that is the ball of the foot: by its name, else the next joint, else the End Site; None without any."""
    ankle = leg.joints[2]
    near = _NEAR_FOOT * leg.length
    named = [node for node in leg.after if tree.said[node].roles.get("foot", 0.0) > 0]
    named = [node for node in named if tree.distance(node, ankle) > _MIDDLE_OF_FOOT * leg.length] or named
    if named:
        sure = tree.said[ankle].roles.get("ankle") == 2.0  # then what is called foot is no ankle

        def surest(node: int) -> float:
            roles = tree.said[node].roles
            return 2.0 if sure and "ankle" in roles else roles["foot"]

        return max(named, key=surest)
    far = [node for node in leg.after if tree.distance(node, ankle) > near]
    joints = [node for node in far if not tree.ends[node] and not tree.said[node].roles]
    return joints[0] if joints else far[0] if far else None


def tip_of_toes(tree: Tree, leg: Limb, ball: int) -> int | None:
    """The node after the ball of the foot; None where there is none, or it lies on the ball."""
    if ball not in leg.after:
        return None
    after = leg.after[leg.after.index(ball) + 1 :] or tuple(tree.children[ball])  # 3ds Max: Toe0Nub
    near = 0.01 * tree.distance(ball, leg.joints[2])
    return next((node for node in after if tree.distance(node, ball) > near), None)


def collar_of(tree: Tree, arm: Limb) -> int | None:
    """The inner end of the collar bone: the joint before the shoulder; None where the arm begins with the shoulder."""
    named = [node for node in arm.before if tree.said[node].roles.get("collar", 0.0) > 0]
    unnamed = [node for node in arm.before if not tree.said[node].roles]
    return named[0] if named else unnamed[-1] if unnamed else None
