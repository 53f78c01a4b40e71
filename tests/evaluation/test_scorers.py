"""The four scores of words against values worked out by hand, and BLEU against the COCO scorer's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.metrics import score

pytest.importorskip("pycocoevalcap", reason="pycocoevalcap is not installed")

captions = st.lists(st.sampled_from(["a", "person", "walks", "turns", "and", "then"]), min_size=1, max_size=9).map(
    " ".join
)


def test_bleu_of_a_corpus() -> None:
    # Sample 1, 6 words, reference of 7: 1- to 4-grams match 5 of 6, 3 of 5, 1 of 4, 0 of 3.
    # Sample 2, 5 words, references of 5 and 8: 5 of 5, 4 of 4, 3 of 3, 2 of 2.
    predictions = ["a man walks forward and jumps", "someone waves with both hands"]
    references = [
        ["a man slowly walks forward and stops"],
        ["someone waves with both hands", "a person waves with both of the hands"],
    ]
    penalty = math.exp(1 - 12 / 11)
    found = score(predictions, references)
    assert found["bleu_1"] == pytest.approx(100 * penalty * 10 / 11)
    assert found["bleu_4"] == pytest.approx(100 * penalty * (10 / 11 * 7 / 9 * 4 / 7 * 2 / 5) ** 0.25)


def test_bleu_of_captions_shorter_than_four_words() -> None:
    # "turns" has no 2-gram: 4 of 4 1-grams, 2 of 2 2-grams, 1 of 1 3-grams, and no 4-gram at all.
    found = score(["a person turns", "turns"], [["a person turns"], ["turns"]])
    assert found["bleu_1"] == pytest.approx(100.0) and found["bleu_4"] == 0.0
    found = score(["a person turns around", "turns"], [["a person turns around"], ["turns"]])
    assert found["bleu_4"] == pytest.approx(100.0)


def test_rouge_l_is_the_longest_common_subsequence() -> None:
    # "a ... walks ... forward": 3 of the 4 words said, 3 of the reference's 5; recall counts 1.2 squared as much.
    precision, recall = 3 / 4, 3 / 5
    expected = 2.44 * precision * recall / (recall + 1.44 * precision)
    assert expected == pytest.approx(0.6535714)
    found = score(["a person walks forward"], [["a man walks slowly forward"]])
    assert found["rouge_l"] == pytest.approx(100 * expected)


def test_rouge_l_takes_the_best_precision_and_the_best_recall() -> None:
    # The first reference gives precision 3/4, the second recall 1/1; the mean over both samples counts.
    found = score(["a person walks forward", "no"], [["a man walks slowly forward", "person"], ["yes"]])
    assert found["rouge_l"] == pytest.approx(100 * (2.44 * 0.75 / (1 + 1.44 * 0.75) + 0) / 2)


def test_cider_of_words_that_no_two_samples_share() -> None:
    # Every n-gram weighs log 2, so that cosines are shares of n-grams. Sample 1: 1 for 1- and 2-grams, 0 for 3- and
    # 4-grams, of which there are none. Sample 2: 1/2 for 1-grams ("c"), else 0. Means over the orders, times 10.
    found = score(["a b", "c e"], [["a b"], ["c d"]])
    assert found["cider"] == pytest.approx(100 * (10 * (1 + 1) / 4 + 10 * 0.5 / 4) / 2)
    assert found["cider"] == pytest.approx(312.5)


def test_cider_with_a_common_word_and_references_of_other_lengths() -> None:
    # "a" is in both samples and weighs log(2/2) = 0. "a b" against "a b c": 1-grams (b) . (b, c) and 2-grams
    # (a b) . (a b, b c) give 1/sqrt(2) each, and one 2-gram less costs exp(-1 / (2 * 6^2)). Against "a b": 1 and 1.
    first = 10 * (2 / math.sqrt(2) * math.exp(-1 / 72) + 2) / 4 / 2
    found = score(["a b", "a d"], [["a b c", "a b"], ["a d"]])
    assert found["cider"] == pytest.approx(100 * (first + 5) / 2)


@given(st.lists(st.tuples(captions, st.lists(captions, min_size=1, max_size=3)), min_size=1, max_size=4))
def test_bleu_is_that_of_the_coco_scorer(samples: list[tuple[str, list[str]]]) -> None:
    from pycocoevalcap.bleu.bleu import Bleu

    predictions, references = [one for one, _ in samples], [several for _, several in samples]
    values, _ = Bleu(4).compute_score(dict(enumerate(references)), {n: [p] for n, p in enumerate(predictions)}, 0)
    found = score(predictions, references)
    assert found["bleu_1"] == pytest.approx(100 * values[0], abs=1e-5)
    # Where no 4-gram matches, the COCO scorer puts 1e-15 of 1 (or of 1e-9) in place of 0, and ours is exactly 0.
    if found["bleu_4"] > 0:
        assert found["bleu_4"] == pytest.approx(100 * values[3], rel=1e-5)
    else:
        assert values[3] < 0.04
