"""Token ids: construction, encoding, decoding, and files that are not what they should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.data.vocabulary import SPECIALS, Vocabulary
from m2t_fast.errors import UserError


def test_build_counts_and_sorts() -> None:
    captions = [["b", "a", "10"], ["b", "a", "10"], ["b", "a", "9", "10"], ["b", "9"]]
    assert Vocabulary.build(captions).words == (*SPECIALS, "10", "a", "b")
    assert Vocabulary.build(captions, min_count=2).words[4:] == ("10", "9", "a", "b")
    with pytest.raises(ValueError, match="min_count: got 0"):
        Vocabulary.build(captions, min_count=0)
    with pytest.raises(TypeError, match="captions: got a str"):
        Vocabulary.build("a person walks")  # type: ignore[arg-type]


def test_encode() -> None:
    vocabulary = Vocabulary(["person", "walks"])
    assert len(vocabulary) == 6
    assert vocabulary.index("walks") == 5 and vocabulary.index("runs") == 3
    assert vocabulary.encode("A Person walks!") == [1, 3, 4, 5, 2]
    assert vocabulary.encode(["person"]) == [1, 4, 2]
    assert vocabulary.encode("") == [1, 2]
    assert vocabulary.encode(["<eos>", "<pad>", "walks"]) == [1, 3, 3, 5, 2]


def test_decode() -> None:
    vocabulary = Vocabulary(["person", "walks"])
    assert vocabulary.decode([1, 0, 4, 5, 3, 2, 4]) == "person walks <unk>"
    assert vocabulary.decode(torch.tensor([4, 5, 2, 0])) == "person walks"
    assert vocabulary.decode([]) == ""
    for ids in ([4, 6], [-1], [2, 99], torch.tensor([6])):
        with pytest.raises(ValueError, match=r"ids: got (6|-1|99), expected 0 to 5 .*6 words"):
            vocabulary.decode(ids)
    with pytest.raises(ValueError, match=r"ids: got shape \(1, 2\)"):
        vocabulary.decode(torch.zeros(1, 2, dtype=torch.int64))
    with pytest.raises(TypeError, match="ids: got dtype torch.float32"):
        vocabulary.decode(torch.zeros(2))


@given(st.lists(st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True), unique=True, max_size=8), st.data())
def test_decode_inverts_encode(words: list[str], data: st.DataObject) -> None:
    vocabulary = Vocabulary(words)
    caption = data.draw(st.lists(st.sampled_from(words), max_size=6)) if words else []
    assert vocabulary.decode(vocabulary.encode(caption)) == " ".join(caption)


def test_bad_words() -> None:
    with pytest.raises(ValueError, match="words: repeated word 'a' at id 5"):
        Vocabulary(["a", "a"])
    with pytest.raises(ValueError, match="words: special word '<eos>'"):
        Vocabulary(["a", "<eos>"])
    with pytest.raises(ValueError, match="words: got ''"):
        Vocabulary([""])
    with pytest.raises(TypeError, match="words: got a str"):
        Vocabulary("abc")


def test_words_of_another_vocabulary_are_taken_as_they_are() -> None:
    vocabulary = Vocabulary(["a", "b"])
    assert Vocabulary(vocabulary.words) == vocabulary


def test_save_and_load(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["a", "person's", "\u00fcber"])
    file = tmp_path / "vocabulary.json"
    file.write_text("old")
    vocabulary.save(file)
    assert Vocabulary.load(file) == vocabulary
    assert [p.name for p in tmp_path.iterdir()] == ["vocabulary.json"]


def test_unwritable(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere/vocabulary.json: cannot write"):
        Vocabulary().save(tmp_path / "nowhere" / "vocabulary.json")


def test_bad_files(tmp_path: Path) -> None:
    file = tmp_path / "vocabulary.json"
    with pytest.raises(UserError, match="vocabulary.json: cannot read"):
        Vocabulary.load(file)
    Vocabulary(["a", "b"]).save(file)
    whole = file.read_bytes()
    good = json.loads(whole)
    cases: list[tuple[bytes, str]] = [
        (whole[: len(whole) // 2], "truncated or not JSON"),
        (b"", "truncated or not JSON"),
        (b"\x80\x02\xff", "truncated or not JSON"),
        (b"[1, 2]", "not a vocabulary"),
        (json.dumps({**good, "format": "other"}).encode(), "not a vocabulary"),
        (json.dumps({**good, "words": "abc"}).encode(), "not a vocabulary"),
        (json.dumps({**good, "version": 2}).encode(), "version 2, expected 1"),
        (json.dumps({**good, "words": good["words"][1:]}).encode(), "first words are"),
        (json.dumps({**good, "words": [*good["words"], "a"]}).encode(), "repeated word 'a'"),
        (json.dumps({**good, "words": [*good["words"], 7]}).encode(), "got 7"),
    ]
    for content, message in cases:
        file.write_bytes(content)
        with pytest.raises(UserError, match=message) as caught:
            Vocabulary.load(file)
        assert str(file) in str(caught.value) and "\n" not in str(caught.value)
