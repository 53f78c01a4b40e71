"""``--compile``: the same losses and weights in few compilations, and a clear word where nothing can compile."""

from __future__ import annotations

import copy
import dataclasses
import warnings

import pytest
import torch

from m2t_fast.captioner import Captioner
from m2t_fast.data.buckets import Bucket, PlannedBatch, choose_buckets, epoch_plan
from m2t_fast.data.resident import ResidentSplit
from m2t_fast.errors import UserError
from m2t_fast.training import compiled
from m2t_fast.training.engine import Engine
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import adamw

SETTINGS = TrainingSettings(batch_size=4, compile=True)
PLAIN = dataclasses.replace(SETTINGS, compile=False)


def engines(config, data, *settings: TrainingSettings) -> list[Engine]:
    torch.manual_seed(0)
    model = Captioner(config).train()
    copies = [copy.deepcopy(model) for _ in settings]
    resident = ResidentSplit(data["train"])
    return [Engine(m, adamw(m, s), resident, s) for m, s in zip(copies, settings, strict=True)]


def plan_of(data) -> list[PlannedBatch]:
    return epoch_plan(data["train"], choose_buckets(data["train"], 4), 4, 0, 0)


def assert_close(ours: Engine, theirs: Engine, plan: list[PlannedBatch]) -> None:
    for found, expected in zip(ours.steps(plan), theirs.steps(plan), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    for own, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)


@pytest.fixture(autouse=True)
def fresh() -> None:
    torch.compiler.reset()


def test_compiled_steps_are_the_plain_ones_in_few_compilations(config, data, monkeypatch):
    graphs = []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(compiled, "BACKEND", counting)
    ours, theirs = engines(config, data, SETTINGS, PLAIN)
    plan = plan_of(data)
    shapes = {batch.bucket for batch in plan}
    words = {bucket.words for bucket in shapes}
    assert len(shapes) > 1 + len(words)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert_close(ours, theirs, plan)
    assert 1 <= len(graphs) <= 1 + len(words)


def test_more_sizes_than_torch_compiles_of_itself(config, data, monkeypatch):
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    (ours,) = engines(config, data, SETTINGS)
    shortest = Bucket(int(data["train"].sample_lengths.max()), int(data["train"].token_offsets.diff().max()) - 1)
    plan = [PlannedBatch(Bucket(shortest.frames, shortest.words + n), torch.arange(4)) for n in range(3)]
    monkeypatch.setattr(compiled, "BUCKETS", 2)
    with warnings.catch_warnings(), torch._dynamo.config.patch(recompile_limit=1):
        warnings.simplefilter("error", UserWarning)
        list(ours.steps(plan))


def test_what_cannot_be_compiled_runs_as_it_is(config, data, monkeypatch):
    def failing(graph, inputs):
        raise ValueError("no such thing\nas advice")

    monkeypatch.setattr(compiled, "BACKEND", failing)
    ours, theirs = engines(config, data, SETTINGS, PLAIN)
    with pytest.warns(UserWarning, match="--compile: no such thing; training goes on without it") as said:
        assert_close(ours, theirs, plan_of(data)[:3])
    assert len(said) == 1 and "advice" not in str(said[0].message)


def test_a_missing_compiler_is_one_line(monkeypatch):
    def failing(graph, inputs):
        raise RuntimeError("No working C++ compiler found\nTry something")

    monkeypatch.setattr(compiled, "BACKEND", failing)
    message = "--compile: torch.compile cannot run on cpu here: No working C[+][+] compiler found"
    with pytest.raises(UserError, match=message) as error:
        compiled.require_compiler(torch.device("cpu"))
    assert "\n" not in str(error.value)
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    compiled.require_compiler(torch.device("cpu"))


@pytest.mark.slow
def test_the_compiler_itself(config, data, quick_compiler):
    compiled.require_compiler(torch.device("cpu"))
    ours, theirs = engines(config, data, SETTINGS, PLAIN)
    plan = plan_of(data)
    smallest = min(batch.bucket for batch in plan)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert_close(ours, theirs, [batch for batch in plan if batch.bucket == smallest][:2])
