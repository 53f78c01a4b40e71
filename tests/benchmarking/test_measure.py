"""Times and memory are measured as they say."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.benchmarking import measure, memory
from m2t_fast.benchmarking.measure import interleaved, quantile, tanh_loop
from m2t_fast.benchmarking.memory import available, peak_in_own_process, why_unmeasurable
from m2t_fast.ops.cpu import launch

CPU = torch.device("cpu")
MIB = 1 << 20


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=20))
def test_quantiles(values):
    assert quantile(values, 0.5) == pytest.approx(statistics.median(values))
    assert quantile(values, 0.0) == min(values) and quantile(values, 1.0) == pytest.approx(max(values))
    assert min(values) <= quantile(values, 0.2) <= quantile(values, 0.8) <= max(values)


def test_runs_take_turns_and_short_ones_run_more_often(monkeypatch):
    order = []
    seconds = {"slow": 2.0, "short": 0.06, "tiny": 1e-6}

    def timer(function, device):
        function()
        return seconds[order[-1]], 2 * seconds[order[-1]]

    monkeypatch.setattr(measure, "_on_cpu", timer)
    times = interleaved({name: lambda name=name: order.append(name) for name in seconds}, 3, CPU)
    assert order == ["slow", "short", "tiny"] + 2 * (["slow"] + 3 * ["short"] + 5 * ["tiny"])
    assert {name: len(t.seconds) for name, t in times.items()} == {"slow": 3, "short": 7, "tiny": 11}
    assert times["slow"].seconds == [2.0] * 3 and times["slow"].processor == [4.0] * 3


def test_a_wall_clock_and_a_processor_clock():
    wall, processor = measure._on_cpu(lambda: sum(range(200_000)), CPU)
    assert processor > 0 and 0 < wall < 60


@pytest.mark.skipif(launch.why_unavailable() is not None, reason="no native extension")
def test_the_tanh_loop_makes_as_many_as_it_is_asked_for():
    piece = 128 * torch.get_num_threads() * 256
    for count in (1, piece, 3 * piece - 1):
        assert tanh_loop(count, CPU)() == -(-count // piece) * piece
    assert tanh_loop(1, torch.device("cuda")) is None


@pytest.mark.skipif(why_unmeasurable(CPU) is not None, reason=f"{why_unmeasurable(CPU)}")
class TestPeaks:
    def peaks(self, mib, times, before=0):
        """Of two calls that make ``mib`` MiB so many times, in a process in which no other test left anything."""
        code = f"""
import torch
from m2t_fast.benchmarking.memory import peak_growth
before = torch.ones({before} << 18)
def allocate():
    for _ in range({times}):
        torch.ones({mib} << 18)
for _ in range(2):
    print(peak_growth(allocate, torch.device("cpu")) / 2**20)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return [float(line) for line in done.stdout.split()]

    @pytest.mark.parametrize("mib", [32, 200])
    def test_a_known_allocation(self, mib):
        peaks = self.peaks(mib, times=1)
        assert all(mib <= peak + 1 <= mib + 12 for peak in peaks), peaks

    def test_the_peak_counts_not_the_sum_and_not_what_was_there_before(self):
        peaks = self.peaks(50, times=4, before=100)
        assert all(49 <= peak <= 62 for peak in peaks), peaks

    def test_a_way_in_a_process_of_its_own(self):
        peak = peak_in_own_process("tiny", "gated_decoder_step", "part", True, "plain", 1)
        assert 0 <= peak < 64 * MIB

    def test_a_process_that_is_killed(self, monkeypatch):
        class Pool(ProcessPoolExecutor):
            def submit(self, function, *arguments):
                return super().submit(os._exit, 1)  # as when the system runs out of memory

        monkeypatch.setattr(memory, "ProcessPoolExecutor", Pool)
        with pytest.raises(RuntimeError, match="its process was killed"):
            peak_in_own_process("tiny", "gated_decoder_step", "part", True, "plain", 1)

    def test_free_memory(self):
        assert available(CPU) > 0


def test_where_the_peak_cannot_be_reset(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_CLEAR_REFS", tmp_path / "none" / "clear_refs")
    if memory.sys.platform == "linux":
        assert "No such file" in why_unmeasurable(CPU)
    monkeypatch.setattr(memory.sys, "platform", "darwin")
    assert "darwin" in why_unmeasurable(CPU)
    assert why_unmeasurable(torch.device("cuda")) is None
