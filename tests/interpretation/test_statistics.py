"""Word records: the same numbers as the model gives, whatever the batches, for captions found and captions read."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2t_fast.data import lexicon
from m2t_fast.data.batches import batch_of
from m2t_fast.data.stems import stem
from m2t_fast.data.supervision import targets
from m2t_fast.evaluation import caption_motions
from m2t_fast.interpretation.statistics import (
    captions_of,
    generated_words,
    of_kind,
    part_statistics,
    reference_words,
)


def test_part_statistics_by_hand() -> None:
    window = torch.tensor([[[1.0, 3.0, 100.0]], [[0.0, 0.0, 0.0]]])
    spatial = torch.zeros(2, 1, 3, 2)
    spatial[0, 0] = torch.tensor([[0.2, 0.8], [0.6, 0.4], [1.0, 0.0]])
    peak, share = part_statistics(window, spatial, torch.tensor([2, 3]))
    np.testing.assert_allclose(peak[0, 0], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(share[0, 0], [(0.2 + 1.8) / 4, (0.8 + 1.2) / 4], rtol=1e-6)
    assert peak[1].tolist() == share[1].tolist() == [[0.0, 0.0]]


def test_found_words_are_the_captions(trained) -> None:  # noqa: ANN001
    captions = caption_motions(trained.run.model, trained.test, trained.run.vocabulary, beam_size=2)
    by_motion = {caption[0].motion: caption for caption in captions_of(trained.found)}
    assert list(by_motion) == sorted(by_motion)
    for number, (best, *_) in enumerate(captions):
        words = by_motion.get(number, [])
        assert [record.word for record in words] == best.caption.split()
        assert [record.place for record in words] == list(range(len(words)))
        kinds, parts = targets(best.caption.split(), lexicon.tag(best.caption.split()))
        assert [record.kind for record in words] == kinds.tolist()
        assert [record.supervised for record in words] == (parts[:, 0] >= 0).tolist()


def test_read_words_are_the_model_s(trained) -> None:  # noqa: ANN001
    run, test = trained.run, trained.test
    captions = list(captions_of(trained.read))
    assert len(captions) == len(test)
    assert [(c[0].motion, c[0].caption) for c in captions] == [
        (motion, number) for motion, texts in enumerate(test.references) for number in range(len(texts))
    ]
    for sample in (0, 7, len(test) - 1):
        batch = batch_of(test, torch.tensor([sample]))
        with torch.no_grad():
            out = run.model(batch.motion, batch.lengths, batch.tokens)
        words = captions[sample]
        assert [r.word for r in words] == test.references[words[0].motion][words[0].caption].split()
        assert [r.kind for r in words] == batch.gate_target[0, : len(words)].int().tolist()
        for place, record in enumerate(words):
            np.testing.assert_allclose(
                (record.gate, record.mean, record.std),
                (out.gate[0, place], out.mean[0, place], out.std[0, place]),
                rtol=1e-4,
                atol=1e-5,
            )
            np.testing.assert_allclose(record.peak, out.spatial[0, place].amax(0), rtol=1e-4, atol=1e-5)
            assert record.share.sum() == pytest.approx(1.0)
            assert record.stem == stem(record.word)


def test_batches_do_not_matter(trained) -> None:  # noqa: ANN001
    run, test = trained.run, trained.test
    for first, second in (
        (trained.found, generated_words(run.model, test, run.vocabulary, batch_size=3)),
        (trained.read, reference_words(run.model, test, batch_size=3)),
    ):
        assert [r.word for r in first] == [r.word for r in second]
        for name in ("gate", "mean", "std"):
            np.testing.assert_allclose(
                [getattr(r, name) for r in first], [getattr(r, name) for r in second], rtol=1e-3, atol=1e-4
            )


def test_the_mode_of_the_model_stays(trained) -> None:  # noqa: ANN001
    model = trained.run.model.train()
    try:
        reference_words(model, trained.test)
        assert model.training
    finally:
        model.eval()


def test_by_stem(word) -> None:  # noqa: ANN001
    records = [word("b"), word("a"), word("c", kind=0), word("d"), word("d")]
    assert {name: len(listed) for name, listed in of_kind(records, 1).items()} == {"d": 2, "a": 1, "b": 1}
    assert list(of_kind(records, 1)) == ["d", "a", "b"]
    assert list(captions_of([])) == []
