"""Fine-tuning: the weights of a run as the start of another, whose vocabulary may have more words."""

from __future__ import annotations

from typing import Any

import torch

from m2t_fast.captioner import Captioner
from m2t_fast.config import UNK
from m2t_fast.errors import UserError
from m2t_fast.run_folder import Run
from m2t_fast.training.settings import TrainingSettings

EPOCHS, LEARNING_RATE, MOST_WARMUP = 60, 2e-4, 500
"""Of fine-tuning, unless options say otherwise."""


def fine_tuning(samples: int, settings: TrainingSettings) -> dict[str, Any]:
    """How the settings of fine-tuning on this number of samples differ from those of a new run: fewer epochs, a lower
    learning rate, and warm-up over the first tenth of the steps."""
    epochs = min(settings.epochs, EPOCHS)
    steps = epochs * -(-samples // settings.batch_size)
    return {"epochs": epochs, "learning_rate": LEARNING_RATE, "warmup_steps": min(max(steps // 10, 1), MOST_WARMUP)}


@torch.no_grad()
def start_from(model: Captioner, run: Run) -> None:
    """Give ``model`` the weights of a run whose words are the first of its own, in the same order.

    Words that the run has keep their rows. A new word begins with the mean row of the output layer, so that it is
    about as likely as most, and with an embedding of its own, as drawn for ``model``.

    Raises:
        UserError: the run has other sizes, or more words.
    """
    theirs = run.model.state_dict()
    for name, tensor in model.state_dict().items():
        old = theirs.get(name)
        of_words = name in ("embedding.weight", "output.weight", "output.bias")
        fits = old is not None and (
            old.shape[1:] == tensor.shape[1:] and len(old) <= len(tensor) if of_words else old.shape == tensor.shape
        )
        if old is None or not fits:
            raise UserError(f"{run.folder}: its model has other sizes ({name}); fine-tuning keeps those of the run")
        if not of_words:
            tensor.copy_(old)
            continue
        tensor[: len(old)] = old
        if name != "embedding.weight":
            tensor[len(old) :] = old[UNK + 1 :].mean(dim=0)
