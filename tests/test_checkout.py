"""Running in a checkout does not silently take the sources in place of the installed package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from m2t_fast import __file__ as package

SHADOW = "import sys; sys.path.insert(0, sys.argv[1]); sys.path.append(sys.argv[2]); import m2t_fast"


@pytest.mark.parametrize(("checkout", "installed"), [(True, True), (False, True), (True, False)])
def test_two_packages(checkout: bool, installed: bool, tmp_path: Path) -> None:
    """The message names both folders; it comes only where there are two and the first is a checkout."""
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(Path(package).parent, here / "m2t_fast", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    if checkout:
        (here / "csrc").mkdir()
    if installed:
        (there / "m2t_fast").mkdir(parents=True)
        (there / "m2t_fast/__init__.py").touch()
    command = [sys.executable, "-IS", "-W", "always", "-c", SHADOW, here, there]  # -IS: without what is installed here
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stderr
    if checkout and installed:
        assert f"checkout {here / 'm2t_fast'}, not from where it is installed, {there / 'm2t_fast'}: run" in said
    else:
        assert said == ""
