"""One action's stretch of a motion: time, style and the helpers with which animations add to its pose channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from m2t_fast.data.synthetic.body import CHANNEL


@dataclass(frozen=True)
class Step:
    """One action as planned: what is done, how and for how many seconds.

    ``variant`` is a side ("left", "right", "both"), a direction or a way ("forward", "around", ...) or ""; ``speed`` is
    "slow", "" or "fast"; ``times`` counts repetitions that a caption names; ``tempo`` (1 = normal) and ``amplitude``
    (1 = normal) scale the animation, ``phase`` (radians) starts its cycle.
    """

    action: str
    variant: str
    speed: str
    times: int
    duration: float
    tempo: float
    amplitude: float
    phase: float


def smooth(x: np.ndarray) -> np.ndarray:
    """The ramp 3x^2 - 2x^3, 0 below 0 and 1 above 1."""
    x = np.minimum(np.maximum(x, 0.0), 1.0)
    return x * x * (3.0 - 2.0 * x)


class Track:
    """The frames of one step, over a view of the motion's channels that :meth:`add` changes in place.

    Attributes:
        t: (n,) seconds since the action began, at frame centres.
        u: (n,) the part of the action done, 0 to 1; runs through that range ``step.times`` times.
        side: 1.0 for a left (or unsided) action, -1.0 for a right one.
        leg: leg length in metres of the subject.
    """

    def __init__(self, channels: np.ndarray, step: Step, fps: float, leg: float) -> None:
        frames = channels.shape[1]
        self.channels = channels
        self.step = step
        self.t = (np.arange(frames) + 0.5) / fps
        self.duration = frames / fps
        self.u = self.t * (step.times / self.duration) % 1.0
        self.side = -1.0 if step.variant == "right" else 1.0
        self.leg = leg

    @property
    def sides(self) -> tuple[str, ...]:
        """The limbs that act: the side of the variant, or both."""
        return (self.step.variant,) if self.step.variant in ("left", "right") else ("left", "right")

    @property
    def other(self) -> str:
        """The side that does not act, for an action with a side."""
        return "left" if self.step.variant == "right" else "right"

    def add(self, group: str, **angles: np.ndarray | float) -> None:
        """Add to channels ``{group}_{name}``, e.g. ``add("left_arm", flex=..., elbow=...)``."""
        for name, values in angles.items():
            self.channels[CHANNEL[f"{group}_{name}"]] += values

    def move(self, **values: np.ndarray | float) -> None:
        """Add to channels of the whole body: forward, left, turn, air, planted."""
        for name, value in values.items():
            self.channels[CHANNEL[name]] += value

    def envelope(self, ramp: float = 0.35) -> np.ndarray:
        """(n,) weight that rises from 0 to 1 and falls back within ``ramp`` seconds of the action's ends."""
        ramp = min(ramp, self.duration / 3)
        return smooth(self.t / ramp) * smooth((self.duration - self.t) / ramp)

    def cycle(self, hertz: float) -> np.ndarray:
        """(n,) phase in radians of a cycle of this frequency at normal tempo."""
        return 2 * np.pi * hertz * self.step.tempo * self.t + self.step.phase

    def hold(self, rise: float = 0.35, fall: float = 0.35) -> np.ndarray:
        """(n,) weight that rises over the first ``rise`` of each repetition and falls over the last ``fall``."""
        return smooth(self.u / rise) * smooth((1.0 - self.u) / fall)

    def keys(self, times: Sequence[float], values: Sequence[float]) -> np.ndarray:
        """(n,) key poses at the given parts of each repetition, joined by smooth ramps; 0 at both ends."""
        times, values = (0.0, *times, 1.0), (0.0, *values, 0.0)
        curve = np.zeros_like(self.u)
        for i in range(1, len(times)):
            change = values[i] - values[i - 1]
            if change:
                curve += change * smooth((self.u - times[i - 1]) / (times[i] - times[i - 1]))
        return curve
