"""A run really trained, though briefly, on a little generated data, and the words of its test split."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from m2t_fast.config import CaptionerConfig
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.loading import load_data
from m2t_fast.interpretation.statistics import WordRecord, generated_words, reference_words
from m2t_fast.run_folder import Run, load_run
from m2t_fast.training.loop import train
from m2t_fast.training.settings import TrainingSettings


class Trained(NamedTuple):
    """A run and the test split it looks at: the words it finds and the words it reads."""

    run: Run
    test: MotionDataset
    found: list[WordRecord]
    read: list[WordRecord]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    data = load_data("synthetic", synthetic_count={"train": 60, "val": 4, "test": 10}, joints=21)
    sizes = dict(part_dim=16, attention_dim=16, hidden_size=32, embedding_dim=16, dropout=0.0)
    folder = tmp_path_factory.mktemp("runs") / "run"
    settings = TrainingSettings(epochs=6, batch_size=16, learning_rate=1e-2, teacher_forcing=1.0)
    train(data, CaptionerConfig(len(data.vocabulary), joints=21, **sizes), settings, folder, progress=False)
    run = load_run(folder)
    test = data["test"]
    return Trained(run, test, generated_words(run.model, test, run.vocabulary), reference_words(run.model, test))


@pytest.fixture
def word():  # noqa: ANN201  a function with many defaults
    """``word("walks", ...)``: a record; what is not given does not matter."""

    def make(text: str = "walks", kind: int = 1, gate: float = 0.9, mean: float = 5.0, std: float = 1.0, **other):  # noqa: ANN003, ANN202
        part = other.pop("part", 0)
        peak = np.eye(6)[part] * 0.9
        defaults = dict(motion=0, caption=0, place=0, stem=text, supervised=False, peak=peak, share=np.eye(6)[part])
        return WordRecord(word=text, kind=kind, gate=gate, mean=mean, std=std, **{**defaults, **other})

    return make
