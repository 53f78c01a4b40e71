"""Scores of generated captions against their references: the public name of ``m2t_fast.evaluation.metrics``."""

from m2t_fast.evaluation.metrics import bleu, score

__all__ = ["bleu", "score"]
