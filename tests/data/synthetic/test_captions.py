"""The caption grammar: tags word by word, known words only, actions in order, every variant of every action sayable."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter

import pytest

from m2t_fast.data.raw import Caption
from m2t_fast.data.synthetic import generate
from m2t_fast.data.synthetic.actions import ACTIONS
from m2t_fast.data.synthetic.captions import MAX_WORDS, captions_of, naming_words
from m2t_fast.data.synthetic.track import Step

UNIVERSAL = {"NOUN", "VERB", "ADV", "DET", "PRON", "ADJ", "ADP", "CCONJ", "SCONJ", "PART", "NUM", "AUX"}
# A verb that only this action is called by, in whatever paraphrase.
VERBS = {
    "walk": {"walk", "take", "step"},
    "run": {"run", "jog", "sprint"},
    "circle": {"walk", "circle"},
    "turn": {"turn", "make"},
    "sidestep": {"step", "sidestep", "move"},
    "stumble": {"stumble", "lose"},
    "jump": {"jump", "leap"},
    "hop": {"hop", "jump"},
    "march": {"march", "walk"},
    "raise": {"raise"},
    "wipe": {"wipe", "clean"},
    "pick": {"pick", "bend"},
    "squat": {"squat", "do"},
    "bow": {"bow", "take"},
    "bend": {"bend", "lean"},
    "drink": {"drink", "bring"},
}


@pytest.fixture(scope="module")
def captions() -> list[tuple[list[str], Caption]]:
    data = generate({"train": 600}, seed=4)
    return [([s.action for s in m.segments or []], c) for m in data.splits["train"] for c in m.captions]


def make_step(action: str, variant: str = "", speed: str = "", times: int = 1) -> Step:
    return Step(action, variant, speed, times, duration=2.0, tempo=1.0, amplitude=1.0, phase=0.0)


def words(caption: Caption) -> list[str]:
    return re.findall(r"[a-z0-9']+", caption.text.lower())


def test_tags_align_with_the_words_of_the_text(captions: list[tuple[list[str], Caption]]) -> None:
    for _, caption in captions:
        assert caption.tags is not None
        assert len(caption.tags) == len(words(caption)) <= MAX_WORDS
        for word, (lemma, tag) in zip(words(caption), caption.tags, strict=True):
            assert tag in UNIVERSAL
            assert lemma == lemma.lower()
            if tag not in ("VERB", "NOUN"):
                assert lemma == word
            else:
                assert word.startswith(lemma[:-1]), "inflected from the lemma"


def test_verbs_and_nouns_are_lemmas() -> None:
    caption = captions_of([make_step("run", "forward"), make_step("wave", "both")], random.Random(1))[0]
    assert caption.tags is not None
    tags = dict(caption.tags)
    assert tags["run"] == "VERB"
    assert tags["wave"] == "VERB"
    assert {"hand", "arm"} & set(tags)
    assert not {"runs", "running", "hands", "arms"} & set(tags)


def test_actions_come_in_the_order_of_the_segments(captions: list[tuple[list[str], Caption]]) -> None:
    checked = 0
    for actions, caption in captions:
        assert caption.tags is not None
        verbs = [lemma for lemma, tag in caption.tags if tag == "VERB"]
        place = 0
        for action in actions:
            names = VERBS.get(action, {action})
            place = next((i + 1 for i in range(place, len(verbs)) if verbs[i] in names), -1)
            assert place > 0, (actions, caption.text)
            checked += 1
    assert checked > 3000


def test_three_or_four_different_captions_a_motion() -> None:
    counts: Counter[int] = Counter()
    for motion in generate({"train": 200}, seed=7).splits["train"]:
        texts = {tuple(words(caption)) for caption in motion.captions}
        assert len(texts) == len(motion.captions)
        counts[len(texts)] += 1
    assert set(counts) == {3, 4}


def test_the_vocabulary_is_small_and_covers_the_supervised_words(captions: list[tuple[list[str], Caption]]) -> None:
    counts = Counter(lemma for _, caption in captions for lemma, _ in caption.tags or ())
    assert 80 <= len(counts) <= 150
    assert min(counts.values()) >= 3
    supervised = (
        "circle clockwise anticlockwise forward backward open wave wipe throw punch pick box clean catch kick stomp "
        "lift kneel squat stand stumble bend bow a person human man is the his their on"
    )
    assert set(supervised.split()) <= set(counts)


def test_some_captions_have_capitals_and_full_stops(captions: list[tuple[list[str], Caption]]) -> None:
    texts = [caption.text for _, caption in captions]
    assert 0.05 < sum(text[0].isupper() for text in texts) / len(texts) < 0.2
    assert 0.3 < sum(text.endswith(".") for text in texts) / len(texts) < 0.5
    assert not any("  " in text or " ," in text or " ." in text or "{" in text for text in texts)


def test_a_man_is_his_own() -> None:
    for motion in generate({"train": 200}, seed=9).splits["train"]:
        for caption in motion.captions:
            if "his" in words(caption):
                assert "man" in words(caption)
            if "their" in words(caption):
                assert "man" not in words(caption)


@pytest.mark.parametrize("name", ACTIONS)
def test_every_variant_pace_and_count_can_be_said(name: str) -> None:
    action = ACTIONS[name]
    speeds = ("", "slow", "fast") if action.paced else ("",)
    for variant, speed, times in itertools.product(action.variants, speeds, (1, 2) if action.countable else (1,)):
        step = make_step(name, variant, speed, times)
        said = [" ".join(words(c)) for i in range(8) for c in captions_of([step], random.Random(i))]
        if variant in ("left", "right"):
            assert all(variant in text.split() for text in said)
        if times == 2:
            assert all(text.split()[-1] == "twice" or "twice" in text or "two times" in text for text in said)
        paces = {"slow": {"slowly", "jog", "jogs", "jogging"}, "fast": {"quickly", "rapidly", "fast", "sprint"}}
        paced = [bool(paces[p] & set(re.sub(r"sprint\w*", "sprint", t).split())) for t in said for p in paces]
        assert any(paced) == bool(speed)


def test_the_wordiest_actions_still_fit_together() -> None:
    wordy = [
        make_step("pick", "left", "slow"),
        make_step("throw", "right", "fast"),
        make_step("catch"),
        make_step("punch", "left", "fast", 2),
        make_step("drink", "right"),
        make_step("circle", "counterclockwise"),
        make_step("sidestep", "left", "slow"),
        make_step("raise", "both", "fast"),
    ]
    for seed, steps in enumerate(itertools.permutations(wordy, 3)):
        captions = captions_of(list(steps), random.Random(seed))
        assert len({tuple(words(caption)) for caption in captions}) in (3, 4)
        assert max(len(words(caption)) for caption in captions) <= MAX_WORDS


@pytest.mark.parametrize(
    ("actions", "lemmas", "expected"),
    [
        (["turn"], "a person make a left turn", ("turn",)),
        (["walk", "bow"], "a man take several step forward then take a bow", ("step", "bow")),
        (["stumble", "pick"], "a man lose his balance and stumble and bend down and pick", ("stumble", "pick")),
        (["hop", "jump"], "a man jump on the left leg and jump up", ("jump", "jump")),
        (["march", "circle"], "a man walk in place then walk in a circle", ("walk", "walk")),
    ],
)
def test_the_word_that_names_an_action(actions: list[str], lemmas: str, expected: tuple[str, ...]) -> None:
    caption = Caption(lemmas, tuple((lemma, "X") for lemma in lemmas.split()))
    steps = [Step(action, "", "", 1, 1.0, 1.0, 1.0, 0.0) for action in actions]
    assert naming_words(caption, steps) == expected


def test_segments_carry_the_naming_words() -> None:
    for motion in generate({"train": 40}, seed=2).splits["train"]:
        assert motion.segments is not None
        for segment in motion.segments:
            assert len(segment.words) == len(motion.captions) and segment.active is not None
            assert segment.start <= segment.active[0] < segment.active[1] <= segment.end
            for word, caption in zip(segment.words, motion.captions, strict=True):
                assert word in [lemma for lemma, _ in caption.tags or ()]
