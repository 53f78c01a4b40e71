"""Shared by the benchmarks: sizes, implementations, and the check of a result before it is timed."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

import m2t_fast  # noqa: F401  # isort: skip  # before torch: it sets how threads wait, as for every user
import torch

from m2t_fast.benchmarking import Case, case_of, ways_on
from m2t_fast.benchmarking.case import Run
from m2t_fast.benchmarking.results import Results
from m2t_fast.benchmarking.run import too_large
from m2t_fast.benchmarking.sizes import SIZES

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@functools.lru_cache(maxsize=4)  # a file's cases of one size: pytest goes through them once for every way
def _case(name: str, size: str, scoring: str) -> Case:
    return case_of(name, SIZES[size], scoring, DEVICE)


@functools.lru_cache(maxsize=4)
def _truth(case: Case) -> Results:
    return case.truth()


@pytest.fixture(params=["kit", "humanml3d"])
def size(request: pytest.FixtureRequest) -> str:
    """The paper's two data sets."""
    return request.param


@pytest.fixture(params=ways_on(DEVICE))
def way(request: pytest.FixtureRequest) -> str:
    """The baselines and every backend that can run here."""
    return request.param


@pytest.fixture
def checked() -> Callable[[str, str, str, str], Run]:
    """``checked(case, size, scoring, way)``: a function to time, whose first result was checked.

    On a CUDA device it waits for the device; ``m2t-fast bench`` takes the device's own clock.
    """

    def prepare(name: str, size: str, scoring: str, way: str) -> Run:
        case = _case(name, size, scoring)
        if (reason := case.inapplicable(way) or too_large(case, way)) is not None:
            pytest.skip(reason)
        torch.compiler.reset()
        run = case.prepare(way)
        wrong = None if way == case.truth_way else case.why_wrong(run(), _truth(case))
        assert wrong is None, f"{case.title}, {way}: {wrong}"
        if DEVICE.type == "cpu":
            return run

        def synchronized() -> Results:
            found = run()
            torch.cuda.synchronize()
            return found

        return synchronized

    return prepare
