"""A run with random weights, and a take for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2t_fast.captioner import Captioner
from m2t_fast.config import CaptionerConfig
from m2t_fast.data import synthetic
from m2t_fast.data.loading import load_data
from m2t_fast.data.takes import make_takes
from m2t_fast.run_folder import Run


@pytest.fixture(params=["part", "frame"])
def run(request, tmp_path) -> Run:
    """Small, with weights large enough that captions depend on the motion."""
    data = load_data("synthetic", synthetic_count=40)
    sizes = dict(part_dim=8, attention_dim=8, hidden_size=12, embedding_dim=6, scoring=request.param)
    model = Captioner(CaptionerConfig(len(data.vocabulary), **sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
        model.output.bias[2] += 2.0  # <eos>: captions of different lengths
    return Run(tmp_path, model, data.vocabulary, data.statistics, data.settings, None)


@pytest.fixture
def joints(run) -> np.ndarray:
    """A take of a few clips."""
    clips = synthetic.generate(40).splits["train"]
    return make_takes(clips, run.skeleton, 1, seed=0)[0].joints
