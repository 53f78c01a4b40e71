"""What is known about motion files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2t_fast.motion.joint_maps import JointMap
from m2t_fast.motion.placement import METRES, UPS

BODY = "body"
"""The unit that comes from the body: legs get the usual length."""

UNITS: tuple[str, ...] = (*METRES, BODY)
"""Values of ``MotionOptions.unit``."""


@dataclass(frozen=True)
class MotionOptions:
    """What is known about motion files; None: determined from the file.

    Args:
        fps: frames per second (None: those of the file; where it has none those of the skeleton's data set).
        joint_map: our joint names -> joints of files with named joints, before what is found in their hierarchy.
        mean: (263,) or (251,), with ``std`` what normalised feature vectors were normalised with.
        std: like ``mean``.
        unit: of positions, one of ``UNITS``; "body": scaled to legs of usual length.
        up: the axis that points up, one of ``placement.UPS``: "y", "z", "-y" ...
        align: place joint files like the training data, as is always done with captures.
        layout: which joints arrays of keypoints hold, one of ``keypoints.LAYOUTS``.
        body_model: a file of the SMPL family, for files that hold its parameters.
        asf: the skeleton file of .amc files (None: the one beside each that fits its name).

    Raises:
        ValueError: a value out of range; the message names it.
    """

    fps: float | None = None
    joint_map: JointMap | None = None
    mean: np.ndarray | None = None
    std: np.ndarray | None = None
    unit: str | None = None
    up: str | None = None
    align: bool = False
    layout: str | None = None
    body_model: Path | None = None
    asf: Path | None = None

    def __post_init__(self) -> None:
        if self.fps is not None and not 0 < self.fps < np.inf:
            raise ValueError(f"fps: got {self.fps}, expected frames per second above 0")
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"{'std' if self.std is None else 'mean'}: not given, expected mean and std together")
        if self.unit is not None and self.unit not in UNITS:
            raise ValueError(f"unit: got {self.unit!r}, expected one of {', '.join(UNITS)}")
        if self.up not in (None, *UPS):
            raise ValueError(f"up: got {self.up!r}, expected one of {', '.join(UPS)}")
