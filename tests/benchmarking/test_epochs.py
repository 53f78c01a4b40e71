"""Data of the paper's sizes, and epochs extrapolated from a batch of every bucket."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from m2t_fast.benchmarking import epochs, measure
from m2t_fast.benchmarking.case import COMPILE, LOOP, PLAIN
from m2t_fast.benchmarking.epochs import OURS, Epoch
from m2t_fast.benchmarking.paper_data import PAPER, paper_split, vocabulary_of
from m2t_fast.benchmarking.sizes import SIZES
from m2t_fast.data.buckets import Bucket
from m2t_fast.data.describe import _PAPER, _numbers

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", PAPER)
def test_counts_are_the_papers_and_lengths_are_plausible(name):
    paper, config = PAPER[name], SIZES[name].config
    for split in ("val", "train") if name == "tiny" else ("val",):
        data = paper_split(name, split, config.joints, vocabulary_of(config.vocab_size))
        assert (data.motions, len(data)) == (paper.motions[split], paper.samples[split])
        numbers = _numbers(data)
        assert numbers["gate"]["unsupervised"] == pytest.approx(0.355, abs=0.05 if name != "tiny" else 0.3)
        captions = data.caption_motion.bincount()
        assert int(data.tokens.max()) < config.vocab_size and int(captions.min()) >= paper.captions
        assert [len(r) for r in data.references] == captions.tolist() or split == "train"
    if name in _PAPER:
        title, counts = _PAPER[name]
        assert title == paper.title and all(counts[s] == (paper.motions[s], paper.samples[s]) for s in paper.motions)
        means = {"kit": (38, 8.5), "humanml3d": (72, 10.9)}[name]
        assert (numbers["frames"]["mean"], numbers["words"]["mean"]) == pytest.approx(means, rel=0.06)


@pytest.fixture(scope="module", autouse=True)
def one_step_at_a_time() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epochs, "_BLOCK", 0.0)
        patch.setattr(measure, "_REPEAT_BELOW", 0.0)
        yield


@pytest.fixture(scope="module")
def measured() -> Epoch:
    epoch = Epoch("tiny", CPU)
    epoch.measure((OURS, LOOP, PLAIN), budget=60.0, rounds=1)
    return epoch


def test_every_way_is_timed_in_every_bucket(measured):
    found = measured.document()
    assert found["notes"] == {} and set(found["ways"]) == {OURS, LOOP, PLAIN}
    assert found["steps"] == -(-37 // SIZES["tiny"].batch) and sum(measured.counts.values()) == found["steps"]
    for way in found["ways"].values():
        assert way["buckets_timed"] == len(found["buckets"]) > 0
        assert way["seconds_epoch"] * way["samples_per_second"] == pytest.approx(37)


def test_epochs_are_extrapolated():
    epoch = Epoch("tiny", CPU)
    first, second = Bucket(5, 3), Bucket(9, 5)
    epoch.counts.clear()
    epoch.counts.update({first: 6, second: 3, Bucket(10, 6): 1})  # the last holds the short batch alone
    epoch.plan = [None] * 10
    epoch.seconds = {first: {OURS: 1.0, PLAIN: 4.0}, second: {OURS: 2.0}}
    assert epoch.estimate(OURS) == pytest.approx(12 * 10 / 9)
    assert epoch.estimate(PLAIN) == pytest.approx(48 * 10 / 9)
    assert epoch.estimate(LOOP) is None


def test_a_wrong_or_broken_way_is_not_timed(monkeypatch):
    right = epochs.step_of

    def step_of(way, *rest):
        if way == COMPILE:
            raise RuntimeError("no compiler here")
        step = right(way, *rest)
        return (lambda *x: step(*x) * 1.01) if way == PLAIN else step

    monkeypatch.setattr(epochs, "step_of", step_of)
    epoch = Epoch("tiny", CPU)
    epoch.measure((OURS, PLAIN, COMPILE), budget=60.0, rounds=1)
    found = epoch.document()
    assert set(found["ways"]) == {OURS}
    assert found["notes"][PLAIN].startswith("ArithmeticError: its losses are")
    assert found["notes"][COMPILE] == "RuntimeError: no compiler here"


def test_without_time_ours_alone_is_timed_everywhere(measured, monkeypatch):
    epoch = Epoch("tiny", CPU)
    epoch.measure((PLAIN,), budget=0.0, rounds=1)
    found = epoch.document()
    assert found["ways"][OURS]["buckets_timed"] == len(found["buckets"])
    assert found["ways"][PLAIN]["buckets_timed"] == 1  # in the commonest bucket every way is
    assert found["notes"] == {PLAIN: "no time left for every bucket"}


def test_a_full_epoch_and_a_validation():
    epoch = Epoch("tiny", CPU)
    assert epoch.measure_full(OURS) > 0 and epoch.measure_full(PLAIN) > 0 and epoch.measure_validation() > 0


def test_the_script_writes_numbers_and_their_table(tmp_path, monkeypatch, capsys):
    root = Path(__file__).parents[2]
    spec = importlib.util.spec_from_file_location("benchmarks_train", root / "benchmarks" / "train.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    document, before = tmp_path / "benchmarks.md", (root / "docs" / "benchmarks.md").read_text()
    document.write_text(before)
    monkeypatch.setattr(script.tables, "DOCUMENT", document)
    monkeypatch.setenv("M2T_FAST_RESULTS", str(tmp_path / "results"))
    argv = ["--data", "tiny", "--device", "cpu", "--ways", "plain", "--rounds", "1", "--full"]
    assert script.main(argv) == 0
    (result,) = (json.loads(path.read_text()) for path in (tmp_path / "results").glob("*.json"))
    assert set(result["data"][0]["ways"]) == {OURS, PLAIN} and result["data"][0]["seconds_full"][OURS] > 0
    rows, after = script.tables.training_rows(result["data"][0]), document.read_text()
    assert len(rows) == 2 and all(row in after for row in rows) and "\n".join(rows) in capsys.readouterr().out
    assert script.tables.training_table([result]) in after
    mark = "training table, cpu -->"
    assert [after.split(mark)[part] for part in (0, -1)] == [before.split(mark)[part] for part in (0, -1)]
    assert script.main([*argv, "--no-write"]) == 0 and document.read_text() == after
