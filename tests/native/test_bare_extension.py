"""The kernels against NumPy in a process without torch: what .ci/release runs on aarch64 runs here, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from m2t_fast import native

PROGRAM = Path(__file__).parents[1] / "helpers" / "bare_extension.py"


@pytest.mark.skipif(not native.available(), reason=f"{native.why_unavailable()}")
@pytest.mark.skipif(sys.platform != "linux", reason="loads the system's libgomp, as on Linux")
@pytest.mark.parametrize("threads", ["1", "3"])
def test_the_extension_needs_no_torch(threads: str) -> None:
    folder = str(Path(native._native.__file__).parent)
    done = subprocess.run([sys.executable, str(PROGRAM), folder, threads], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.startswith("The kernels agree"), done.stderr
