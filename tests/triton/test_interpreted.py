"""Runs the interpreted tests where the Triton kernels are plain Python: the choice is made once a process."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


def why_not() -> str | None:
    """Why Triton's interpreter cannot run here."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    version = tuple(map(int, importlib.metadata.version("triton").split(".")[:2]))
    if version < (3, 7) and np.lib.NumpyVersion(np.__version__) >= "2.4.0":
        return "the interpreter of Triton 3.6 fails with NumPy 2.4 and newer (loops over a tensor)"
    return None


@pytest.mark.slow
@pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
@pytest.mark.parametrize(
    ("file", "chosen"),
    [
        ("triton/interpreted_kernels.py", ""),
        ("ops/test_autocast.py", "triton"),
        ("ops/test_draws.py", "triton"),
        ("triton/interpreted_benchmarks.py", ""),
    ],
    ids=["kernels", "autocast", "draws", "benchmarks"],
)
def test_in_the_interpreter(file: str, chosen: str) -> None:
    path = Path(__file__).parents[1] / file
    paths = [str(Path(__file__).parents[2] / "benchmarks"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [
        sys.executable,
        "-W",
        "ignore",
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-k",
        chosen,
        str(path),
    ]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
