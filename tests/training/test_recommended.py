"""Settings by the size of the data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.training.recommended import LARGE, recommend
from m2t_fast.training.settings import TrainingSettings


@pytest.mark.parametrize(
    ("samples", "preset", "batch"),
    [(12, "kit", 8), (90, "kit", 8), (200, "kit", 16), (400, "kit", 32), (640, "kit", 64), (10_408, "kit", 64)]
    + [(LARGE - 1, "kit", 64), (LARGE, "humanml3d", 128), (66_734, "humanml3d", 128)],
)
def test_sizes(samples: int, preset: str, batch: int) -> None:
    found = recommend(samples)
    settings = getattr(TrainingSettings, found.preset)(**found.training)
    assert (found.preset, settings.batch_size) == (preset, batch)
    assert f"{samples:,} training samples" in found.why


@given(samples=st.integers(1, 10**6))
def test_guidance_is_always_on(samples: int) -> None:
    settings = getattr(TrainingSettings, recommend(samples).preset)(**recommend(samples).training)
    assert (settings.lambda_spat, settings.lambda_adapt) == (2.0, 3.0)


@given(warmup=st.integers(0, 50), step=st.integers(0, 100))
def test_the_learning_rate_warms_up(warmup: int, step: int) -> None:
    settings = TrainingSettings(learning_rate=1e-3, warmup_steps=warmup)
    rate = settings.learning_rate_at(step)
    assert 0 < rate <= 1e-3
    assert rate == (1e-3 if step + 1 >= warmup else pytest.approx(1e-3 * (step + 1) / warmup))
