"""The floor: rates are measured, work is counted, a result tells where it was made."""

from __future__ import annotations

import pytest
import torch

from m2t_fast.benchmarking import floor
from m2t_fast.benchmarking.floor import Rates, Work, work_of
from m2t_fast.benchmarking.ratio_tables import machine, machine_line, overload
from m2t_fast.benchmarking.sizes import SIZES
from m2t_fast.ops.cpu import launch

CPU = torch.device("cpu")


@pytest.mark.skipif(launch.why_unavailable() is not None, reason="no native extension")
def test_every_rate_is_measured_on_the_cpu_alone() -> None:
    rates = floor.measure(CPU)
    assert rates is not None and all(1e6 < rate < 1e15 for rate in rates)
    assert floor.measure(torch.device("cuda")) is None


def test_products_and_tanh_add_up_and_memory_works_beside_them() -> None:
    rates = Rates(flops=10.0, tanh=5.0, bytes=2.0)
    assert Work(20, 5, 0).seconds(rates) == 3.0
    assert Work(20, 5, 8).seconds(rates) == 4.0
    assert Work(1, 2, 3).plus(Work(1, 1, 1)) == Work(2, 3, 4)


@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_work_is_counted_from_the_sizes(scoring: str) -> None:
    size, frames, words = SIZES["kit"], 1000, 700
    keys = work_of("attention_keys", size, scoring, frames, words, True)
    # Two layers of 6 parts of 128 features each to 128, forward and two gradients, in either scoring.
    assert keys is not None and keys.flops == 2 * 3 * 2 * 1000 * 6 * 128 * 128
    attention = work_of("spatio_temporal_attention", size, scoring, frames, words, False)
    slots = 6 if scoring == "part" else 1
    assert attention is not None and attention.tanh == 2 * frames * size.words * slots * 128
    step = work_of("training_step", size, scoring, frames, words, True)
    assert step is not None and step.flops > keys.flops and step.tanh >= 2 * attention.tanh
    assert work_of("beam", size, scoring, frames, words, False) is None


def test_a_result_names_commit_cores_wait_policy_and_load() -> None:
    found = machine(CPU)
    assert {"commit", "dirty", "cores", "waiting_threads", "load", "processor", "threads"} <= set(found)
    assert found["waiting_threads"] in machine_line(found)


def test_a_shared_machine_is_warned_of() -> None:
    found = {"cores": [0, 1], "load": 0.5, "load_after": 3.5}
    assert overload({**found, "load_after": 2.0}) is None
    assert "3.5 on 2 cores" in str(overload(found))
