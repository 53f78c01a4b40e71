"""Tests on a GPU: left out where they cannot run; one that hangs or spoils its process costs itself alone.

A test that outlasts its limit ends its process, from a thread of C that needs no Python lock. After a CUDA error
nothing in a process can be trusted: it ends when the test has been reported. In both cases pytest-xdist names the test
and starts another worker; without pytest-xdist the run stops there. M2T_FAST_TEST_LOG names a file that gets every
failure with its text as soon as it is known.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from m2t_fast.ops.registry import why_unavailable

# torch's deterministic mode, in which memory is poisoned, asks cuBLAS for workspaces of a fixed size.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

HERE = Path(__file__).parent
LIMIT = float(os.environ.get("M2T_FAST_TEST_LIMIT") or 90.0)
"""Seconds of a test; compilation included."""
POISON = ("CUDA error", "CUDA driver error", "CUBLAS_STATUS", "CUDNN_STATUS", "device-side assert", "AcceleratorError")
_poisoned: list[str] = []
# Not PYTEST_XDIST_WORKER: a run that another run's worker has started inherits that.
_workers: list[str] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    _workers.extend(getattr(config, "workerinput", {}).get("workerid", "").split())
    for item in (item for item in items if item.path.parent == HERE):
        # cuDNN's LSTM says so where it finds weights in several pieces, as under autocast.
        item.add_marker(pytest.mark.filterwarnings("ignore:RNN module weights are not part of single contiguous"))
        if not item.path.name.startswith("test_"):
            continue  # the rehearsal's, which need no GPU
        backend = "cuda" if item.path.name.startswith("test_cuda") else "triton"
        reason = why_unavailable(backend) or (None if torch.cuda.is_available() else "no CUDA device")
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"backend {backend} on a GPU: {reason}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """The limit of a test, and the end of a process that a CUDA error has spoiled."""
    if item.path.parent != HERE:
        return (yield)
    # A process that only skips these tests needs no guard; `sys.__stderr__` is not captured.
    faulthandler.dump_traceback_later(LIMIT, exit=True, file=sys.__stderr__)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
        if _poisoned:
            if hasattr(item.config, "workerinput"):
                os._exit(3)  # after the reports: pytest-xdist starts another worker
            pytest.exit(f"a CUDA error has spoiled this process in {item.nodeid}; pytest-xdist would go on", 3)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[pytest.TestReport]:
    if call.excinfo is not None and item.path.parent == HERE:
        text = f"{call.excinfo.typename}: {call.excinfo.value}"
        if any(mark in text for mark in POISON) and "OutOfMemory" not in text:
            _poisoned.append(item.nodeid)
    return (yield)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Failures into the log, from the one process that hears of all of them."""
    path = os.environ.get("M2T_FAST_TEST_LOG")
    if path and report.failed and not _workers:
        line = {"test": report.nodeid, "when": report.when, "text": str(report.longreprtext)[-6000:]}
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
