"""How the threads of torch and of the kernels wait for each other: one default for the command line, make and library.

Both share one OpenMP runtime, libgomp in torch's Linux builds. A waiting thread spins for a while, then sleeps. On
free cores spinning long is fastest, because a sleeping thread has to be woken at every operation; on cores that others
need it takes time from those who would work, which slows everything down up to ten times. So threads spin long while
the cores are free and briefly while they are not: csrc/common/waiting.cpp decides while the process runs.

libgomp reads its environment once, when it is loaded, which ``import torch`` does. So the default is set when m2t_fast
is imported, which for the command line is always first, and taken back when libgomp is there: it is not meant for
programs that this process starts. Nothing changes where torch was there before or where the user has chosen
(:data:`VARIABLES`). Where nothing can decide (no libgomp, no native extension, no count of waiting in /proc), one
number in the middle is set.

Imports nothing heavy: every import of the package goes through here.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

FREE, WANTED = 20_000, 1000
"""Looks at what a thread waits for before it sleeps, on cores that are free (some hundred microseconds) and on cores
that others want (some microseconds). docs/kernels-cpu.md has steps per second."""
VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""The environment variables that decide, in the order in which libgomp heeds them."""
WATCHED = {"GOMP_SPINCOUNT": str(FREE), "OMP_WAIT_POLICY": "ACTIVE"}
"""The default where the cores are watched: ACTIVE is what makes libgomp look :data:`WANTED` times when it has more
threads than cores."""
FIXED = {"GOMP_SPINCOUNT": str(WANTED)}
"""The default elsewhere."""

_ours: dict[str, str] | None = None
_late = False


def set_default() -> None:
    """Set how threads wait, unless the user has, or torch is there already."""
    global _ours, _late
    if given := _given():
        _ours = WATCHED if given == WATCHED else None  # from a process that imported m2t_fast and not yet torch
        return
    if "torch" in sys.modules:
        _late = True
        return
    _ours = WATCHED if _can_watch() else FIXED
    os.environ.update(_ours)


def take_back() -> None:
    """Clear the environment of the default, once torch has been imported."""
    for name, value in (_ours or {}).items():
        if os.environ.get(name) == value:
            del os.environ[name]


def watched() -> bool:
    """Whether spinning follows the load of the cores, because the user has not chosen otherwise."""
    return _late or _ours is WATCHED


def wait_policy() -> str:
    """One line: how threads wait, and who chose it."""
    if _late:
        return "libgomp's default, 100 looks where others want the cores: torch was imported before m2t_fast"
    if _ours is WATCHED:
        return f"{FREE:,} looks on free cores, {WANTED:,} where others want them (the default of m2t_fast)"
    settings = _ours or _given()
    if not settings:
        return "the OpenMP runtime's default"
    setting = " ".join(f"{name}={value}" for name, value in settings.items())
    return f"{setting} ({'the default of m2t_fast' if _ours else 'of the environment'})"


def _given() -> dict[str, str]:
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}


def _can_watch() -> bool:
    """Whether the torch to be imported brings libgomp, the extension is there and Linux counts waiting for a core."""
    try:
        torch = importlib.util.find_spec("torch")
        extension = importlib.util.find_spec("m2t_fast._native") is not None
        folders = [Path(torch.origin).parent / "lib", Path(torch.origin).parents[1] / "torch.libs"]  # type: ignore[union-attr,arg-type]
        counted = Path("/proc/self/schedstat").read_text(encoding="utf-8").split()
    except (AttributeError, TypeError, ValueError, OSError, ImportError):
        return False
    gomp = any(path for folder in folders for path in folder.glob("libgomp*"))
    return gomp and extension and len(counted) == 3 and counted[2] != "0"
