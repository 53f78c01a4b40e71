"""Times the gated step and the LSTM cells of a few words on a GPU: the CUDA backend's two ways beside plain PyTorch.

    python benchmarks/few_rows.py [--backward] [--dtype float32|bfloat16]

Microseconds of a call replayed in a CUDA graph, medians, HumanML3D's sizes. Where the column `few` no longer wins is
where ``m2t_fast.ops.cuda.few_rows.FEW_ROWS`` belongs.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from m2t_fast import ops, reference, use_backend
from m2t_fast.ops.cases import GateCase, LstmCase
from m2t_fast.ops.cuda import gate, lstm
from m2t_fast.ops.registry import why_unavailable

ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WAYS = ("few", "many", "plain")
REPLAYS, SAMPLES = 50, 15
CASES: dict[str, Callable[[int], GateCase | LstmCase]] = {
    "gated_decoder_step": lambda rows: GateCase(B=rows, L=1, H=256, C=256, E=128, D=256),
    "lstm_cells": lambda rows: LstmCase(B=rows, E=128, C=256),
}


def call(op: str, inputs: list[Tensor], way: str, backward: bool) -> Any:
    """One call of ``op`` in one way, with the gradients of all inputs if asked for."""
    gate.FEW_ROWS = lstm.FEW_ROWS = max(ROWS) if way == "few" else 0
    with use_backend("cuda"):
        outputs = getattr(reference if way == "plain" else ops, op)(*inputs)
        return torch.autograd.grad([x.sum() for x in outputs], inputs) if backward else outputs


def microseconds(run: Callable[[], Any]) -> float:
    """The median of a call, from samples of many replays of its graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what is loaded or chosen at a first call may not happen in a capture
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    samples = []
    for _ in range(SAMPLES + 2):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(REPLAYS):
            graph.replay()
        end.record()
        end.synchronize()
        samples.append(1000 * start.elapsed_time(end) / REPLAYS)
    return statistics.median(samples[2:])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backward", action="store_true", help="forward and backward, else forward")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    arguments = parser.parse_args()
    reason = why_unavailable("cuda") or (None if torch.cuda.is_available() else "no CUDA device")
    if reason is not None:
        print(f"benchmarks/few_rows.py: {reason}", file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {arguments.dtype}, microseconds")
    print(f"{'op':20}{'rows':>6}" + "".join(f"{way:>10}" for way in WAYS))
    for op, case in CASES.items():
        for rows in ROWS:
            drawn = case(rows).inputs(getattr(torch, arguments.dtype))
            inputs = [x.cuda().requires_grad_(arguments.backward) for x in drawn]
            times = [microseconds(functools.partial(call, op, inputs, way, arguments.backward)) for way in WAYS]
            print(f"{op:20}{rows:6}" + "".join(f"{time:10.2f}" for time in times), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
