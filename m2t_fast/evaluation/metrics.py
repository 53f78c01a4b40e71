"""Scores of generated captions against their references."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence

from m2t_fast.wording import counted

_ORDERS = {"bleu_1": 1, "bleu_4": 4}
MAX_ORDER = max(_ORDERS.values())
"""Words of the longest n-grams that BLEU counts."""


def score(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """How well captions agree with their references, from 0 to 100 (CIDEr can be higher).

    Captions are compared as they are, word by word (words are separated by spaces): lower-case them and remove
    punctuation first, on both sides. An empty prediction is valid.

    Args:
        predictions: one caption per sample.
        references: the reference captions of each sample, at least one each.

    Returns:
        ``bleu_1`` and ``bleu_4``: corpus BLEU against all references, unsmoothed, as the COCO scorer counts it, but
        exactly 0 where no n-gram of some order matches. Where the package pycocoevalcap is installed also its
        ``rouge_l`` and ``cider``, the latter 100 times its value, as papers print it (10 times a mean cosine).

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
            raise ValueError(f"{name}: got a {type(values).__name__}, expected a list with an entry per sample")
    if not predictions:
        raise ValueError("predictions: got an empty list, expected at least one caption")
    if len(references) != len(predictions):
        samples = counted(len(references), "sample")
        raise ValueError(f"references: got {samples}, expected {len(predictions)} as in predictions")
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


def bleu(matches: Sequence[int], ngrams: Sequence[int], words: int, expected: int) -> dict[str, float]:
    """``bleu_1`` and ``bleu_4`` of a corpus from its counts.

    Args:
        matches: n-grams of n = 1, 2, ... words in the predictions that count as found in the references.
        ngrams: all n-grams in the predictions.
        words: words in the predictions; expected: sum of the lengths of the references closest in length.
    """
    from nltk.translate.bleu_score import brevity_penalty

    penalty = brevity_penalty(expected, words)
    scores = {}
    for name, order in _ORDERS.items():
        scores[name] = 0.0
        if all(matches[:order]):
            precisions = [found / count for found, count in zip(matches[:order], ngrams[:order], strict=True)]
            scores[name] = 100.0 * float(penalty) * math.prod(precisions) ** (1 / order)
    return scores


def _bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    from nltk.translate.bleu_score import closest_ref_length, modified_precision

    # Not NLTK's corpus_bleu, which counts an n-gram that is not there in predictions of fewer than n words.
    matches, ngrams = [0] * MAX_ORDER, [0] * MAX_ORDER
    words = expected = 0
    for caption, captions in zip(predictions, references, strict=True):
        said, given = caption.split(), [reference.split() for reference in captions]
        words += len(said)
        expected += closest_ref_length(given, len(said))
        for place in range(min(len(matches), len(said))):
            count = len(said) - place
            matches[place] += int(modified_precision(given, said, place + 1) * count)
            ngrams[place] += count
    return bleu(matches, ngrams, words, expected)


def _coco(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    truth = {number: [" ".join(c.split()) for c in captions] for number, captions in enumerate(references)}
    given = {number: [" ".join(caption.split())] for number, caption in enumerate(predictions)}
    scorers = {"rouge_l": Rouge(), "cider": Cider()}
    return {name: 100.0 * float(scorer.compute_score(truth, given)[0]) for name, scorer in scorers.items()}
