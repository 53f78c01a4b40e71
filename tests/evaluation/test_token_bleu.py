"""BLEU of token ids is BLEU of the decoded words, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.config import EOS, PAD, SOS, UNK
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.evaluation import metrics
from m2t_fast.evaluation.token_bleu import TokenBleu, bleu_4

VOCABULARY = Vocabulary(["a", "man", "walks", "two words", " ", "runs"])
# Few words, so that n-grams meet; some in no vocabulary, and the specials as somebody may have written them.
REFERENCE = st.lists(
    st.sampled_from(["a", "man", "walks", "two", "words", "rare", "<unk>", "<pad>", "<eos>"]), max_size=9
)
REFERENCES = st.lists(st.lists(REFERENCE.map(" ".join), min_size=1, max_size=4), min_size=1, max_size=5)


def padded(captions: list[list[int]]) -> np.ndarray:
    tokens = np.full((len(captions), max(map(len, captions), default=0)), PAD)
    for row, caption in enumerate(captions):
        tokens[row, : len(caption)] = caption
    return tokens


@given(REFERENCES, st.data())
def test_as_of_words(references, data):
    token = st.integers(0, len(VOCABULARY) - 1)
    captions = [data.draw(st.lists(token, max_size=9)) for _ in references]
    expected = metrics._bleu([VOCABULARY.decode(c) for c in captions], references)["bleu_4"]
    found, order = TokenBleu(references, VOCABULARY), np.array(data.draw(st.permutations(range(len(captions)))))
    counts = found.counts(padded(captions)[order], order)
    assert bleu_4(counts.tolist()) == expected
    cut = data.draw(st.integers(0, len(order)))
    parts = [found.counts(padded(captions)[numbers], numbers) for numbers in (order[:cut], order[cut:])]
    assert np.array_equal(counts, sum(parts))


@given(REFERENCES, st.randoms(use_true_random=False))
def test_as_of_words_that_are_mostly_the_references(references, random):
    """So that four words in a row match, too."""
    captions = []
    for group in references:
        words = random.choice(group).split()
        captions.append([VOCABULARY.index(word) if random.random() < 0.9 else UNK for word in words] + [EOS, UNK])
    expected = metrics._bleu([VOCABULARY.decode(c) for c in captions], references)["bleu_4"]
    counts = TokenBleu(references, VOCABULARY).counts(padded(captions), np.arange(len(captions)))
    assert bleu_4(counts.tolist()) == expected


def test_an_unknown_word_matches_only_where_it_is_written_so():
    unknown = [[UNK, UNK, UNK, UNK, EOS]]
    for reference, score in (("rare words never seen", 0.0), ("<unk> <unk> <unk> <unk>", 100.0)):
        counts = TokenBleu([[reference]], VOCABULARY).counts(padded(unknown), np.arange(1))
        assert bleu_4(counts.tolist()) == pytest.approx(score)


def test_large_numbers_of_words_do_not_run_into_each_other():
    """Keys of four words of so large a vocabulary would not fit 64 bits."""
    vocabulary = Vocabulary([f"w{number}" for number in range(70_000)])
    generator = np.random.default_rng(0)
    captions = generator.integers(69_000, 70_004, (50, 12))
    references = [[vocabulary.decode([*caption[:6], UNK, *caption[7:]])] for caption in captions.tolist()]
    expected = metrics._bleu([vocabulary.decode(c) for c in captions.tolist()], references)["bleu_4"]
    found = bleu_4(TokenBleu(references, vocabulary).counts(captions, np.arange(50)).tolist())
    assert found == expected and 0 < expected < 100


def test_start_words_are_not_said():
    counts = TokenBleu([["a man"]], VOCABULARY).counts(np.array([[SOS, 4, PAD, 5, EOS, 4]]), np.arange(1))
    assert counts.tolist() == [2, 1, 0, 0, 2, 1, 0, 0, 2, 2]


def test_nothing_to_compare_with_is_refused():
    with pytest.raises(ValueError, match="references: got an empty list"):
        TokenBleu([], VOCABULARY)
    with pytest.raises(ValueError, match=r"references\[1\]: got an empty list"):
        TokenBleu([["a"], []], VOCABULARY)
