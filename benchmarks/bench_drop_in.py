"""A module of the released structure, plain and accelerated: a training step, greedy captions, the released search.

The plain one is the stand-in of ``tests/released``: the step-by-step loop, and the search of one motion at a time.
"""

from __future__ import annotations

import copy
import importlib.util
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.nn.functional import cross_entropy

from m2t_fast import accelerate
from m2t_fast.benchmarking.sizes import SIZES

STAND_IN = Path(__file__).parents[1] / "tests" / "released" / "conftest.py"
WORK = ("train", "greedy", "search")
BEAM_MOTIONS = 16
"""Motions of a search: the plain one takes up to half a second for each."""


def _stand_in() -> type:
    spec = importlib.util.spec_from_file_location("stand_in", STAND_IN)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.seq2seq


def _runs(size_name: str, what: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """The same work, done by the plain and by the accelerated module."""
    size = SIZES[size_name]
    config = size.config
    torch.manual_seed(0)
    plain = _stand_in()(
        config.vocab_size,
        config.hidden_size,
        config.embedding_dim,
        config.attention_dim,
        config.joints,
        dropout=0.5,
        beam_size=2 if what == "search" else 1,
    )
    batch = BEAM_MOTIONS if what == "search" else size.batch
    lengths = torch.linspace(20, 100, batch).long().tolist()
    x = torch.randn(100, batch, 3 * config.joints)
    y = torch.randint(3, config.vocab_size, (17 if what == "train" else 41, batch))

    def of(model: torch.nn.Module) -> Callable[[], object]:
        model.train(what == "train")

        def run() -> object:
            random.seed(1), torch.manual_seed(1)
            with torch.set_grad_enabled(what == "train"):
                out = model(x, y, teacher_force_ratio=0.5 if what == "train" else 0, src_lens=lengths)
            if what == "train":
                model.zero_grad()
                (cross_entropy(out.flatten(0, 1), y[1:].flatten()) + model.beta.mean()).backward()
                return model.dec_pred_output
            return out if what == "search" else model.dec_pred_output

        return run

    return of(plain), of(accelerate(copy.deepcopy(plain)))


def checked_runs(size_name: str, what: str) -> tuple[Callable[[], object], Callable[[], object]]:
    """Both, after one run of each, whose words and hypotheses are compared before anything is timed."""
    plain, accelerated = _runs(size_name, what)
    expected, found = plain(), accelerated()
    if isinstance(expected, torch.Tensor):
        assert (expected == found).double().mean() > 0.999  # a near tie may fall the other way
    else:
        assert expected == found
    return plain, accelerated


@pytest.mark.parametrize("way", ["plain", "accelerated"])
@pytest.mark.parametrize("what", WORK)
def bench_drop_in(benchmark: BenchmarkFixture, size: str, what: str, way: str) -> None:
    """Times one of the two; their results were compared before."""
    plain, accelerated = checked_runs(size, what)
    benchmark.pedantic(plain if way == "plain" else accelerated, rounds=1 if way == "plain" else 3)
