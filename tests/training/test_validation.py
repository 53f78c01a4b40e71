"""Validation beside training: the score of the captions that the weights give now, whatever happens to them next."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from m2t_fast import Captioner, metrics
from m2t_fast.distributed import Processes
from m2t_fast.evaluation import caption_motions
from m2t_fast.evaluation.token_bleu import TokenBleu, bleu_4
from m2t_fast.training.host_copy import HostCopy
from m2t_fast.training.validation import Validation


@pytest.fixture
def model(data, config) -> Captioner:
    """Says "a person ..." again and again, so that some words match."""
    model = Captioner(config).train()
    with torch.no_grad():
        model.output.bias.fill_(-3.0)
        for word in ("a", "person", "the", "walks", "with", "left", "hand"):
            model.output.bias[data.vocabulary.index(word)] = 0.5
        model.output.weight.mul_(3.0)
    return model


def test_the_score_is_that_of_the_words_and_of_the_weights_at_the_start(data, model):
    dataset = data["train"]
    captions = caption_motions(model, dataset, data.vocabulary, beam_size=1, batch_size=5)
    expected = metrics.score([best.caption for best, *_ in captions], dataset.references)
    assert expected["bleu_1"] > 0
    with ThreadPoolExecutor(1) as background:
        validation = Validation(model, dataset, data.vocabulary, 5, background)
        for _ in range(2):
            go_on = threading.Event()
            background.submit(go_on.wait)
            validation.start()
            with torch.no_grad():
                kept = [parameter.clone() for parameter in model.parameters()]
                for parameter in model.parameters():  # the next epoch goes on while nothing is scored yet
                    parameter.zero_()
            go_on.set()
            score, seconds = validation.result()
            assert score == expected["bleu_4"] and seconds > 0
            with torch.no_grad():
                for parameter, value in zip(model.parameters(), kept, strict=True):
                    parameter.copy_(value)
    assert model.training


@pytest.mark.parametrize("size", [2, 3, 40])
def test_shares_add_up(size, data, model, monkeypatch):
    """40 processes: more than there are motions."""
    dataset, sums = data["train"], []
    monkeypatch.setattr(Processes, "sum", lambda self, counts: sums.append(counts) or counts)
    with ThreadPoolExecutor(1) as background:
        for rank in range(size):
            validation = Validation(model, dataset, data.vocabulary, 5, background, Processes(rank, size, 0))
            validation.start()
            validation.result()
        alone = Validation(model, dataset, data.vocabulary, 64, background)
        alone.start()
        alone.result()
    *shares, whole = sums
    assert torch.equal(sum(shares), whole) and int(whole[0]) > 0
    assert bleu_4(whole.tolist()) <= 100


def test_an_error_in_the_scoring_is_raised_by_the_result(data, model, monkeypatch):
    monkeypatch.setattr(TokenBleu, "counts", lambda *_: 1 // 0)
    with ThreadPoolExecutor(1) as background:
        validation = Validation(model, data["val"], data.vocabulary, 5, background)
        validation.start()
        with pytest.raises(ZeroDivisionError):
            validation.result()


def test_a_copy_keeps_what_was():
    x = torch.arange(6.0).reshape(2, 3)
    copy = HostCopy({"x": x, "transposed": x.T})
    x.zero_()
    assert copy.get()["x"].tolist() == [[0, 1, 2], [3, 4, 5]] and copy.get()["transposed"].is_contiguous()
