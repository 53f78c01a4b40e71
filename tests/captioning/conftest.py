"""A little generated data and an untrained model for it."""

from __future__ import annotations

import pytest
import torch

from m2t_fast.captioner import Captioner
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.dataset import Prepared
from m2t_fast.data.loading import load_data


@pytest.fixture(scope="session")
def data() -> Prepared:
    """Generated data: 24 motions, 3 of them in val, 5 in test."""
    return load_data("synthetic", synthetic_count=40)


@pytest.fixture
def model(data: Prepared) -> Captioner:
    """A small model with random weights large enough that captions depend on the motion."""
    sizes = dict(part_dim=8, attention_dim=8, hidden_size=12, embedding_dim=6)
    model = Captioner(CaptionerConfig(len(data.vocabulary), **sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model
