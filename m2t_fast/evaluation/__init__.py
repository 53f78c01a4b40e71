"""Captioning whole data sets and scoring the captions."""

from m2t_fast.captioning.pipeline import Hypothesis, caption_motions, generate_batches, hypotheses_of
from m2t_fast.evaluation.bert import BertScorer
from m2t_fast.evaluation.lemmas import Lemmas, learn_lemmas
from m2t_fast.evaluation.scored_runs import Files, Report, Result, evaluate_run
from m2t_fast.evaluation.scores import evaluate, processed_references, write_predictions
from m2t_fast.evaluation.tables import Row, Table
from m2t_fast.evaluation.token_bleu import TokenBleu

__all__ = [
    "BertScorer",
    "Files",
    "Hypothesis",
    "Lemmas",
    "Report",
    "Result",
    "Row",
    "Table",
    "TokenBleu",
    "caption_motions",
    "evaluate",
    "evaluate_run",
    "generate_batches",
    "hypotheses_of",
    "learn_lemmas",
    "processed_references",
    "write_predictions",
]
