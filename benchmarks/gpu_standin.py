"""What stands for the GPU in the rehearsal: the emulated CUDA device, Triton's interpreter, tiny sizes, and faults.

Imported by gpu_part.find() where M2T_FAST_REHEARSAL is set, and never otherwise. M2T_FAST_EMULATED names the extension
of the emulated device (tests/cuda/emulation), TRITON_INTERPRET=1 is set from the start. M2T_FAST_FAULTS is JSON: a list
of [kind, part of a cell's name], kinds as in FAULTS.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

NAME = "Stand-in"
_poisoned = False


def install() -> tuple[str, str]:
    """Make this process take the stand-in for its device; where tensors lie, and the device's name."""
    import quick_interpreter
    import torch

    from m2t_fast.ops import registry
    from m2t_fast.ops.cuda import launch

    quick_interpreter.install()
    spec = importlib.util.spec_from_file_location("_emulated", os.environ["M2T_FAST_EMULATED"])
    assert spec is not None and spec.loader is not None
    emulated = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(emulated)
    emulated.set_device(132, 232448, 90)
    launch.emulated = emulated
    registry.DEVICE_TYPES["cuda"] = ("cuda", "cpu")
    registry.why_unavailable.cache_clear()
    registry.resolve.cache_clear()
    torch.set_num_threads(1)
    torch.compile = lambda function, **options: function  # type: ignore[assignment]
    shrink()
    import gpu_cells

    attempt = gpu_cells.attempt

    def faulty(journal: Any, name: str, group: str, limit: float, measure: Callable[[], Any], *rest: Any, **place: Any):
        attempt(journal, name, group, limit, lambda: (inject(name), measure()), *rest, **place)

    gpu_cells.attempt = faulty
    return "cpu", NAME


def shrink() -> None:
    """Sizes that the interpreter manages, in every module that is loaded."""
    tiny = {"HumanML3D": dict(B=1, T=5, L=2, D=8, H=8)}
    for name in ("gpu_attention", "gpu_guided"):
        if (module := sys.modules.get(name)) is not None:
            module.SIZES = tiny
    if (module := sys.modules.get("gpu_decoding")) is not None:
        module.DATA, module.BATCHES, module.BEAMS, module.WORDS = ("tiny",), (2, 1), (2,), 2
        module.KEY = module.COMPILED = (("tiny", 2, 2),)
        module.ONE_BY_ONE = (2,)
    if (module := sys.modules.get("gpu_ceilings")) is not None:
        module.PROGRAMS, module.COUNT, module.COPIED = 2, 2, 64


def shrink_tuner(tune: Any) -> None:
    """Sizes that the interpreter manages, and tensors where the stand-in has them."""
    from m2t_fast.ops.cases import AttentionCase, GateCase, GatherCase

    tune.ATTENTION = AttentionCase(B=1, T=2, L=1, S=6, H=4, D=4)
    tune.GATE = GateCase(B=1, L=1, H=4, C=4, E=4, D=4)
    tune.GATHER = GatherCase(B=1, T=2, standardise=False)
    del tune.CANDIDATES["random_draws"]  # of fixed sizes, a minute here
    calls = tune.calls
    tune.calls = lambda dtype: calls(dtype, "cpu")


def hang() -> None:
    """Waits forever as a kernel's launch may: in C, holding Python's lock, deaf to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.PyDLL(None).sleep(10_000)


def poison() -> None:
    """A CUDA error, and the same one from every later call of this process."""
    global _poisoned
    _poisoned = True
    raise RuntimeError("CUDA error: an illegal memory access was encountered (injected)")


def vanish() -> None:
    """The process is killed, as for memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_section() -> None:
    """The step's own process is killed with this one."""
    os.kill(os.getppid(), signal.SIGKILL)
    vanish()


FAULTS: dict[str, Callable[[], None]] = {"hang": hang, "poison": poison, "kill": vanish, "section": kill_section}


def inject(name: str) -> None:
    """What is asked for where this cell begins."""
    if _poisoned:
        poison()
    for kind, part in json.loads(os.environ.get("M2T_FAST_FAULTS", "[]")):
        if kind in FAULTS and part in name:
            print(f"injected: {kind} in {name}", flush=True)
            FAULTS[kind]()
