"""Kernel of ``gather_motions``: ragged frames to a padded batch, standardised and root-relative."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["ROWS", "MOTIONS", "FRAMES"])
def gather_motions(  # type: ignore[no-untyped-def]
    frames, offsets, index, mean, std, out, ROWS, MOTIONS, FRAMES, WIDTH: tl.constexpr, BLOCK: tl.constexpr
):
    """Program (motion, block of its FRAMES * WIDTH numbers): its place in the batch, WIDTH = 3 J numbers per frame.

    mean and std are None where the frames (ROWS, WIDTH) are standardised. A motion that is not there is empty and a
    longer one cut: nothing outside the frames is read.
    """
    blocks = tl.cdiv(FRAMES * WIDTH, BLOCK)
    b = (tl.program_id(0) // blocks).to(tl.int64)
    i = (tl.program_id(0) % blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    motion = tl.load(index + b)
    there = (motion >= 0) & (motion < MOTIONS)
    begin = tl.load(offsets + motion, mask=there, other=0)
    end = tl.load(offsets + motion + 1, mask=there, other=0)
    begin = tl.minimum(tl.maximum(begin, 0), ROWS)
    length = tl.minimum(tl.minimum(end, ROWS) - begin, FRAMES)
    t = i // WIDTH
    c = i % WIDTH
    inside = t < length
    pose = frames + (begin + t) * WIDTH
    x = tl.load(pose + c, mask=inside, other=0.0).to(tl.float32)
    root = tl.load(pose + c % 3, mask=inside, other=0.0).to(tl.float32)
    if mean is not None:
        # Division that rounds to nearest, as on the CPU: the bits are those of a motion standardised there.
        m = tl.load(mean + c % 3).to(tl.float32)
        s = tl.load(std + c % 3).to(tl.float32)
        x = tl.div_rn(x - m, s)
        root = tl.div_rn(root - m, s)
    y = tl.where(inside, tl.where(c < 3, x, x - root), 0.0)
    tl.store(out + b * FRAMES * WIDTH + i, y.to(out.dtype.element_ty), mask=i < FRAMES * WIDTH)
