"""Runs ops on the emulated CUDA device with every input between two pages that nobody may touch; a fault ends it.

python fenced_inputs.py PATH_OF_THE_EMULATED_DEVICE
"""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import mmap
import os
import sys

import torch
from torch import Tensor

from m2t_fast import ops, use_backend
from m2t_fast.ops import registry
from m2t_fast.ops.cases import AttentionCase, DecodeCase, GateCase, LstmCase
from m2t_fast.ops.cuda import gate, launch, lstm
from m2t_fast.ops.decode import DecoderWeights

CASES = [
    (ops.lstm_cells, LstmCase(B=11, E=13, C=37)),
    (ops.lstm_cells, LstmCase(B=9, E=16, C=36)),
    (ops.lstm_cells, LstmCase(B=1, E=4, C=4)),
    (ops.gated_decoder_step, GateCase(B=3, L=3, H=59, C=31, E=13, D=39)),
    (ops.gated_decoder_step, GateCase(B=1, L=1, H=8, C=8, E=4, D=8)),
    (ops.spatio_temporal_attention, AttentionCase(S=1, L=7, P=7, H=65, D=70)),
    (ops.spatio_temporal_attention, AttentionCase(S=6, L=2, D=33)),
]
DECODE_CASES = [DecodeCase(B=2, T=3, V=9), DecodeCase(B=2, T=3, H=8, D=8, C=4, E=4, M=12, V=9)]  # by one and by four
libc = ctypes.CDLL(None, use_errno=True)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
held = []


def fenced(x: Tensor, at_the_front: bool) -> Tensor:
    """A copy that begins right behind, or ends right before, a page that may not be read."""
    size, page = x.numel() * x.element_size(), mmap.PAGESIZE
    pages = -(-size // page) + 2
    memory = mmap.mmap(-1, pages * page)
    held.append(memory)
    offset = page if at_the_front else (pages - 1) * page - size
    copy = torch.frombuffer(memory, dtype=x.dtype, count=x.numel(), offset=offset).view(x.shape)
    copy.copy_(x)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for fence in (start, start + (pages - 1) * page):
        if libc.mprotect(fence, page, 0) != 0:
            raise OSError(ctypes.get_errno(), "mprotect")
    return copy


def main() -> None:
    """Forward and backward of every case, few and many rows, and decoding, in both dtypes."""
    spec = importlib.util.spec_from_file_location("_emulated", sys.argv[1])
    assert spec is not None and spec.loader is not None
    launch.emulated = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launch.emulated)
    registry.DEVICE_TYPES["cuda"] = ("cuda", "cpu")
    choices = itertools.product((1000, 0), (torch.float32, torch.bfloat16), (True, False), CASES)
    for rows, dtype, at_the_front, (op, case) in choices:
        gate.FEW_ROWS = lstm.FEW_ROWS = rows
        inputs = [fenced(x, at_the_front) for x in case.inputs(dtype)]
        leaves = [x.requires_grad_() for x in inputs if x.is_floating_point()]
        with use_backend("cuda"):
            torch.autograd.grad(sum(x.float().sum() for x in op(*inputs)), leaves)
    for dtype, at_the_front, case in itertools.product((torch.float32, torch.bfloat16), (True, False), DECODE_CASES):
        memory, weights = ([fenced(x, at_the_front) for x in given(dtype)] for given in (case.memory, case.weights))
        sampling = case.sampling(3, dtype)
        sampling["dropout"] = tuple(fenced(x, at_the_front) for x in sampling["dropout"])
        with use_backend("cuda"):
            ops.search(*memory, DecoderWeights(*weights), max_length=2)
            ops.sample_words(*memory, DecoderWeights(*weights), **sampling)
    print("inside", flush=True)
    os._exit(0)  # the fences outlive Python's own tidying up


if __name__ == "__main__":
    main()
