"""Scores against values worked out by hand, and the arguments that are refused."""

from __future__ import annotations

import importlib.util
import math
import warnings

import pytest

from m2t_fast.metrics import score


def test_equal_captions_score_100() -> None:
    captions = ["a person walks forward slowly", "the man waves with both hands"]
    result = score(captions, [[captions[0], "someone moves"], [captions[1]]])
    assert result["bleu_1"] == pytest.approx(100.0) and result["bleu_4"] == pytest.approx(100.0)


def test_worked_by_hand() -> None:
    # Matches of 1- to 4-grams: 5 of 6, 4 of 5, 3 of 4, 2 of 3; both are 6 words long, so no brevity penalty.
    result = score(["a person walks forward and jumps"], [["a person walks forward and runs"]])
    assert result["bleu_1"] == pytest.approx(100 * 5 / 6)
    assert result["bleu_4"] == pytest.approx(100 * (5 / 6 * 4 / 5 * 3 / 4 * 2 / 3) ** 0.25)


def test_brevity_penalty_and_the_closest_reference() -> None:
    # 4 words against references of 6 and 9 words: the closest counts, exp(1 - 6 / 4).
    references = ["a person walks forward and jumps", "a person walks forward and then he turns around"]
    result = score(["a person walks forward"], [references])
    assert result["bleu_1"] == result["bleu_4"] == pytest.approx(100 * math.exp(1 - 6 / 4))


def test_repeated_words_count_as_often_as_in_a_reference() -> None:
    result = score(["a a a a"], [["a person and a dog", "a man"]])
    assert result["bleu_1"] == pytest.approx(100 * 2 / 4 * math.exp(1 - 5 / 4))


def test_a_corpus_adds_up_counts() -> None:
    # 1-grams: 2 of 2 and 1 of 4; lengths 6 and 6.
    result = score(["a man", "a dog runs fast"], [["a man"], ["a person walks slowly"]])
    assert result["bleu_1"] == pytest.approx(100 * 3 / 6)


@pytest.mark.parametrize(
    ("prediction", "bleu_1"),
    [("", 0.0), ("dogs bark", 0.0), ("person a", 100 * math.exp(1 - 4 / 2)), ("a person runs forward", 75.0)],
)
def test_zero_when_an_order_does_not_match(prediction: str, bleu_1: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = score([prediction], [["a person walks forward"]])
    assert result["bleu_1"] == pytest.approx(bleu_1)
    assert result["bleu_4"] == 0.0


def test_some_empty_predictions() -> None:
    result = score(["", "a person walks forward"], [["a person"], ["a person walks forward"]])
    assert 0.0 < result["bleu_4"] < 100.0


def test_words_are_compared_as_given() -> None:
    assert score(["A person walks forward"], [["a person walks forward"]])["bleu_1"] == pytest.approx(75.0)
    assert score(["a  person walks\tforward "], [["a person walks forward"]])["bleu_4"] == pytest.approx(100.0)


def test_nltk_agrees() -> None:
    from nltk.translate.bleu_score import corpus_bleu

    predictions = ["a person walks in a circle", "a man waves with the left hand", "someone kicks with the right leg"]
    references = [
        ["a person walks in a clockwise circle", "the person walks in a circle slowly"],
        ["a man waves his left hand", "a person waves with the left hand"],
        ["someone kicks with the left leg", "a man kicks with the right leg twice"],
    ]
    split = [[text.split() for text in texts] for texts in references]
    expected = corpus_bleu(split, [text.split() for text in predictions])
    assert score(predictions, references)["bleu_4"] == pytest.approx(100 * expected)


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "predictions: got an empty list"),
        (["a"], [], "references: got 0 samples, expected 1"),
        (["a", "b"], [["a"]], "references: got 1 sample, expected 2"),
        (["a"], [[]], r"references\[0\]: got an empty list"),
        (["a"], ["a"], r"references\[0\]: got a str, expected a list"),
        (["a", 3], [["a"], ["b"]], r"predictions\[1\]: got a int"),
        (["a"], [["a", None]], r"references\[0\]: got a NoneType in it"),
        ("a", [["a"]], "predictions: got a str"),
        (["a"], "a", "references: got a str"),
        (None, [["a"]], "predictions: got a NoneType"),
    ],
)
def test_refused_arguments(predictions: object, references: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(predictions, references)  # type: ignore[arg-type]


@pytest.mark.skipif(importlib.util.find_spec("pycocoevalcap") is None, reason="pycocoevalcap is not installed")
def test_rouge_and_cider() -> None:
    captions = ["a person walks forward", "a man waves both hands", ""]
    result = score(captions, [[captions[0], "he walks"], [captions[1]], ["someone jumps"]])
    # ROUGE-L is 1 for the first two captions and 0 for the empty one.
    assert result["rouge_l"] == pytest.approx(100 * 2 / 3)
    assert result["cider"] > 0.0


def test_only_bleu_without_pycocoevalcap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert list(score(["a"], [["a"]])) == ["bleu_1", "bleu_4"]
