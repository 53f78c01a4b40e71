"""The whole pipeline on real data: counts, targets and captions as people write them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from m2t_fast.data.batches import training_batches
from m2t_fast.data.folder import read_motion
from m2t_fast.data.loading import load_data
from m2t_fast.data.preprocessing import DataSettings
from m2t_fast.data.text import tokenise
from m2t_fast.data.vocabulary import Vocabulary


def test_bandai(bandai: Path) -> None:
    prepared = load_data(bandai)
    train, test = prepared["train"], prepared["test"]
    assert (train.motions, len(train)) == (1772, 5526)
    assert (prepared["val"].motions, test.motions) == (113, 321)
    assert prepared.vocabulary.index("waves") > 3 and 250 < len(prepared.vocabulary) < 400
    assert int(train.motion_lengths.min()) == 20 and int(train.motion_lengths.max()) <= 100
    assert abs(float(train.frames.mean())) < 1e-3 and 0.9 < float(train.frames.std()) < 1.1
    words = train.tokens > 2
    share = (train.gate_targets[words] == 1).float().mean()
    assert 0.25 < share < 0.35
    assert train.segments is not None and all(
        segments and segments[0].start == 0 and segments[-1].end == length
        for segments, length in zip(train.segments, train.motion_lengths.tolist(), strict=True)
    )
    batches = list(training_batches(train, 64, seed=0, epoch=0))
    used, padded = (
        sum(int(b.lengths.sum()) for b in batches),
        sum(b.motion.shape[0] * b.motion.shape[1] for b in batches),
    )
    assert used / padded > 0.9
    again = load_data(bandai)
    assert again["test"].references == test.references and again.statistics == prepared.statistics


def test_bandai_with_the_paper_filters(bandai: Path) -> None:
    prepared = load_data(
        bandai,
        DataSettings.humanml3d(),
        vocabulary=Vocabulary(["walk"]),
        statistics=load_data(bandai).statistics,
        splits=("test",),
    )
    test = prepared["test"]
    assert int((test.token_offsets.diff() - 2).max()) <= 20
    assert min(map(len, test.references)) >= 3
    dropped = prepared.report["test"]["dropped"]
    assert dropped["max_tokens"] > 0 and test.motions == 321 - dropped["min_captions"]


def test_kit_captions(shared_data: Path) -> None:
    file = shared_data / "kitml_captions.json.gz"
    if not file.is_file():
        pytest.skip(f"no real data: {file} is missing")
    with gzip.open(file) as opened:
        captions = [tokenise(text) for entry in json.load(opened).values() for text in entry["captions"]]
    assert len(captions) == 12164 and all(captions)
    vocabulary = Vocabulary.build(captions)
    assert 800 < len(vocabulary) < 1100
    unknown = sum(ids.count(3) for ids in map(vocabulary.encode, captions)) / sum(map(len, captions))
    assert unknown < 0.02


def test_humanml3d_clips(shared_data: Path) -> None:
    folder = shared_data / "humanml3d_samples" / "new_joints"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is missing")
    clips = [read_motion(file) for file in sorted(folder.glob("*.npy"))]
    assert len(clips) == 6 and all(clip.shape[1:] == (22, 3) for clip in clips)


def test_lemmas_of_unseen_captions(bandai: Path) -> None:
    from m2t_fast.evaluation import learn_lemmas

    lemmas, dataset = learn_lemmas(bandai), load_data(bandai)["test"]
    pairs = [p for rows in zip(dataset.references, dataset.processed, strict=True) for p in zip(*rows, strict=True)]
    assert len(pairs) == 987
    assert [" ".join(lemmas.apply(raw.split())) for raw, _ in pairs] == [processed for _, processed in pairs]
