"""What a command finds around it: streams that are closed, a current folder that is gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="written for a POSIX shell")


def sh(line: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A line of the shell, in which ``$M`` is the command."""
    environment = {**os.environ, "M": f"{sys.executable} -m m2t_fast", "PYTHON": sys.executable, **variables}
    return subprocess.run(["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_end_no_command(closed: str, tmp_path: Path) -> None:
    result = sh(f"$M --version {closed}", tmp_path)
    assert result.returncode == 0 and (">&-" in closed.replace("2>&-", "")) == (result.stdout == "")
    result = sh(f"$M convert {closed}", tmp_path)
    assert result.returncode == 2 and result.stderr.count("\n") == ("2>&-" not in closed)


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """Else what a library prints would go into it."""
    script = "from m2t_fast.cli.visible import open_closed_streams as o; o(); f = open('file', 'w'); print('lost'); " \
             "import os; os.write(1, b'lost'); os.write(2, b'lost'); f.write(str(f.fileno()))"  # fmt: skip
    assert sh(f'$PYTHON -c "{script}" <&- >&- 2>&-', tmp_path).returncode == 0
    assert int((tmp_path / "file").read_text()) > 2


def test_a_current_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    result = sh("mkdir gone; cd gone; rmdir ../gone; $M info", tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == (
        "m2t-fast: error: the current folder cannot be found: No such file or directory"
    )


def test_a_backend_that_matplotlib_lacks_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    script = "from m2t_fast.interpretation.attention_map import require_matplotlib as r; r()"
    result = sh(f'$PYTHON -c "{script}"', tmp_path, MPLBACKEND="nope")
    assert "UserError: matplotlib refuses its settings: " in result.stderr and "'nope'" in result.stderr
