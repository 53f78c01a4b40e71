"""Waiting threads give up their cores while others want them, which Linux counts and a test can make up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from m2t_fast import native, threads

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists() or not native.build_info().get("openmp_runtime"),
    reason="needs the native extension with OpenMP, and Linux's count of waiting for a core",
)

# What the system would count is written here: a thread that waits six tenths of its time, then none of it.
WATCH = """
import ctypes, os, sys, time
from pathlib import Path
import torch
from m2t_fast import native

folder = Path(sys.argv[1])
waited = 0

def count(more):
    global waited
    waited += more
    (folder / "new").write_text(f"1000000 {waited} 7\\n")
    os.replace(folder / "new", folder / "1" / "schedstat")

def threads_there():
    return len(os.listdir("/proc/self/task"))

def wait_for(state, share, limit=100.0):
    started = last = time.monotonic()
    while (native._native.cores_wanted(), threads_there() > before) != (state, state):
        now = time.monotonic()
        while now - last < 0.01:  # a process that works is looked at more often
            now = time.monotonic()
        count(int((now - last) * share * 1e9))
        last = now
        assert now - started < limit, (state, native._native.cores_wanted(), threads_there(), before)

gomp = ctypes.CDLL(native.build_info()["openmp_runtime"])
entry = ctypes.cast(gomp.GOMP_parallel, ctypes.c_void_p).value
assert not native.watches_cores
count(0)
watch = lambda: native._native.watch_cores(entry, 2, 2, str(folder))
assert watch() and watch()
before = threads_there()
assert not native._native.cores_wanted()
for _ in range(2):
    wait_for(True, 0.6)
    wait_for(False, 0.0)
print("given up twice and taken back")
"""


def child(code: str, *arguments: str, **environment: str) -> str:
    """What a fresh interpreter prints in which the user's setting keeps the package from watching."""
    kept = {name: value for name, value in os.environ.items() if name not in threads.VARIABLES}
    command = [sys.executable, "-c", code, *arguments]
    shown = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout.strip()


def test_an_idle_team_is_there_while_cores_are_wanted_and_goes_afterwards(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    assert child(WATCH, str(tmp_path), GOMP_SPINCOUNT="7") == "given up twice and taken back"


def test_nothing_is_watched_where_the_system_does_not_count(tmp_path: Path) -> None:
    code = "import sys, m2t_fast.native as n; print(n._native.watch_cores(1, 2, 2, sys.argv[1]))"
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "schedstat").write_text("0 0 0\n")
    assert child(code, str(tmp_path), GOMP_SPINCOUNT="7") == "False"
    assert child(code, str(tmp_path / "missing"), GOMP_SPINCOUNT="7") == "False"


def test_the_package_watches_unless_the_user_has_chosen() -> None:
    code = "import m2t_fast, m2t_fast.native as n; print(n.watches_cores, n.cores_now())"
    assert child(code).startswith("True ; now ")
    assert child(code, OMP_WAIT_POLICY="PASSIVE") == "False"


def test_a_forked_process_goes_on_without_a_watch() -> None:
    code = """
import os, m2t_fast, torch
from m2t_fast import native
assert native.watches_cores
pid = os.fork()
if pid == 0:
    torch.set_num_threads(1)
    os._exit(0 if float(torch.ones(9).sum()) == 9 and not native._native.cores_wanted() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert child(code) == "0"
