"""Whether limbs are those of a human."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_ARMS = (0.42, 0.85)  # shoulder to wrist, as a share of hip to ankle: humans 0.55 to 0.71, a dog 0.98
_HALVES = 1.9
_SIDES = 1.35
_APART = 0.02  # of a leg
_TRUNK = (0.25, 1.4)  # pelvis to neck, as a share of hip to ankle: humans about 0.6

_LIMBS = {
    "leg": (("hip", "knee"), ("knee", "ankle")),
    "arm": (("shoulder", "elbow"), ("elbow", "wrist")),
}


def why_no_human(points: Mapping[str, np.ndarray]) -> str | None:
    """Why joints cannot be those of a human; None if they may be.

    Args:
        points: our joint names -> (S, 3) positions, in any unit.
    """

    def distance(first: str, second: str) -> float:
        return float(np.median(np.linalg.norm(points[first] - points[second], axis=1)))

    halves = {
        (side, limb): [distance(f"{side}_{a}", f"{side}_{b}") for a, b in pairs]
        for limb, pairs in _LIMBS.items()
        for side in ("left", "right")
    }
    if min(min(both) for both in halves.values()) <= 0:
        return "limbs without length"
    length = {limb: 0.5 * sum(sum(halves[side, limb]) for side in ("left", "right")) for limb in _LIMBS}
    share = length["arm"] / length["leg"]
    if not _ARMS[0] <= share <= _ARMS[1]:
        what = "as long as legs" if 0.9 <= share <= 1.1 else "of another length"
        return f"arms {what} ({share:.2f} of them; of humans 0.55 to 0.71)"
    for limb in _LIMBS:
        left, right = (sum(halves[side, limb]) for side in ("left", "right"))
        if max(left, right) > _SIDES * min(left, right):
            return f"one {limb} is {max(left, right) / min(left, right):.1f} times as long as the other"
        for upper, lower in (halves[side, limb] for side in ("left", "right")):
            if max(upper, lower) > _HALVES * min(upper, lower):
                return f"the halves of a {limb} are as 1 to {max(upper, lower) / min(upper, lower):.1f}"
    if max(distance(f"left_{name}", f"right_{name}") for name in ("hip", "knee", "shoulder")) < _APART * length["leg"]:
        return "left and right limbs in the same place"
    trunk = distance("pelvis", "neck") / length["leg"]
    if not _TRUNK[0] <= trunk <= _TRUNK[1]:
        return f"a trunk of {trunk:.2f} times the legs (of humans about 0.6)"
    return None
