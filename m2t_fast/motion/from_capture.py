"""From a capture with named joints to the joints of a run's skeleton: frame rate, unit, axes, and where it starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2t_fast.errors import UserError
from m2t_fast.motion.capture import Capture
from m2t_fast.motion.matching import match_joints
from m2t_fast.motion.options import BODY, MotionOptions
from m2t_fast.motion.placement import (
    METRES,
    guess_unit,
    guess_up,
    place,
    scale_to_body,
    to_y_up,
    upside_down,
)
from m2t_fast.skeleton import Skeleton

_SLOWEST, _FASTEST = 5.0, 1000.0  # frames per second of captures
_IN_MILLISECONDS = (24, 30, 48, 60, 72, 90, 120, 144)  # usual rates whose milliseconds are no usual rate
_POSE_JUMP, _POSE_RATIO = 0.02, 2.6  # metres, and times the 95th percentile of the steps: T-poses in front of motions
_STILL = 0.1  # of that percentile: less is no movement
_POSE_FRAMES = 10  # a pose in front is held no longer
PLACED = "placed on the floor at the origin, facing +Z"


def joints_of_capture(
    path: str | Path, capture: Capture, kind: str, skeleton: Skeleton, options: MotionOptions
) -> tuple[np.ndarray, float, list[str]]:
    """Joints of a capture.

    Args:
        path: the file, for messages.
        capture: its content.
        kind: what it is (".bvh").
        skeleton: the joints that are wanted.
        options: what is known about it.

    Returns:
        (T, J, 3) in metres, Y up, placed; its frames per second; and what was found out, one phrase each.

    Raises:
        UserError: no body, no frame rate, or nothing is left of the frames.
    """
    fps, said_of_rate = frame_rate(path, capture.frame_time, options.fps)
    match = match_joints(path, capture, skeleton, options.joint_map)
    joints, rest = match.positions(capture.positions), match.positions(capture.rest[None])[0]
    count = sum(not name.endswith(".end") for name in capture.names)
    own = [note for note in capture.notes if not (options.fps and note.endswith("(--fps)"))]
    notes = [f"{kind} of {count} joints", match.said, said_of_rate, *own]
    if capture.added:
        notes.append("position channels added to the offsets")
    joints, more = stand(joints, rest, skeleton, options)
    return joints, fps, notes + more


def stand(
    joints: np.ndarray, rest: np.ndarray, skeleton: Skeleton, options: MotionOptions, camera: bool = False
) -> tuple[np.ndarray, list[str]]:
    """Joints (T, J, 3) in unknown unit and axes in metres, Y up, placed, without a pose in front; and notes.

    ``camera``: a body that is upside down is turned, since in a camera's axes y points down.
    """
    if options.unit == BODY:
        metres, said = scale_to_body(joints, skeleton)
    elif options.unit is None:
        metres, said = guess_unit(joints, skeleton)
    else:
        metres, said = METRES[options.unit], f"unit {options.unit}"
    up, upright = guess_up(joints, rest, skeleton) if options.up is None else (options.up, f"{options.up.upper()} up")
    notes = [said, upright]
    joints = to_y_up(joints * metres, up)
    if options.up is None and upside_down(joints, skeleton):
        other = up.removeprefix("-") if up.startswith("-") else f"-{up}"
        if camera:
            joints = to_y_up(joints, "-y")
            notes[-1] = f"{other.upper()} up, as in a camera's axes"
        else:
            notes.append(f"upside down: the head is below the ankles (--up {other}?)")
    posed = pose_in_front(joints)
    if posed:
        joints = joints[posed:]
        which = "first frame" if posed == 1 else f"first {posed} frames"
        notes.append(f"{which} left out (a pose put in front: the motion jumps after it)")
    notes.append(PLACED)
    return place(joints, skeleton), notes


def frame_rate(path: str | Path, seconds: float, fps: float | None) -> tuple[float, str]:
    """Frames per second of a file whose frames are ``seconds`` apart, and one phrase that says so.

    Raises:
        UserError: no frame rate at all.
    """
    if fps is not None:
        return fps, f"{fps:.5g} frames per second (--fps)"
    if np.isnan(seconds):
        raise UserError(
            f"{path}: no frame time in it, expected seconds above 0 ('Frame Time: SECONDS'); --fps N says the rate"
        )
    if not (seconds > 0 and np.isfinite(seconds)):
        raise UserError(f"{path}: frame time {seconds:g}, expected seconds above 0 (--fps N overrides it)")
    rate = 1.0 / seconds
    per_second = 1000.0 / seconds  # if the frame time were in milliseconds, as 33.333; but 30 are frames per second
    if seconds >= _SLOWEST and any(abs(per_second / rate - 1.0) < 1e-3 for rate in _IN_MILLISECONDS):
        said = f"frame time {seconds:g}: taken as milliseconds, {per_second:.5g} frames per second (--fps N)"
        return per_second, said
    if seconds >= _SLOWEST:
        said = f"frame time {seconds:g}: is that frames per second? taken as {seconds:g} frames per second (--fps N)"
        return seconds, said
    said = f"{rate:.5g} {'frame' if rate == 1 else 'frames'} per second"
    if not _SLOWEST <= rate <= _FASTEST:
        said += f" (frame time {seconds:g} s: is that frames per second? --fps N)"
    return rate, said


def pose_in_front(joints: np.ndarray) -> int:
    """How many frames at the start of a motion (T, J, 3), metres, are a pose (often a T-pose) and not part of it.

    The pose is held, and then everything jumps: the step after it is far above the 95th percentile of all later ones.
    """
    steps = np.linalg.norm(np.diff(joints, axis=0), axis=2).mean(axis=1)
    for held in range(min(_POSE_FRAMES, len(steps) - 2)):
        usual = float(np.percentile(steps[held + 1 :], 95))
        if steps[held] > max(_POSE_JUMP, _POSE_RATIO * usual):
            return held + 1
        if steps[held] > max(_STILL * usual, 1e-6):
            return 0
    return 0
