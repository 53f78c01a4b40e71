"""The authors' released weights and how they become ours."""

from m2t_fast.released.weights import from_released, load, to_released

__all__ = ["from_released", "load", "to_released"]
