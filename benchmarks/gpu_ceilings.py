"""What the device can do: tanh a second, exact and approximate, on registers alone, and bytes a second copied."""

from __future__ import annotations

import functools

import torch
from gpu_part import Part, milliseconds

PROGRAMS, BLOCK, COUNT = 4096, 1024, 512
COPIED = 1 << 28
"""Numbers of the copy: 1 GiB, far more than any cache."""


def measure(part: Part) -> None:
    """The section."""
    from m2t_fast.kernels.ceilings import repeat_tanh

    out = torch.empty(PROGRAMS * BLOCK, device=part.device)
    for name, approximate in (("tanh_per_s_exact", False), ("tanh_per_s_approximate", True)):
        options = {"BLOCK": BLOCK, "APPROXIMATE": approximate, "enable_fp_fusion": True}
        run = functools.partial(repeat_tanh[(PROGRAMS,)], out, COUNT, **options)
        part.values[name] = PROGRAMS * BLOCK * COUNT / (milliseconds(run)[0] / 1e3)
    source = torch.empty(COPIED, device=part.device)
    target = torch.empty_like(source)
    part.values["bytes_per_s"] = 2 * source.nbytes / (milliseconds(lambda: target.copy_(source))[0] / 1e3)
    rates = ", ".join(f"{name} {value:.3g}" for name, value in part.values.items())
    print(f"ceilings   {rates}", flush=True)
