"""How the threads of torch and of the kernels wait for each other: one default for the command line, make and library.

Both share one OpenMP runtime, libgomp in torch's Linux builds. Its own default lets a waiting thread keep its core busy
for milliseconds, which on shared cores slows everything down up to ten times; a thread that sleeps at once has to be
woken at every operation. :data:`SPIN_COUNT` lies between: a thread that is met soon does not sleep, and one that is not
gives its core away. libgomp reads its environment once, when it is loaded, which ``import torch`` does. So the default
is set when m2t_fast is imported, which for the command line is always first, and changes nothing where torch is there
already or where the user has chosen (:data:`VARIABLES`).

Imports nothing heavy: every import of the package goes through here.
"""

from __future__ import annotations

import os
import sys

SPIN_COUNT = 1000
"""Looks at what a thread waits for, before it sleeps: some microseconds, too short to matter where
another process wants the core. docs/kernels-cpu.md has steps per second."""
VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""The environment variables that decide, in the order in which libgomp heeds them; the first is what is set here."""

_LATE = False


def set_default() -> None:
    """Set how threads wait, unless the user has, or torch is there already."""
    global _LATE
    if any(name in os.environ for name in VARIABLES):
        return
    if "torch" in sys.modules:
        _LATE = True
        return
    os.environ[VARIABLES[0]] = str(SPIN_COUNT)


def wait_policy() -> str:
    """One line: how threads wait, and who chose it."""
    if _LATE:
        return "libgomp's default, which keeps waiting cores busy: torch was imported before m2t_fast"
    name = next((name for name in VARIABLES if name in os.environ), None)
    if name is None:
        return "the OpenMP runtime's default"
    setting = f"{name}={os.environ[name]}"
    ours = f"{VARIABLES[0]}={SPIN_COUNT}"
    return f"{setting} ({'the default of m2t_fast' if setting == ours else 'of the environment'})"
