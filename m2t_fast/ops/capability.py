"""What a CUDA device is capable of, as far as the kernels care."""

from __future__ import annotations

import functools

import torch

Capability = tuple[int, int]
BFLOAT16: Capability = (8, 0)
"""From here on a device has instructions for bfloat16."""


@functools.cache
def capability(index: int) -> Capability:
    """The compute capability of a CUDA device, major and minor."""
    return torch.cuda.get_device_capability(index)


def check_dtype(tensor: torch.Tensor) -> None:
    """Refuses bfloat16 on a device that has no instructions for it.

    Raises:
        RuntimeError: in one line, with what to use instead.
    """
    if tensor.dtype != torch.bfloat16 or not tensor.is_cuda:
        return
    found = capability(tensor.device.index)
    if found < BFLOAT16:
        raise RuntimeError(
            f"bfloat16 on {tensor.device}: compute capability {found[0]}.{found[1]} has none (from 8.0 on); "
            "use float32 or float16"
        )
