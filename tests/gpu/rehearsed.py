"""Stands for the GPU tests where `make gpu` is rehearsed: tests that pass, one that hangs, one that spoils its process.

Not collected by itself: benchmarks/gpu_rehearsal.py names this file. The variable M2T_FAST_TEST_FAULTS asks for the
faults.
"""

from __future__ import annotations

import ctypes
import os

import pytest

FAULTS = bool(os.environ.get("M2T_FAST_TEST_FAULTS"))
_spoiled: list[bool] = []


@pytest.mark.parametrize("number", range(4))
def test_before(number: int) -> None:
    assert not _spoiled


def test_a_cuda_error() -> None:
    if FAULTS:
        _spoiled.append(True)
        raise RuntimeError("CUDA error: an illegal memory access was encountered (injected)")


@pytest.mark.parametrize("number", range(4))
def test_after_the_error(number: int) -> None:
    """Fails in a process that an error has spoiled."""
    assert not _spoiled


def test_a_hang() -> None:
    if FAULTS:
        ctypes.PyDLL(None).sleep(10_000)  # holds Python's lock, as a launch that never returns


@pytest.mark.parametrize("number", range(4))
def test_after_the_hang(number: int) -> None:
    assert not _spoiled


def test_a_thousand_runs() -> None:
    """Chosen by the second phase."""


def test_what_cannot_be_captured() -> None:
    """Chosen by the second phase, alone."""
