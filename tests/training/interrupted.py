"""Trains the tests' model in a process of its own, to be killed: FOLDER [--resume]."""

import sys

from m2t_fast.config import CaptionerConfig
from m2t_fast.data.dataset import load_data
from m2t_fast.training.loop import train
from m2t_fast.training.settings import TrainingSettings

data = load_data("synthetic", synthetic_count={"train": 24, "val": 4, "test": 2}, joints=21)
config = CaptionerConfig(
    vocab_size=len(data.vocabulary), joints=21, part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=6
)
settings = TrainingSettings(epochs=6, batch_size=8, log_interval=2, checkpoint_interval=3)
try:
    train(data, config, settings, sys.argv[1], resume="--resume" in sys.argv, progress=False)
except KeyboardInterrupt:
    sys.exit(130)
