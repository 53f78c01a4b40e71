"""A data set and a model small enough to train in a second."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from m2t_fast.config import CaptionerConfig
from m2t_fast.data.dataset import Prepared
from m2t_fast.data.loading import load_data
from m2t_fast.training import loop


@pytest.fixture(scope="session", autouse=True)
def states_are_written_as_often_as_they_are_asked_for() -> Iterator[None]:
    """Not at most every few seconds, which is longer than these runs take."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "STATE_SECONDS", 0.0)
        yield


@pytest.fixture(scope="session")
def data() -> Prepared:
    return load_data("synthetic", synthetic_count={"train": 24, "val": 4, "test": 2}, joints=21)


@pytest.fixture(scope="session")
def config(data: Prepared) -> CaptionerConfig:
    return CaptionerConfig(
        vocab_size=len(data.vocabulary), joints=21, part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=6
    )
