"""What the name of a joint says: its side, what it may be, or that it is none of our joints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

LEFT, RIGHT = 1, -1

_NAMESPACE = re.compile(r"^.*[:|](?=.)")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\x00-\x7f]+")
_SIDES = {
    **dict.fromkeys(("left", "l", "lf", "lft", "lt", "izq", "izquierda", "izquierdo", "gauche", "links", "sx"), LEFT),
    **dict.fromkeys(("right", "r", "rgt", "rt", "der", "derecha", "derecho", "droite", "droit", "rechts", "dx"), RIGHT),
}
_VERTEBRA = re.compile(r"[ltcs]\d{1,2}")
_SHARED = 0.75  # share of the names that must begin with a word for it to be a prefix

_Roles = dict[str, float]


def _table(text: str) -> dict[str, _Roles]:
    """Lines "words: role score, role score" as a dictionary from word to roles."""
    found: dict[str, _Roles] = {}
    for line in text.strip().splitlines():
        words, _, roles = line.partition(":")
        scores = {role.split()[0]: float(role.split()[1]) for role in roles.split(",")}
        found.update(dict.fromkeys(words.split(), scores))
    return found


# 2: can be nothing else; less: some skeletons call another joint by this name.
_SIDED = _table("""
    collar clavicle clav clavical collarbone innershoulder shoulderblade scapula scap shoulderbase: collar 2
    \u80a9: collar 1.5
    shoulder sho: collar 1, shoulder 1
    shldr shldrbend upperarm uparm uarm upparm armupper humerus bicep biceps upperarmbend armup: shoulder 2
    \u8155: shoulder 2
    arm: shoulder 1.5, elbow 0.5
    elbow elb forearm foarm farm lowerarm loarm lowarm armlower radius forearmbend lowerarmbend ulna larm: elbow 2
    \u3072\u3058 \u8098: elbow 2
    wrist wri \u624b\u9996: wrist 2
    hand palm: wrist 1.5
    upleg upperleg thigh thighbend femur legupper uleg uppleg upthigh: hip 2
    hip hips: hip 1.5
    \u8db3: hip 1.5
    knee kne shin shinbend calf lowerleg loleg lowleg leglower tibia crus foreleg \u3072\u3056 \u819d: knee 2
    leg: knee 1.5, hip 0.5
    ankle ank talus \u8db3\u9996: ankle 2
    foot feet: ankle 1.5, foot 1
    toe toes toebase ball forefoot toejoint football toeroot balljoint \u3064\u307e\u5148 toebasejoint: foot 2
    bigtoe midtoe footmid midfoot: foot 1
    metatarsals metatarsal: foot 0.5
    hipjoint buttock glute pelvis hipbone: beforehip 1
""")
_CENTRAL = _table("""
    hips hip pelvis bodyhips hiproot pelvisroot: pelvis 2
    root cog centerofmass \u30bb\u30f3\u30bf\u30fc \u4e0b\u534a\u8eab: pelvis 0.5
    spine spinebase lowerspine upperspine midspine spinelower spineupper spinemid spinelow spinehigh: spine 2
    chest lowerchest upperchest chestlower chestupper abdomen lowerabdomen upperabdomen: spine 2
    abdomenlower abdomenupper torso lowertorso uppertorso waist trunk thorax ribcage ribs stomach belly: spine 2
    back lowerback upperback midback body \u4e0a\u534a\u8eab: spine 2
    shouldercenter shouldercentre centershoulder midshoulder: neck 1.5
    neck necktwist necklower neckbase \u9996 cervical: neck 2
    upperneck neckupper: neck 2
    lowerneck: neck 1
    head skull cranium \u982d headjoint: head 2
""")
_OTHER = frozenset(
    word
    for words in (
        "ik pole target ctrl control helper effector prop props weapon sword gun camera cam light mesh dummy marker",
        "eye eyes jaw teeth tongue brow brows lip lips lid nose cheek ear ears face hair breast breasts boob pectoral",
        "pec skirt cloth cape tail wing thumb index middle ring pinky pinkie little finger fingers carpal carpals",
        "metacarpal metacarpals twist roll share nub bag muscle attach attachment socket offset",
    )
    for word in words.split()
)
_OTHER_PARTS = re.compile(
    r"thumb|finger|pinky|index|handmid|handring|ringprox|ringinter|ringdist|middleprox|middleinter|middledist|"
    r"littleprox|eyelid|eyeball|eyebrow|tongue|jaw|twist|breast|hair|weapon|carpal|^ik|ik$|nub$|handend$|inhand"
)


_NOTHING = frozenset(("joint", "jnt", "bone", "bn", "bnd", "def", "org", "skeleton", "b", "c", "fk"))
"""Words of a joint's name that do not tell which joint it is."""


