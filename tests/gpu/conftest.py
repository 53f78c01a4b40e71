"""Leaves these tests out where torch finds no CUDA device or their backend cannot run, and says which."""

from __future__ import annotations

import os

import pytest
import torch

from m2t_fast.ops.registry import why_unavailable

# torch's deterministic mode, in which memory is poisoned, asks cuBLAS for workspaces of a fixed size.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "gpu" not in item.path.parent.name:
            continue
        backend = "cuda" if item.path.name.startswith("test_cuda") else "triton"
        reason = why_unavailable(backend) or (None if torch.cuda.is_available() else "no CUDA device")
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=f"backend {backend} on a GPU: {reason}"))
