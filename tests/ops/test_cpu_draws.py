"""The C++ coins and dropout factors: every copy of the kernel, any number of threads, the reference's bits."""

from __future__ import annotations

import pytest
import torch

from m2t_fast import ops, use_backend
from m2t_fast.ops.cpu import launch
from m2t_fast.ops.registry import why_unavailable
from m2t_fast.random import Counter

pytestmark = pytest.mark.skipif(why_unavailable("cpu") is not None, reason=f"cpu backend: {why_unavailable('cpu')}")


@pytest.mark.parametrize("instruction_set", ["baseline", "avx2", "avx512"])
@pytest.mark.parametrize("channels", [1, 3, 63, 64, 65, 128, 300])
def test_bits(instruction_set, channels, monkeypatch) -> None:
    """A processor without an instruction set runs its best instead."""
    monkeypatch.setattr(launch, "instruction_set", instruction_set)
    state, rows = Counter(2**63 + 11, 2**31 + 5).state, torch.tensor([2**32 - 1, 0, 7])
    for dropout in (0.0, 0.35, 1 - 2**-31, 1 - 2**-40):
        found = []
        for backend in ("cpu", "reference"):
            with use_backend(backend):
                found.append(ops.random_draws(state, 3, 4, channels, 0.5, dropout, rows))
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_threads() -> None:
    before, found = torch.get_num_threads(), []
    try:
        with use_backend("cpu"):
            for threads in (1, 3):
                torch.set_num_threads(threads)
                found.append(ops.random_draws(Counter(1).state, 7, 5, 33, 0.5, 0.5))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
