"""Which family of skeletons joint names belong to, for the note about a file and for its few peculiarities."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from m2t_fast.motion.joint_names import SCHEMES, Scheme

# A family, and joints that together no other has; names as :func:`loosen` leaves them.
_SIGNS: tuple[tuple[str, str], ...] = (
    ("CMU", "lhipjoint rhipjoint lowerback leftupleg"),
    ("CMU", "lhipjoint rhipjoint lowerback lefthip leftknee"),
    ("CMU", "lfemur ltibia lowerback upperback thorax lhumerus"),
    ("Xsens MVN", "l5 l3 t12 t8 rightupperleg"),
    ("Xsens", "hips chest chest2 chest3 chest4 leftcollar leftelbow"),
    ("Perception Neuron", "robotspine robotleftupleg"),
    ("Perception Neuron", "hips leftupleg leftinhandindex"),
    ("Rokoko", "hips spine1 leftthigh leftshin leftforearm"),
    ("DAZ", "hip abdomenlower abdomenupper lthighbend lshldrbend"),
    ("Poser/DAZ", "hip abdomen chest lshldr lforearm lthigh lshin"),
    ("Poser/DAZ", "hip abdomen chest lbuttock rbuttock"),
    ("MakeHuman", "upperleg01l lowerleg01l clavicle l upperarm01l"),
    ("MakeHuman", "upperleg01l lowerleg01l upperarm01l lowerarm01l"),
    ("3ds Max Biped", "lthigh lcalf lupperarm lforearm lclavicle pelvis"),
    ("Reallusion", "lthigh lcalf lupperarm lforearm lclavicle hip waist"),
    ("Unreal", "pelvis spine01 thighl calfl upperarml lowerarml"),
    ("VRM", "chips lupperleg llowerleg lupperarm llowerarm"),
    ("VRM", "hips leftupperleg leftlowerleg leftupperarm leftlowerarm"),
    ("100STYLE", "hips chest chest2 chest3 chest4 leftcollar leftshoulder lefthip leftknee leftankle lefttoe"),
)


def loosen(name: str) -> str:
    """``mixamorig:LeftUpLeg``, ``mixamorig1_LeftUpLeg`` and ``left up leg`` are the same name."""
    base, dot, end = name.rpartition(".end")
    text = re.sub(r"[^0-9a-z]", "", re.split(r"[:|]", base if dot and not end else name)[-1].lower())
    return re.sub(r"^mixamorig\d*", "", text) + (".end" if dot and not end else "")


class Nodes:
    """Looks nodes up by name: as written, else without case, name space, punctuation and a prefix that all share."""

    def __init__(self, names: Sequence[str]) -> None:
        self.count = len(names)
        self.exact: dict[str, int] = {}
        self.loose: dict[str, int] = {}
        joints = [loosen(name) for name in names if not name.endswith(".end")]
        shared = os.path.commonprefix(joints) if len(joints) > 1 else ""
        for index, name in enumerate(names):
            self.exact.setdefault(name, index)
            self.loose.setdefault(loosen(name), index)
            self.loose.setdefault(loosen(name)[len(shared) :], index)

    def find(self, name: str) -> int | None:
        """The node of this name."""
        found = self.exact.get(name)
        return self.loose.get(loosen(name)) if found is None and name else found

    def find_any(self, alternatives: str) -> int | None:
        """The first node of several names, separated by ``|``."""
        return next((found for name in alternatives.split("|") if (found := self.find(name)) is not None), None)


def scheme_of(nodes: Nodes, needed: Sequence[str]) -> tuple[Scheme, list[str]]:
    """The scheme of ``joint_names.SCHEMES`` that names fit best, and the ``needed`` joints that it does not find."""

    def found(scheme: Scheme) -> set[str]:
        return {
            name
            for name, theirs in scheme.joints.items()
            if all(nodes.find_any(one) is not None for one in ([theirs] if isinstance(theirs, str) else theirs))
        }

    missing = {scheme.name: [n for n in needed if n in scheme.joints and n not in found(scheme)] for scheme in SCHEMES}
    # Needed joints first; then CMU, which has no Spine2, is no Mixamo skeleton without one.
    best = min(SCHEMES, key=lambda scheme: (len(missing[scheme.name]), len(scheme.joints) - len(found(scheme))))
    return best, missing[best.name]


def family_of(nodes: Nodes, needed: Sequence[str]) -> str | None:
    """The name of the family, None if names fit none."""
    scheme, missing = scheme_of(nodes, needed)
    if not missing:
        return scheme.name
    bases = {loosen(name) for name in nodes.exact}
    if all(any(sign in base for base in bases) for sign in ("lhipjoint", "rhipjoint", "lowerback")):
        return "CMU"
    for family, signs in _SIGNS:
        if all(sign in nodes.loose for sign in signs.split()):
            return family
    return None
