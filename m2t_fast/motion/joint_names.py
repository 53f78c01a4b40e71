"""Names of the joints of both skeletons, and what common .bvh skeletons call them."""

from __future__ import annotations

from dataclasses import dataclass, field


def _sides(*names: str) -> list[list[str]]:
    return [[f"{side}_{name}" for name in names] for side in ("left", "right")]


_ARMS, _LEGS = _sides("shoulder", "elbow", "wrist"), _sides("hip", "knee", "ankle", "foot", "toe")

JOINT_NAMES: dict[str, tuple[str, ...]] = {
    "kit": ("pelvis", "spine", "chest", "neck", "head", *_ARMS[0], *_ARMS[1], *_LEGS[0], *_LEGS[1]),
    "humanml3d": (
        "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
        "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
        "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    ),
}  # fmt: skip
"""By ``Skeleton.name``, in the order of its joints. ``foot`` is the ball of the foot, ``toe`` the tip of the toes,
``neck`` the lower end of the neck, ``head`` its upper end, ``collar`` the inner end of the collar bone."""

SPINE: dict[str, float] = {"spine": 0.13, "chest": 0.52, "spine1": 0.23, "spine2": 0.49, "spine3": 0.59}
"""How far along the way from pelvis to neck these joints lie, for skeletons that have no such joint."""

COLLAR, TOE = 0.4, 0.5
"""Without a joint of its own, a collar lies this far from the neck to the shoulder, and the tip of the toes this far
beyond the ball of the foot, as a share of the way from the ankle to it."""

FOOT, HEAD = (0.155, 0.075), 0.12
"""Without nodes of their own, the ball of the foot lies this far forward of the ankle and below it, and the head this
far above the neck, in legs (hip over knee to ankle)."""


@dataclass(frozen=True)
class Scheme:
    """What a family of .bvh skeletons calls its joints.

    ``joints`` maps our names to theirs: a name, several separated by ``|`` of which the first that exists counts, or
    a list whose average is meant. ``trunk`` are the joints between pelvis and neck, along which the spine is
    interpolated where ``joints`` does not name it. ``tips`` are joints at the tip of the toes; without them it is the
    End Site of the foot.
    """

    name: str
    joints: dict[str, str | list[str]]
    trunk: tuple[str, ...]
    tips: dict[str, str] = field(default_factory=dict)


def _mirrored(joints: dict[str, str | list[str]], pairs: tuple[tuple[str, str], ...]) -> dict[str, str | list[str]]:
    """``joints`` with their left_ entries once more as right_ ones; ``pairs`` are (theirs left, theirs right)."""

    def swap(text: str) -> str:
        for left, right in pairs:
            text = text.replace(left, right)
        return text

    right = {
        name.replace("left_", "right_"): [swap(n) for n in theirs] if isinstance(theirs, list) else swap(theirs)
        for name, theirs in joints.items()
        if name.startswith("left_")
    }
    return {**joints, **right}


_LEFT_RIGHT = (("Left", "Right"),)
_LIMBS: dict[str, str | list[str]] = {
    "pelvis": "Hips",
    "head": "Head",
    "left_shoulder": "LeftArm",
    "left_elbow": "LeftForeArm",
    "left_wrist": "LeftHand",
    "left_hip": "LeftUpLeg",
    "left_knee": "LeftLeg",
    "left_ankle": "LeftFoot",
}
_THREE_SPINES: dict[str, str | list[str]] = {
    **_LIMBS,
    "neck": "Neck",
    "spine1": "Spine",
    "spine2": "Spine1",
    "spine3": "Spine2",
    "left_collar": "LeftShoulder",
}

SCHEMES: tuple[Scheme, ...] = (
    Scheme(
        name="Mixamo",
        joints=_mirrored({**_THREE_SPINES, "left_foot": "LeftToeBase"}, _LEFT_RIGHT),
        trunk=("Spine", "Spine1", "Spine2"),
        tips={"left_toe": "LeftToe_End", "right_toe": "RightToe_End"},
    ),
    Scheme(
        name="LaFAN1",
        joints=_mirrored({**_THREE_SPINES, "left_foot": "LeftToe"}, _LEFT_RIGHT),
        trunk=("Spine", "Spine1", "Spine2"),
    ),
    # Neck and LeftShoulder have no offset from Spine1: the neck begins at Neck1, the collar lies half way to the arm.
    Scheme(
        name="CMU",
        joints=_mirrored(
            {**_LIMBS, "neck": "Neck1", "left_collar": ["LeftShoulder", "LeftArm"], "left_foot": "LeftToeBase"},
            _LEFT_RIGHT,
        ),
        trunk=("Spine", "Spine1"),
    ),
    Scheme(
        name="Bandai-Namco",
        joints=_mirrored(
            {
                "pelvis": "Hips",
                "spine1": "Spine",
                "spine2": ["Spine", "Chest"],
                "spine3": "Chest",
                "neck": "Neck",
                "head": "Head",
                "left_collar": "Shoulder_L",
                "left_shoulder": "UpperArm_L",
                "left_elbow": "LowerArm_L",
                "left_wrist": "Hand_L",
                "left_hip": "UpperLeg_L",
                "left_knee": "LowerLeg_L",
                "left_ankle": "Foot_L",
                "left_foot": "Toes_L",
            },
            (("_L", "_R"),),
        ),
        trunk=("Spine", "Chest"),
    ),
)
"""The skeletons that are known by name, first come first served where several fit."""
