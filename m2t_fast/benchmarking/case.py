"""One thing that is measured, and the ways to compute it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from m2t_fast.benchmarking.results import Results, why_wrong
from m2t_fast.benchmarking.sizes import UNSCORED, Size
from m2t_fast.ops.registry import DEVICE_TYPES, available_backends

LOOP, PLAIN, COMPILE = "loop", "plain", "compile"
BASELINES: dict[str, str] = {
    LOOP: "step by step, keys recomputed for every word, as released; decoding: one motion at a time",
    PLAIN: "plain PyTorch under autograd, all words at once",
    COMPILE: "torch.compile of plain",
}
"""The ways that others are compared with. Every other way is the name of a backend."""

Run = Callable[[], Results]


def ways_on(device: torch.device) -> tuple[str, ...]:
    """Every way that can be tried on this device: the baselines, then the backends."""
    return (*BASELINES, *(name for name in available_backends() if device.type in DEVICE_TYPES[name]))


class Case(ABC):
    """One thing to compute. Inputs are drawn from a fixed seed: the same in every process and on every device."""

    tanh = 0
    """How many tanh the attention's equations hold, over valid frames only: frames x keys x D x words x 2."""
    elements = 0
    """Of the tensor of words x frames x attention size that plain PyTorch makes; 0 where there is none."""
    frames = 0
    """Valid frames of all motions."""
    words = 0
    """Words that count, of all captions."""
    backward = True
    """Whether a gradient is computed too."""
    truth_way: str | None = None
    """The way whose own result the truth is, if it is one's."""

    def __init__(self, name: str, size: Size, scoring: str, device: torch.device):
        self.name, self.size, self.scoring, self.device = name, size, scoring, device
        self.scored = name not in UNSCORED

    @property
    def title(self) -> str:
        """What is computed, in words."""
        return f"{self.name}, {self.scoring} scoring"

    def inapplicable(self, way: str) -> str | None:
        """Why there is no such way for this case, or None."""
        return None

    @abstractmethod
    def prepare(self, way: str) -> Run:
        """A function that computes it once in that way; it may be called any number of times."""

    @abstractmethod
    def truth(self) -> Results:
        """What every way is compared with; slow, in bounded memory."""

    def why_wrong(self, found: Results, truth: Results) -> str | None:
        """None where ``found`` is right, else one line."""
        return why_wrong(found, truth)
