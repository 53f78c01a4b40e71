"""The hyper-parameters of training, with the paper's values for both data sets."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from typing import Any

from m2t_fast.errors import UserError

PRESETS: tuple[str, ...] = ("kit", "humanml3d")
WHOLE: dict[str, tuple[int, int]] = {
    "epochs": (1, 10**6),
    "batch_size": (1, 2**16),
    "log_interval": (1, 10**9),
    "checkpoint_interval": (1, 10**9),
    "seed": (0, 2**64 - 1),
    "warmup_steps": (0, 10**9),
}
"""The least and the most of every whole number."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a captioner is trained (``released-implementation``: AdamW, clipped gradients, scheduled sampling).

    Args:
        epochs: passes over the training samples.
        batch_size: B, samples per step.
        lambda_spat: weight of the spatial loss; lambda_adapt: of the adaptive loss (eq. 14).
        teacher_forcing: probability that a step reads the reference word.
        seed: of weights, batches, coins and dropout.
        learning_rate, weight_decay: of AdamW. clip: largest gradient norm.
        warmup_steps: steps over which the learning rate rises from almost 0 to its full value.
        lambda_temp: weight of the temporal loss, of words that name a segment whose time is known; 0: no such loss.
        compile: use torch.compile for the forward and backward pass.
        log_interval: steps between lines of ``metrics.jsonl``. checkpoint_interval: steps between training states, of
            which fast steps leave some out (``loop.STATE_SECONDS``).

    Raises:
        ValueError: a value out of range; the message names it.
    """

    epochs: int = 200
    batch_size: int = 64
    lambda_spat: float = 2.0
    lambda_adapt: float = 3.0
    teacher_forcing: float = 0.5
    seed: int = 0
    learning_rate: float = 5e-4
    weight_decay: float = 1e-4
    clip: float = 1.0
    log_interval: int = 20
    checkpoint_interval: int = 100
    compile: bool = False
    warmup_steps: int = 0
    lambda_temp: float = 0.0

    def __post_init__(self) -> None:
        for name, (least, most) in WHOLE.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise ValueError(f"{name}: got {value!r}, expected an integer of at least {least} and at most {most}")
        if not isinstance(self.compile, bool):
            raise ValueError(f"compile: got {self.compile!r}, expected True or False")
        for name in ("lambda_spat", "lambda_adapt", "lambda_temp", "weight_decay"):
            value = getattr(self, name)
            if not (_is_number(value) and value >= 0):
                raise ValueError(f"{name}: got {value!r}, expected a number of at least 0")
        for name in ("learning_rate", "clip"):
            value = getattr(self, name)
            if not (_is_number(value) and value > 0):
                raise ValueError(f"{name}: got {value!r}, expected a positive number")
        if not (_is_number(self.teacher_forcing) and 0.0 <= self.teacher_forcing <= 1.0):
            raise ValueError(f"teacher_forcing: got {self.teacher_forcing!r}, expected a probability in [0, 1]")

    @property
    def lambdas(self) -> tuple[float, float, float]:
        """Weights of the spatial, adaptive and temporal loss."""
        return self.lambda_spat, self.lambda_adapt, self.lambda_temp

    @classmethod
    def kit(cls, **changes: Any) -> TrainingSettings:
        """KIT-ML as released."""
        return cls(**changes)

    @classmethod
    def humanml3d(cls, **changes: Any) -> TrainingSettings:
        """HumanML3D as released."""
        own: dict[str, Any] = dict(epochs=70, batch_size=128, lambda_spat=0.0, weight_decay=1e-5)
        return cls(**{**own, **changes})

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "") -> TrainingSettings:
        """The inverse of :meth:`to_dict`; missing fields take their defaults. ``where`` begins messages.

        Raises:
            UserError: an unknown field, or a value out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UserError(f"{where}unknown field {unknown[0]!r}, expected {', '.join(sorted(known))}")
        try:
            return cls(**values)
        except ValueError as error:
            raise UserError(f"{where}{error}") from None

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0: it rises evenly over ``warmup_steps``, then stays."""
        if step >= self.warmup_steps:
            return self.learning_rate
        return self.learning_rate * (step + 1) / self.warmup_steps

    def to_dict(self) -> dict[str, Any]:
        """The fields as a JSON-ready dictionary."""
        return dataclasses.asdict(self)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
