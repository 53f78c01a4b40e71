"""Motions in .npy files; every mistake in one is named in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2t_fast.data.faults import DataFault
from m2t_fast.reading import Unreadable, open_regular
from m2t_fast.skeleton import SKELETONS
from m2t_fast.wording import counted

JOINTS_EXPECTED = f"(frames, {' or '.join(str(s.joints) for s in reversed(SKELETONS))}, 3)"
"""The shape of a motion, for messages."""

_ADVICE = "repair the file or take its id out of the split files"  # to whom trains on a data folder


def read_motion(path: str | Path) -> np.ndarray:
    """One motion file as (frames, J, 3) float32, metres.

    Raises:
        UserError: the file is missing, truncated or not a .npy file of floats, has no frames or another shape than
            (frames, 21 or 22, 3), or holds NaN or infinite coordinates (the first bad frame is named).
    """
    return check_motion(load_array(path, JOINTS_EXPECTED), path)


def load_array(path: str | Path, expected: str) -> np.ndarray:
    """The array of floats in a .npy file; ``expected`` is the shape that messages name.

    Raises:
        UserError: the file is missing, truncated or not a .npy file of floats.
    """
    try:
        with open_regular(path) as file:
            array = np.load(file, allow_pickle=False)
            if not isinstance(array, np.ndarray):
                array.close()
    except Unreadable as error:
        raise DataFault("unreadable motion", str(error)) from None
    except Exception as error:  # foreign bytes make NumPy raise nearly anything, from EOFError to MemoryError
        reason = " ".join(str(error).split())
        if "pickle" in reason:  # NumPy's advice, to run what the file holds, helps nobody
            reason = "an array of objects" if "Object arrays" in reason else "it does not begin as one"
        raise DataFault("unreadable motion", f"{path}: truncated or not a .npy file of numbers ({reason})") from None
    if not isinstance(array, np.ndarray):
        raise DataFault("unreadable motion", f"{path}: an .npz archive, expected a .npy file of shape {expected}")
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise DataFault("unreadable motion", f"{path}: dtype {array.dtype}, expected float16, float32 or float64")
    return array


def check_motion(joints: np.ndarray, path: str | Path, advice: str = _ADVICE) -> np.ndarray:
    """An array of floats as (frames, J, 3) float32; ``path`` and ``advice`` are for messages.

    Raises:
        UserError: no frames, another shape than (frames, 21 or 22, 3), NaN or infinite coordinates.
    """
    if joints.ndim != 3 or joints.shape[2] != 3 or joints.shape[1] not in [s.joints for s in SKELETONS]:
        raise DataFault("wrong shape", f"{path}: shape {joints.shape}, expected {JOINTS_EXPECTED}")
    if len(joints) == 0:
        raise DataFault("no frames", f"{path}: no frames (shape {joints.shape}), expected at least one")
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is reported below
        joints = np.ascontiguousarray(joints, dtype=np.float32)
    check_finite(joints, path, advice)
    return joints


def check_finite(values: np.ndarray, path: str | Path, advice: str = _ADVICE) -> None:
    """Raises unless every number of every frame (the first axis) is finite; ``advice`` says what to do.

    Raises:
        UserError: NaN or infinite numbers.
    """
    finite = np.isfinite(values)
    if not finite.all():
        bad = ~finite.reshape(len(values), -1).all(axis=1)
        raise DataFault(
            "NaN or infinite",
            f"{path}: NaN or infinite coordinates in {bad.sum()} of {counted(len(bad), 'frame')}, "
            f"first in frame {bad.argmax()} ({advice})",
        )
