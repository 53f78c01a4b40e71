"""No kernel reads outside its inputs, wherever they lie."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType


def test_inputs_between_pages_that_nobody_may_touch(emulated: ModuleType) -> None:
    script = Path(__file__).with_name("fenced_inputs.py")
    run = subprocess.run([sys.executable, str(script), str(emulated.__file__)], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "inside\n"), run.stderr
