"""Captioning whole data sets and scoring the captions."""

from m2t_fast.evaluation.captions import Hypothesis, caption_motions, generate_batches, hypotheses_of
from m2t_fast.evaluation.scores import evaluate, validation_bleu, write_predictions

__all__ = [
    "Hypothesis",
    "caption_motions",
    "evaluate",
    "generate_batches",
    "hypotheses_of",
    "validation_bleu",
    "write_predictions",
]
