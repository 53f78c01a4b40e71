"""The C++ gather below the op that checks its arguments: it reads and writes nothing but what it was given."""

from __future__ import annotations

import pytest
import torch

from m2t_fast import reference
from m2t_fast.ops.cases import GATHER_CASES, GatherCase
from m2t_fast.ops.cpu import gather
from m2t_fast.ops.gather import GatherInputs
from m2t_fast.ops.registry import why_unavailable


def gather_motions(*arguments) -> torch.Tensor:
    """The launcher, without the op's checks."""
    return gather.gather_motions(GatherInputs(*arguments))


pytestmark = pytest.mark.skipif(why_unavailable("cpu") is not None, reason=f"cpu backend: {why_unavailable('cpu')}")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", GATHER_CASES.values(), ids=GATHER_CASES.keys())
def test_any_number_of_threads_gives_the_bits_of_the_reference(case: GatherCase, dtype: torch.dtype) -> None:
    frames, offsets, index, *statistics = case.inputs(dtype)
    mean, std = statistics or (None, None)
    expected = reference.gather_motions(frames, offsets, index, case.T, mean, std)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert torch.equal(gather_motions(frames, offsets, index, case.T, mean, std), expected)
    finally:
        torch.set_num_threads(before)


def test_motions_that_are_not_there_are_empty_and_longer_ones_cut() -> None:
    frames, offsets, _ = GatherCase(standardise=False).inputs(torch.float32)
    index = torch.tensor([-1, 0, 4, 2**40, -(2**62)])
    found = gather_motions(frames, offsets, index, 3, None, None)
    assert not found[[0, 2, 3, 4]].any()
    assert torch.equal(found[1:2], reference.gather_motions(frames, offsets, index[1:2], 3))


@pytest.mark.parametrize(
    ("offsets", "rows"), [([-5, 3], 3), ([0, 10**9], 20), ([18, 10**9], 2), ([10**9, 2 * 10**9], 0), ([7, 2], 0)]
)
def test_offsets_outside_the_frames_are_clamped(offsets: list[int], rows: int) -> None:
    frames = torch.arange(1.0, 61.0).view(20, 1, 3)
    (found,) = gather_motions(frames, torch.tensor(offsets), torch.tensor([0]), 25, None, None)
    first = min(max(offsets[0], 0), 20)
    assert torch.equal(found[:rows], frames[first : first + rows]) and not found[rows:].any()


def test_other_motions_are_not_seen() -> None:
    frames, offsets, index, mean, std = GatherCase(B=3).inputs(torch.float32)
    index = torch.tensor([1, 1, 3])
    dirty = frames.clone()
    dirty[offsets[0] : offsets[1]] = dirty[offsets[2] : offsets[3]] = torch.nan
    expected = gather_motions(frames, offsets, index, 9, mean, std)
    assert torch.equal(gather_motions(dirty, offsets, index, 9, mean, std), expected) and expected.isfinite().all()
