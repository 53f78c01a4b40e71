"""The predictions of docs/kernel_times.py: occupancy, waves, bounds, and that its table is of these counts."""

from __future__ import annotations

import importlib.util
import json
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


@pytest.fixture(scope="module")
def decoding(times: ModuleType) -> ModuleType:
    """docs/decode_times.py."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import decode_times
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return decode_times


def test_phases_of_a_word(decoding: ModuleType) -> None:
    sizes = decoding.Sizes(P=1, H=16, D=32, C=32, E=32, M=32, V=128, mean=64)
    found = decoding.Counted({"16": 1.0, "8": 1.0, "2": 1.0}, 10.0, 2.0)
    alone = decoding.Job("one", 1, 1, 1, False, "1 ms")
    layers, scores, context, barriers = decoding.word(sizes, alone, dict(teams=1, cluster=1, slots=1), found, 4)
    # 64 keys x 64 tanh by 32 lanes, on four schedulers, each of two operations of 8 cycles.
    assert scores.special == 64 * 64 / 32 / 4 * 16 and scores.instructions == 64 * 64 / 32 / 4 * 10
    assert context.cycles == context.latency and barriers.cycles == 8 * 300
    # Eight motions of a block take eight times as long; layers share their weights.
    more = decoding.word(sizes, alone._replace(motions=8), dict(teams=1, cluster=1, slots=8), found, 4)
    assert more[1].special == 8 * scores.special and more[0].memory == layers.memory
    # bfloat16 takes 16 columns and 16 terms at a time, two products for eight rows.
    short = decoding.word(sizes, alone, dict(teams=1, cluster=1, slots=1), found._replace(product={"8": 5.0}), 2)[0]
    units = sum(-(-terms // 16) * -(-columns // 128) for terms, columns in sizes.layers())
    assert short.matrix == units * 2 * decoding.MATRIX_TURN * 8 / 4 and short.instructions == units * 5 * 8 / 4
    assert layers.matrix == 0
    # Motions that do not fit into the L2 cache come from memory.
    many = decoding.word(sizes, alone._replace(motions=10**6), dict(teams=132, cluster=1, slots=8000), found, 4)
    assert many[1].memory > 132 * 8000 / 8 * more[1].memory / 132


def test_the_table_of_decoding_is_of_these_counts_and_plans(decoding: ModuleType, times: ModuleType) -> None:
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler to build the emulated device with, which plans CUDA's launches")
    assert decoding.in_document() == decoding.table(list(decoding.predictions(times.emulated_device()))), (
        "run `python docs/decode_times.py`"
    )


def test_the_machine_code_of_decoding_has_not_grown_by_a_fifth(decoding: ModuleType) -> None:
    built = decoding.cuda_resources.extension()
    if built is None or decoding.machine_code.tool() is None or shutil.which("c++filt") is None:
        pytest.skip("m2t_fast._native was built without CUDA, or there is no cuobjdump or c++filt")
    known = json.loads(decoding.COUNTS.read_text(encoding="utf-8"))
    if built.release != known["nvcc"]:
        pytest.skip(f"nvcc {built.release} has other counts than nvcc {known['nvcc']}, of which the baseline is")
    for kind in ("float", "bfloat16"):
        found, before = decoding.counted(kind), decoding.Counted(**known[kind])
        assert found.product.keys() == before.product.keys()
        assert all(found.product[rows] < 1.2 * before.product[rows] for rows in found.product), found.product
        assert found.tanh < 1.2 * before.tanh and found.special <= before.special
