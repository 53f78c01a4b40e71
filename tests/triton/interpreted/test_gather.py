"""The gathering of motions in Triton, interpreted: the bits of the processor, and nothing read outside."""

from __future__ import annotations

import pytest
import torch

from m2t_fast import ops, reference, use_backend
from m2t_fast.ops.cases import GatherCase
from m2t_fast.ops.gather import GatherInputs
from m2t_fast.ops.triton import gather

pytestmark = pytest.mark.interpreted


@pytest.mark.parametrize("standardise", [False, True])
def test_gathered_motions_have_the_bits_of_the_cpu(standardise: bool) -> None:
    case = GatherCase(B=6, T=70, J=21, motions=5, longest=64, standardise=standardise)
    frames, offsets, index, *statistics = case.inputs(torch.float32)
    with use_backend("triton"):
        found = ops.gather_motions(frames, offsets, index, case.T, *statistics)
    assert torch.equal(found, reference.gather_motions(frames, offsets, index, case.T, *statistics))


def test_gathering_reads_nothing_outside_the_frames() -> None:
    """The op checks its arguments; called below it, motions that are not there are empty, longer ones cut."""
    frames, offsets, _ = GatherCase(standardise=False).inputs(torch.float32)
    index = torch.tensor([-1, 0, 4, 2**40])
    found = gather.gather_motions(GatherInputs(frames, offsets, index, 3))
    assert not found[[0, 2, 3]].any()
    assert torch.equal(found[1:2], reference.gather_motions(frames, offsets, index[1:2], 3))
    found = gather.gather_motions(GatherInputs(frames, offsets + len(frames) - 2, index[1:2], 9))
    assert torch.equal(found[0, :2, 0], frames[-2:, 0]) and not found[0, 2:].any()
