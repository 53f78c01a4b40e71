"""Validation beside training: the score of the captions that the weights give now, whatever happens to them next."""

from __future__ import annotations

import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from m2t_fast import Captioner, metrics, use_backend
from m2t_fast.config import EOS
from m2t_fast.distributed import Processes
from m2t_fast.evaluation import caption_motions
from m2t_fast.evaluation.token_bleu import TokenBleu, bleu_4
from m2t_fast.ops.decode import greedy_words
from m2t_fast.training import graphs
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


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_words_decoded_to_the_last_are_those_that_end(backend, config):
    """Near ties aside, of which this model has none."""
    torch.manual_seed(1)
    model = Captioner(config)
    with torch.no_grad(), use_backend(backend):
        for parameter in (model.output.weight, model.step.context.weight, model.encoder.weight1):
            parameter.mul_(20.0)
        model.step.gate_hidden.bias.fill_(4.0)
        memory = model.encode(4 * torch.randn(16, 12, 21, 3), torch.arange(16) % 12 + 1)
        weights = model.decoder_weights()
        said = int(greedy_words(*memory, weights, 10, ends=False)[0, 4])
        for tensor in (model.output.weight, model.output.bias):  # what motion 0 says fifth becomes <eos>
            tensor[[EOS, said]] = tensor[[said, EOS]]
        ended, all_words = (greedy_words(*memory, weights, 10, ends=ends) for ends in (True, False))
    assert ended.shape == all_words.shape == (16, 10) and 0 < int((ended == EOS).any(1).sum()) < 16
    inside = (ended == EOS).cumsum(1) <= (ended == EOS)
    assert torch.equal(ended[inside], all_words[inside])


class Recorder:
    """Does again what it recorded; the second recording fails if it is told so."""

    def __init__(self, fails: bool = False):
        self.fails, self.recorded, self.replayed = fails, 0, 0

    def capture(self, step):
        self.recorded += 1
        if self.fails and self.recorded == 2:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

        def replay():
            self.replayed += 1
            step()

        return replay


@pytest.mark.parametrize("fails", [False, True])
def test_decoding_is_recorded_once_and_replayed(fails, data, model, monkeypatch):
    recorder = Recorder(fails)
    monkeypatch.setattr(graphs, "recorder_for", lambda device: recorder)
    dataset, scores = data["train"], []
    with ThreadPoolExecutor(1) as background, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        validation = Validation(model, dataset, data.vocabulary, 10, background)
        for _ in range(3):
            validation.start()
            scores.append(validation.result()[0])
    batches = -(-dataset.motions // 10)
    assert len(set(scores)) == 1 and batches > 2
    assert (recorder.recorded, recorder.replayed) == ((2, 0) if fails else (batches, 2 * batches))
    assert [str(warning.message) for warning in said] == [
        "no CUDA graph of validation: operation not permitted when stream is capturing; it goes on without, slower"
    ] * fails


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
