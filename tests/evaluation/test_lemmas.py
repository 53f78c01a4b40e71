"""Captions in the lemmatised words of a data set: how its files write compounds, numbers, possessives and lemmas."""

from __future__ import annotations

from pathlib import Path

import pytest

from m2t_fast.data.dataset import Prepared
from m2t_fast.data.loading import load_data
from m2t_fast.data.tagging import processed_words
from m2t_fast.data.text import tokenise
from m2t_fast.errors import UserError
from m2t_fast.evaluation import Lemmas, learn_lemmas, processed_references

# As HumanML3D writes them: nouns and verbs as lemmas, hyphens taken out, tokens that are not all letters left out.
PAIRS = [
    ("a person walks counter-clockwise.", "a person walk counterclockwise"),
    ("the person's hands are raised", "the person hand are raise"),
    ("a man turns 180 degrees to his left, then jogs", "a man turn degree to his left then jog"),
    ("someone cannot reach it", "someone can not reach it"),
    ("a man is turning", "a man is turn"),
    ("a person makes a turning motion", "a person make a turning motion"),
    ("he was turning around", "he was turn around"),
    ("a man steps side to side", "a man step side to side"),
    ("a man steps side to side twice", "a man step side to side twice"),
    ("a man hops side-to-side on one foot", "a man hop sidetoside on one foot"),
]


@pytest.fixture(scope="module")
def lemmas() -> Lemmas:
    return Lemmas((tokenise(raw), processed.split()) for raw, processed in PAIRS)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("a person turns", "a person turn"),
        ("the man walks counter clockwise twice", "the man walk counterclockwise twice"),
        ("a person's left hands", "a person left hand"),
        ("a man jogs 180 degrees", "a man jog degree"),
        ("he cannot", "he can not"),
        ("someone is turning", "someone is turn"),
        ("in a turning motion", "in a turning motion"),
        ("then turning", "then turn"),  # behind a word it was not seen behind: the form it has most often
        ("a man hops side to side", "a man hop side to side"),  # most captions write it without hyphens
        ("dances wildly", "dances wildly"),  # never seen
        ("", ""),
    ],
)
def test_words_as_the_data_set_writes_them(lemmas: Lemmas, said: str, expected: str) -> None:
    assert lemmas.apply(said.split()) == expected.split()


def test_its_own_captions_come_out_as_in_the_files(lemmas: Lemmas) -> None:
    for raw, processed in PAIRS[:-1]:
        assert lemmas.apply(tokenise(raw)) == processed.split()


def test_nothing_to_learn_from() -> None:
    assert Lemmas([]).apply(["a", "person", "walks"]) == ["a", "person", "walks"]


def test_unseen_captions_of_the_generator(data: Prepared) -> None:
    lemmas = learn_lemmas("synthetic")
    dataset = data["test"]
    for captions, processed in zip(dataset.references, processed_references(dataset), strict=True):
        assert [" ".join(lemmas.apply(caption.split())) for caption in captions] == processed


def write(folder: Path, split: str, texts: dict[str, str]) -> None:
    (folder / "texts").mkdir(exist_ok=True)
    (folder / f"{split}.txt").write_text("\n".join(texts))
    for motion_id, text in texts.items():
        (folder / "texts" / f"{motion_id}.txt").write_text(text)


def test_a_folder_is_learnt_from_its_training_captions(tmp_path: Path) -> None:
    write(tmp_path, "train", {"m1": "a man walks#a/DET man/NOUN walk/VERB#0.0#0.0\na man runs\n"})
    write(tmp_path, "test", {"m2": "a man waves#a/DET man/NOUN wave/VERB#0.0#0.0\n"})
    assert learn_lemmas(tmp_path).apply(["walks", "runs", "waves"]) == ["walk", "runs", "waves"]


def test_folders_that_tell_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such split file"):
        learn_lemmas(tmp_path)
    write(tmp_path, "train", {"m1": "a man walks\n"})
    with pytest.raises(UserError, match="no training caption has tagged tokens"):
        learn_lemmas(tmp_path)


def test_processed_references(data: Prepared) -> None:
    dataset = load_data("synthetic", synthetic_count=40)["val"]
    assert processed_references(dataset) == dataset.processed and dataset.processed != dataset.references
    first = dataset.processed[0][0]
    dataset.processed[0] = ["", first]
    assert processed_references(dataset)[0] == [first]
    dataset.processed[0] = ["", ""]
    with pytest.raises(UserError, match=f"{dataset.ids[0]}: no caption of this motion has tagged tokens"):
        processed_references(dataset)


def test_processed_words() -> None:
    tagged = (("The", "DET"), ("man", "NOUN"), (",", "PUNCT"), ("counter-clockwise", "ADV"), ("Walk", "VERB"))
    assert processed_words(tagged) == ["the", "man", "counter", "clockwise", "walk"]
