"""Trains the tests' model, alone or as a process of a job, to be compared or killed: FOLDER [--resume] [--double]."""

import os
import sys

import torch

from m2t_fast.config import CaptionerConfig
from m2t_fast.data.dataset import load_data
from m2t_fast.distributed import job, launched
from m2t_fast.errors import JobError
from m2t_fast.training.loop import train
from m2t_fast.training.settings import TrainingSettings

data = load_data("synthetic", synthetic_count={"train": 24, "val": 4, "test": 2}, joints=21)
config = CaptionerConfig(
    vocab_size=len(data.vocabulary), joints=21, part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=6
)
changes = dict(batch_size=int(os.environ.get("BATCH_SIZE", "8")), epochs=int(os.environ.get("EPOCHS", "6")))
settings = TrainingSettings(log_interval=2, checkpoint_interval=3, **changes)
dtype = torch.float64 if "--double" in sys.argv else torch.float32
processes = launched()
try:
    with job(processes):
        train(
            *(data, config, settings, sys.argv[1]),
            dtype=dtype,
            resume="--resume" in sys.argv,
            progress=False,
            processes=processes,
        )
except KeyboardInterrupt:
    sys.exit(130)
except JobError as error:
    sys.exit(str(error))
