"""`make gpu` without a GPU, with faults injected: no result is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import gpu_rehearsal
import interpreter
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(interpreter.why_not() is not None, reason=interpreter.why_not() or "")
@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler for the emulated device"
)
def test_no_result_is_lost() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_rehearsal.py"), "--quick"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count(" ok ") == len(gpu_rehearsal.CHECKS) and "no result was lost" in ended.stdout
