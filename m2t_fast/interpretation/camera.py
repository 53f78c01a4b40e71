"""Where the points of a motion land in a picture: poses between frames, and a camera that follows the body."""

from __future__ import annotations

import numpy as np

from m2t_fast.interpretation.captioned import CaptionedMotion

_YAW, _PITCH = 0.6, 0.22  # radians: beside the front, a little from above; the page begins with the same view
_FOCAL, _DISTANCE, _NEAR = 2.1, 2.1 * 1.36, 0.05


def between(values: np.ndarray, frame: float) -> np.ndarray:
    """Values (T, ...) at a fractional frame (0 to T - 1), by linear interpolation."""
    low = min(int(frame), len(values) - 1)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (frame - low)


def pose_at(joints: np.ndarray, frame: float) -> np.ndarray:
    """The pose (J, 3) of ``joints`` (T, J, 3) at a fractional frame, on a smooth curve through four frames
    (Catmull-Rom); at a whole frame, the frame itself."""
    last = len(joints) - 1
    low = min(int(frame), last)
    t = frame - low
    p, q, r, s = (joints[min(max(low + offset, 0), last)] for offset in (-1, 0, 1, 2))
    return q + 0.5 * t * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p)))


class Camera:
    """Looks at the body of a motion, which fills most of the picture, from beside its front in the first frame.

    ``floor`` and ``height`` are the lowest point of the motion and the size of the body, in metres.
    """

    def __init__(self, motion: CaptionedMotion, width: float, height: float) -> None:
        joints = motion.joints
        self.width, self.size = width, height
        self.floor = float(joints[..., 1].min())
        reach = np.linalg.norm((joints - joints[:, :1])[..., [0, 2]], axis=-1).max()
        self.height = max(float(joints[..., 1].max()) - self.floor, float(reach), 0.5)
        self.path = _smooth(joints[:, 0, [0, 2]], round(motion.fps * 0.6))
        left, right = motion.skeleton.hips
        across = (joints[0, left] - joints[0, right])[[0, 2]]
        facing = float(np.arctan2(-across[1], across[0])) if np.hypot(*across) > 1e-6 else 0.0
        yaw, pitch = facing + _YAW, _PITCH
        self._right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
        self._up = np.array([-np.sin(yaw) * np.sin(pitch), np.cos(pitch), -np.cos(yaw) * np.sin(pitch)])
        self._towards = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])

    def target(self, frame: float) -> np.ndarray:
        """(3,) the point in metres in the middle of the picture at a fractional frame."""
        x, z = between(self.path, frame)
        return np.array([x, self.floor + 0.5 * self.height, z])

    def project(self, points: np.ndarray, frame: float) -> tuple[np.ndarray, np.ndarray]:
        """Places (..., 2) in the picture, y upwards, of points (..., 3) in metres, and the picture's units per metre
        there (...), 0 for a point behind the camera."""
        offset = points - self.target(frame)
        depth = _DISTANCE * self.height - offset @ self._towards
        scale = _FOCAL * min(self.size, self.width * 1.25) / np.maximum(depth, _NEAR)
        places = np.stack([offset @ self._right, offset @ self._up], axis=-1) * scale[..., None]
        return places + np.array([self.width / 2, self.size / 2]), np.where(depth > _NEAR, scale, 0.0)


def _smooth(path: np.ndarray, half: int) -> np.ndarray:
    """Average of path (T, 2) over ``half`` frames to each side, nearer ones weighing more."""
    weights = 1.0 + half - np.abs(np.arange(-half, half + 1))
    total = np.convolve(np.ones(len(path)), weights)[half : half + len(path)]
    return np.stack([np.convolve(axis, weights)[half : half + len(path)] / total for axis in path.T], axis=-1)
