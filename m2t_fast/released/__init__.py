"""The authors' released weights and module, and their conversion to ours."""

from m2t_fast.released.drop_in import accelerate
from m2t_fast.released.weights import from_released, load, to_released

__all__ = ["accelerate", "from_released", "load", "to_released"]
