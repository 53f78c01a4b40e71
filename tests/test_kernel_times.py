"""The predictions of docs/kernel_times.py: occupancy, waves, bounds, and that its table is of these counts."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def times() -> ModuleType:
    """docs/kernel_times.py."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import kernel_times
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return kernel_times


@pytest.mark.parametrize(
    ("registers", "threads", "shared", "expected"),
    [(128, 128, 0, 4), (255, 128, 0, 2), (32, 1024, 0, 2), (16, 32, 0, 32), (32, 128, 100 * 1024, 2), (129, 128, 0, 3)],
)
def test_blocks_of_a_multiprocessor(
    times: ModuleType, registers: int, threads: int, shared: int, expected: int
) -> None:
    assert times.resident(registers, threads, shared) == expected


def test_a_launch_takes_as_long_as_its_largest_floor(times: ModuleType) -> None:
    count = times.Count(4.0, 0.5, 0.0, 0.0, 0.0)
    work = times.Launch("k", 132 * 4, 128, 0, 132 * 128 * 1755, 0)
    made = times.predict(work, count, 128)
    assert (made.resident, made.waves) == (4, 1.0) and made.bound == "instructions"
    assert made.seconds == pytest.approx(4e-6)
    one_more = times.predict(work._replace(blocks=132 * 4 + 1), count, 128)
    assert one_more.seconds == pytest.approx(5e-6, rel=0.01)  # a fifth block, for one multiprocessor
    assert times.predict(work, count._replace(special=1.0), 128).bound == "special functions"
    moved = times.predict(work._replace(bytes=int(3.35e12)), count, 128)
    assert (moved.bound, moved.seconds) == ("memory", pytest.approx(1.0))


def test_the_table_of_the_docs_is_of_these_counts_and_launches(times: ModuleType) -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler to build the emulated device with, which plans CUDA's launches")
    every = list(times.predictions(times.emulated_device()))
    assert times.in_document() == times.table(every), "run `python docs/kernel_times.py`"
    assert times.PICTURE.read_text(encoding="utf-8") == times.roofline(every)
