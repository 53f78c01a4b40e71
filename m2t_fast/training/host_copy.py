"""Copies of tensors for other threads, started without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class HostCopy:
    """Named tensors as they are now, on the CPU; later changes to them do not show.

    From a CUDA device they are copied in the order of its current stream, and making a copy waits for nothing.
    """

    def __init__(self, tensors: Mapping[str, Tensor]):
        self._copied: torch.cuda.Event | None = None
        self._tensors = {name: self._copy(tensor.detach()) for name, tensor in tensors.items()}
        devices = [tensor.device for tensor in tensors.values() if tensor.is_cuda]
        if devices:
            with torch.cuda.device(devices[0]):
                self._copied = torch.cuda.Event()
                self._copied.record()

    @staticmethod
    def _copy(tensor: Tensor) -> Tensor:
        if not tensor.is_cuda:
            return tensor.to("cpu", copy=True, memory_format=torch.contiguous_format)
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True, device="cpu")
        return pinned.copy_(tensor, non_blocking=True)

    def get(self) -> dict[str, Tensor]:
        """The tensors, as soon as they are here; from any thread."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._tensors
