"""Validation beside training on a GPU: captions of the weights at the start, by a graph, and nothing waits for them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from m2t_fast import Captioner, metrics
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.dataset import Prepared
from m2t_fast.data.loading import load_data
from m2t_fast.evaluation import caption_motions
from m2t_fast.training.host_copy import HostCopy
from m2t_fast.training.loop import train
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.validation import Validation


@pytest.fixture(scope="module")
def data() -> Prepared:
    return load_data("synthetic", synthetic_count={"train": 48, "val": 12, "test": 2}, joints=21)


@pytest.fixture
def model(data: Prepared) -> Captioner:
    """Sure of its words, some of which are in the references."""
    torch.manual_seed(0)
    model = Captioner(CaptionerConfig.kit(len(data.vocabulary))).cuda().train()
    with torch.no_grad():
        model.output.weight.mul_(10.0)
        for word in ("a", "person", "the", "walks", "with", "left", "hand"):
            model.output.bias[data.vocabulary.index(word)] = 3.0
    return model


def test_the_score_is_that_of_the_words_and_later_weights_do_not_matter(data, model):
    dataset = data["train"]
    with ThreadPoolExecutor(1) as background:
        validation = Validation(model, dataset, data.vocabulary, 8, background)
        for number in range(4):
            captions = caption_motions(model, dataset, data.vocabulary, beam_size=1)
            expected = metrics.score([best.caption for best, *_ in captions], dataset.references)
            assert expected["bleu_1"] > 0
            validation.start()
            with torch.no_grad():  # the next epoch's steps
                model.embedding.weight.mul_(-1.0)
                model.output.bias.copy_(model.output.bias.roll(number))
            assert validation.result()[0] == pytest.approx(expected["bleu_4"], abs=0.5)
        assert len(validation._graphs) == len(validation._batches) > 1


def test_nothing_waits_for_the_device(data, model):
    with ThreadPoolExecutor(1) as background:
        validation = Validation(model, data["val"], data.vocabulary, 8, background)
        for _ in range(2):
            validation.start()
            validation.result()
        torch.cuda.set_sync_debug_mode("error")
        try:
            validation.start()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert 0 <= validation.result()[0] <= 100


def test_a_copy_is_of_the_values_when_it_was_asked_for():
    x = torch.randn(4096, 1024, device="cuda")
    expected = x.cpu()
    for _ in range(20):  # so that the device is behind
        x = x @ torch.eye(1024, device="cuda")
    copy = HostCopy({"x": x, "transposed": x[:8].T})
    x.zero_()
    torch.testing.assert_close(copy.get()["x"], expected)
    torch.testing.assert_close(copy.get()["transposed"], expected[:8].T)


def test_a_run_on_the_gpu_validates_every_epoch(data, tmp_path):
    settings = TrainingSettings(epochs=3, batch_size=8, log_interval=2)
    folder = train(data, CaptionerConfig.kit(len(data.vocabulary)), settings, tmp_path / "run", "cuda", progress=False)
    rows = [json.loads(line) for line in Path(folder / "metrics.jsonl").read_text().splitlines()]
    epochs = [row for row in rows if row["kind"] == "epoch"]
    assert [row["epoch"] for row in epochs] == [1, 2, 3] and all(0 <= row["val_bleu_4"] <= 100 for row in epochs)
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
