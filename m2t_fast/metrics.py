"""Scores of generated captions against their references."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

_ORDERS = {"bleu_1": 1, "bleu_4": 4}


def score(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """How well captions agree with their references, from 0 to 100 (CIDEr can be higher).

    Captions are compared as they are, word by word (words are separated by spaces): lower-case them and take out the
    punctuation before, on both sides. An empty prediction is valid.

    Args:
        predictions: one caption a sample.
        references: the reference captions of each sample, at least one each.

    Returns:
        ``bleu_1`` and ``bleu_4``: corpus BLEU (NLTK) against all references, unsmoothed, exactly 0 where no n-gram of
        some order matches. Where the package pycocoevalcap is installed also ``rouge_l`` and ``cider``.

    Raises:
        ValueError: nothing to score, different numbers of samples, a sample without references, or something that is
            not a str; the message names the argument.
    """
    _check(predictions, references)
    scores = _bleu(predictions, references)
    if importlib.util.find_spec("pycocoevalcap") is not None:
        scores |= _coco(predictions, references)
    return scores


def _check(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    for name, values in (("predictions", predictions), ("references", references)):
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise ValueError(f"{name}: got a {type(values).__name__}, expected a list with an entry a sample")
    if not predictions:
        raise ValueError("predictions: got an empty list, expected at least one caption")
    if len(references) != len(predictions):
        raise ValueError(f"references: got {len(references)} samples, expected {len(predictions)} as in predictions")
    for number, caption in enumerate(predictions):
        if not isinstance(caption, str):
            raise ValueError(f"predictions[{number}]: got a {type(caption).__name__}, expected a str")
    for number, captions in enumerate(references):
        if isinstance(captions, str) or not isinstance(captions, Sequence):
            raise ValueError(f"references[{number}]: got a {type(captions).__name__}, expected a list of str")
        if not captions:
            raise ValueError(f"references[{number}]: got an empty list, expected at least one reference")
        for caption in captions:
            if not isinstance(caption, str):
                raise ValueError(f"references[{number}]: got a {type(caption).__name__} in it, expected only str")


def _bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    from nltk.translate.bleu_score import corpus_bleu

    precisions: list[Fraction] = []

    def no_smoothing(found: list[Fraction], **_: Any) -> list[Fraction | int]:
        # NLTK puts a tiny number where nothing matches, and warns; a placeholder here keeps it quiet.
        precisions.extend(found)
        return [precision or 1 for precision in found]

    values = corpus_bleu(
        [[caption.split() for caption in captions] for captions in references],
        [caption.split() for caption in predictions],
        weights=[(1 / order,) * order for order in _ORDERS.values()],
        smoothing_function=no_smoothing,
    )
    matched = sum(1 for precision in precisions if precision)  # the highest order of which an n-gram matches
    return {
        name: 100.0 * float(value) if matched >= order else 0.0
        for (name, order), value in zip(_ORDERS.items(), values, strict=True)
    }


def _coco(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    truth = {number: [" ".join(c.split()) for c in captions] for number, captions in enumerate(references)}
    given = {number: [" ".join(caption.split())] for number, caption in enumerate(predictions)}
    scorers = {"rouge_l": Rouge(), "cider": Cider()}
    return {name: 100.0 * float(scorer.compute_score(truth, given)[0]) for name, scorer in scorers.items()}