@dataclass(frozen=True)
class Name:
    """What a joint's name says.

    Attributes:
        side: ``LEFT``, ``RIGHT`` or 0.
        roles: what the joint may be ("hip", "knee", "ankle", "foot", "beforehip", "collar", "shoulder", "elbow",
            "wrist", "pelvis", "spine", "neck", "head"), and with what certainty (up to 2); empty where the name says
            nothing.
        other: it is named as something that our skeletons lack: a finger, an eye, a twist bone, a prop.
        base: its words without side and digits, in lower case, joined.
        digits: its numbers.
    """

    side: int = 0
    roles: dict[str, float] = field(default_factory=dict)
    other: bool = False
    base: str = ""
    digits: tuple[int, ...] = ()


def read_names(names: Sequence[str]) -> list[Name]:
    """What every name of a skeleton says; words that most names begin with ("Bip01", "mixamorig") say nothing.

    The End Site of a joint, ``NAME.end``, says nothing.
    """
    split = [[] if name.endswith(".end") else _words(_NAMESPACE.sub("", name)) for name in names]
    while True:
        first: dict[str, int] = {}
        for words in split:
            if len(words) > 1:
                first[words[0].lower()] = first.get(words[0].lower(), 0) + 1
        told = sum(bool(words) for words in split)
        shared = next((word for word, count in first.items() if count > max(_SHARED * told, 3)), None)
        if shared is None:
            break
        split = [words[1:] if len(words) > 1 and words[0].lower() == shared else words for words in split]
    return [_read(tuple(words)) for words in split]


def _words(name: str) -> list[str]:
    return _WORDS.findall(re.sub(r"^mixamorig\d*(?=.)", "", name))


@lru_cache(maxsize=1 << 14)
def _read(words: tuple[str, ...]) -> Name:
    lower = [word.lower() for word in words]
    whole = "".join(lower)
    if _VERTEBRA.fullmatch(whole):  # MVN's L5, L3, T12, T8
        return Name(roles={"spine": 2.0}, base=whole)
    digits = tuple(int(word[:9]) for word in lower if word.isdecimal() and word.isascii())
    plain = [word for word in lower if not (word.isdecimal() and word.isascii())]
    side, plain = _side(plain)
    base = "".join(plain)
    other = any(word in _OTHER for word in plain) or bool(_OTHER_PARTS.search(base))
    roles = _CENTRAL.get(base) if side == 0 else _SIDED.get(base)
    if roles is None:  # "Skeleton_arm_joint_L", "DEF-thigh.L", "c_thigh_fk.l": words around one that says something
        core = [word for word in plain if word not in _NOTHING]
        table = _CENTRAL if side == 0 else _SIDED
        roles = table.get("".join(core))
        if roles is None and len(core) > 1 and not other:
            roles = _in_common([table.get(word) for word in core])
    if roles is None and not other and side == 0:
        roles = _CENTRAL.get(base.rstrip("s"))
    return Name(side, dict(roles or {}), other and "neck" not in (roles or {}), base, digits)


def _in_common(several: list[_Roles | None]) -> _Roles | None:
    """What meaningful words agree on: "HandWrist" is the wrist, "FootAnkle" the ankle."""
    if not all(several):
        return None
    shared = set.intersection(*(set(roles or {}) for roles in several))
    return {role: max((roles or {})[role] for roles in several) for role in shared} or None


def _side(words: list[str]) -> tuple[int, list[str]]:
    """The side that one of the words names, and the other words."""
    for index, word in enumerate(words):
        if word in _SIDES and len(words) > 1:
            return _SIDES[word], words[:index] + words[index + 1 :]
    for index, word in enumerate(words):
        for text, side in (("left", LEFT), ("right", RIGHT), ("\u5de6", LEFT), ("\u53f3", RIGHT)):
            if word != text and (word.startswith(text) or word.endswith(text)):
                return side, [*words[:index], word.replace(text, "", 1), *words[index + 1 :]]
    base = "".join(words)
    if base not in _SIDED and base not in _CENTRAL and len(base) > 2:
        for letter, side in (("l", LEFT), ("r", RIGHT)):
            rest = base[1:] if base[0] == letter else base[:-1] if base[-1] == letter else ""
            if rest in _SIDED or (rest and _OTHER_PARTS.search(rest)):
                return side, [rest]
    return 0, words
