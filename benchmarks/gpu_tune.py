"""Tunes the Triton kernels on this machine's GPU within a budget: `m2t_fast.ops.triton.tune` as a step of the run.

    python benchmarks/gpu_tune.py [--budget SECONDS] [--folder DIR]

Writes DIR/DEVICE.json (default: kernels/devices) after every kernel.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_part


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds to search for")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    device = gpu_part.find()
    from m2t_fast.kernels import devices
    from m2t_fast.ops.triton import tune

    if device.where == "cpu":
        import gpu_standin

        gpu_standin.shrink_tuner(tune)
        arguments.budget = 0.0  # one configuration of each kernel
    path = (arguments.folder or devices.FOLDER) / devices.file_name(device.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    gpu_part.warm_up(device.where, 1.0)

    def measure(call: Callable[[], Any]) -> float:
        return gpu_part.milliseconds(call, device.where, warmup=10, rep=40)[0]

    tune.tune(measure, arguments.budget, lambda table: tune.write(table, path))
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
