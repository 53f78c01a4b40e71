"""The two skeletons: joints, the six body parts, bones and frame rates as their data sets distribute them."""

from __future__ import annotations

from dataclasses import dataclass

PART_NAMES: tuple[str, ...] = ("root", "torso", "left_arm", "right_arm", "left_leg", "right_leg")
"""The P = 6 body parts, in the order every tensor of this package uses."""


@dataclass(frozen=True)
class Skeleton:
    """A joint layout.

    ``parts[i]`` lists the joints of body part ``PART_NAMES[i]``; ``bones`` are (parent, child) pairs for drawing;
    ``fps`` is the frame rate of the distributed motions in frames per second, before downsampling.
    """

    name: str
    joints: int
    parts: tuple[tuple[int, ...], ...]
    bones: tuple[tuple[int, int], ...]
    fps: float

    @property
    def part_of(self) -> tuple[int, ...]:
        """The part of every joint; for a joint in two parts the first."""
        return tuple(next(i for i, part in enumerate(self.parts) if j in part) for j in range(self.joints))

    @property
    def head(self) -> int:
        """The joint that is drawn as the head: the last one of the torso."""
        return self.parts[PART_NAMES.index("torso")][-1]

    @property
    def hips(self) -> tuple[int, int]:
        """The first joints of the left and the right leg."""
        left, right = (self.parts[PART_NAMES.index(name)] for name in ("left_leg", "right_leg"))
        return left[0], right[0]


def _bones(text: str) -> tuple[tuple[int, int], ...]:
    pairs = (pair.split("-") for pair in text.split())
    return tuple((int(a), int(b)) for a, b in pairs)


KIT = Skeleton(
    name="kit",
    joints=21,
    parts=((0,), (1, 2, 3, 4), (5, 6, 7), (8, 9, 10), (11, 12, 13, 14, 15), (16, 17, 18, 19, 20)),
    bones=_bones("0-1 1-2 2-3 3-4 3-5 5-6 6-7 3-8 8-9 9-10 0-11 11-12 12-13 13-14 14-15 0-16 16-17 17-18 18-19 19-20"),
    fps=12.5,
)

HUMANML3D = Skeleton(
    name="humanml3d",
    joints=22,
    parts=((0,), (0, 3, 6, 9, 12, 15), (13, 16, 18, 20), (14, 17, 19, 21), (1, 4, 7, 10), (2, 5, 8, 11)),
    bones=_bones(
        "0-2 2-5 5-8 8-11 0-1 1-4 4-7 7-10 0-3 3-6 6-9 9-12 12-15 9-14 14-17 17-19 19-21 9-13 13-16 16-18 18-20"
    ),
    fps=20.0,
)

SKELETONS: tuple[Skeleton, ...] = (KIT, HUMANML3D)


def skeleton_of(joints: int) -> Skeleton:
    """The skeleton with this many joints (21: KIT-ML, 22: HumanML3D).

    Raises:
        ValueError: no such skeleton.
    """
    for skeleton in SKELETONS:
        if skeleton.joints == joints:
            return skeleton
    known = ", ".join(f"{s.joints} ({s.name})" for s in SKELETONS)
    raise ValueError(f"joints: got {joints}, expected one of {known}")
