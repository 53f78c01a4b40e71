"""The scores that ``guided_attention`` keeps for its gradient on GPUs, before their softmaxes."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor


class Scores(NamedTuple):
    """Scores in float32, not written in the padding."""

    temporal: Tensor
    """(B, L, T * S)."""
    rest: Tensor | None
    """What is to be added to them, where the sums are exact."""
    spatial: Tensor
    """(B, L, T * P)."""

    def keep(self, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """As the op gives them: (B, L, T, S) twice and (B, L, T, P)."""
        temporal, rest, spatial = self
        rest = temporal.new_empty(temporal.shape) if rest is None else rest  # nobody reads it
        shapes = [(*v.shape[:2], frames, -1) for v in self if v is not None]
        return temporal.view(shapes[0]), rest.view(shapes[0]), spatial.view(shapes[-1])

    @classmethod
    def kept(cls, saved: Any, exact: bool) -> Scores | None:
        """From what the op saved, None if it kept nothing; ``exact``: whether there are remainders to add."""
        if saved is None or saved.temporal is None:
            return None
        temporal, rest, spatial = (v.flatten(2) for v in (saved.temporal, saved.rest, saved.scores))
        return cls(temporal, rest if exact else None, spatial)
