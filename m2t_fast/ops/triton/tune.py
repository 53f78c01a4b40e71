"""Times launch configurations on this GPU: ``python -m m2t_fast.ops.triton.tune`` writes the device's table."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from m2t_fast.errors import UserError
from m2t_fast.files import atomic_path
from m2t_fast.kernels import devices
from m2t_fast.ops.cases import AttentionCase, GateCase, GatherCase
from m2t_fast.records import converted
from m2t_fast.reference.draws import DrawsInputs

Table = dict[str, dict[str, dict[str, int]]]
KINDS = {"float32": torch.float32, "short": torch.bfloat16}
CANDIDATES: dict[str, dict[str, tuple[int, ...]]] = {
    "attention_words": {"BLOCK_L": (4, 8, 16), "BLOCK_T": (16, 32), "num_warps": (2, 4, 8)},
    "score_tiles": {"BLOCK_L": (4, 8, 16), "BLOCK_N": (8, 16, 32), "BLOCK_D": (16, 32, 64), "num_warps": (4, 8)},
    "score_rows": {"BLOCK_L": (4, 8), "BLOCK_N": (8, 16), "BLOCK_D": (16, 32, 64), "num_warps": (4, 8)},
    "word_gradient": {"BLOCK_L": (1, 2, 4, 8), "BLOCK_T": (16, 32, 64), "num_warps": (2, 4, 8)},
    "query_gradient": {"BLOCK_L": (2, 4, 8), "BLOCK_D": (32, 64, 128), "num_warps": (2, 4, 8)},
    "query_gradient_rows": {"BLOCK_L": (2, 4), "BLOCK_D": (32, 64, 128), "num_warps": (2, 4, 8)},
    "key_gradient": {"BLOCK_N": (2, 4, 8), "BLOCK_D": (32, 64, 128), "num_warps": (2, 4, 8)},
    "key_gradient_rows": {"BLOCK_N": (4, 8, 16, 32), "BLOCK_D": (32, 64, 128), "num_warps": (2, 4, 8)},
    "gate_forward": {"BLOCK_N": (1, 2, 4, 8), "BLOCK_C": (64, 128, 256), "num_warps": (2, 4)},
    "gate_backward": {"BLOCK_N": (1, 2, 4, 8), "BLOCK_C": (64, 128, 256), "num_warps": (2, 4)},
    "bias_tanh": {"BLOCK": (512, 1024, 2048), "num_warps": (4, 8)},
    "tanh_gradient": {"BLOCK": (512, 1024, 2048), "num_warps": (4, 8)},
    "random_draws": {"BLOCK": (128, 256, 512), "num_warps": (2, 4)},
    "gather_motions": {"BLOCK": (256, 512, 1024, 2048), "num_warps": (2, 4, 8)},
}
"""What is tried for each kernel, on top of the rest of its default configuration."""


def candidates(kernel: str, kind: str) -> Iterator[dict[str, int]]:
    """The default configuration, then every combination, mixed: a search that ends early has looked everywhere."""
    default = devices.table(devices.DEFAULT)[kernel][kind]
    yield default
    axes = CANDIDATES[kernel]
    combinations = list(itertools.product(*axes.values()))
    random.Random(0).shuffle(combinations)
    for values in combinations:
        yield {**default, **dict(zip(axes, values, strict=True))}


ATTENTION = AttentionCase(B=128, T=100, L=23, S=6, H=256, D=256)
GATE = GateCase(B=128, L=23, H=256, C=256, E=128, D=256)
GATHER = GatherCase(B=128, T=100, J=22, motions=2_000, longest=100, standardise=False)
"""HumanML3D's sizes and part scoring."""


def calls(dtype: torch.dtype, device: str = "cuda") -> dict[str, Callable[[], Any]]:
    """A call that launches each kernel."""
    from m2t_fast.ops.triton import attention, draws, gate, gather

    def there(x: torch.Tensor) -> torch.Tensor:
        return x.to(device)

    inputs, step, store = (converted(case.record(dtype), there) for case in (ATTENTION, GATE, GATHER))
    outputs, made = attention.spatio_temporal_attention(inputs), gate.gated_decoder_step(step)
    drawn = DrawsInputs(torch.zeros(2, dtype=torch.int64, device=device), 128, 23, 128, 0.5, 0.5, None, dtype)

    def attention_forward() -> None:
        attention.spatio_temporal_attention(inputs)

    def attention_backward() -> None:
        attention.spatio_temporal_attention_backward(outputs, inputs, None)

    framed = converted(dataclasses.replace(ATTENTION, S=1).record(dtype), there)

    def frame_scoring() -> None:
        attention.spatio_temporal_attention(framed)

    framed_outputs = attention.spatio_temporal_attention(framed)

    def frame_gradient() -> None:
        attention.spatio_temporal_attention_backward(framed_outputs, framed, None)

    def gate_forward() -> None:
        gate.gated_decoder_step(step)

    def gate_backward() -> None:
        gate.gated_decoder_step_backward(made, step, made)

    def random_draws() -> None:
        draws.random_draws(drawn)

    def gather_motions() -> None:
        gather.gather_motions(store)

    return {
        **dict.fromkeys(("attention_words", "score_tiles"), attention_forward),
        "score_rows": frame_scoring,
        **dict.fromkeys(("query_gradient_rows", "key_gradient_rows"), frame_gradient),
        **dict.fromkeys(("word_gradient", "query_gradient", "key_gradient"), attention_backward),
        **dict.fromkeys(("gate_forward", "bias_tanh"), gate_forward),
        **dict.fromkeys(("gate_backward", "tanh_gradient"), gate_backward),
        "random_draws": random_draws,
        "gather_motions": gather_motions,
    }


def tune(measure: Callable[[Callable[[], Any]], float], budget: float, save: Callable[[Table], None]) -> Table:
    """The fastest configuration of every kernel and kind, one kernel after the other, the others as found so far.

    Args:
        measure: milliseconds of a call.
        budget: seconds for all; what a kernel leaves of its share goes to the later ones.
        save: takes the table after every kernel, so that a search that is killed leaves what it found.
    """
    best = devices.table(devices.DEFAULT)
    until = time.monotonic() + budget
    every = {kind: calls(dtype) for kind, dtype in KINDS.items()}
    searches = [(kind, kernel, every[kind][kernel]) for kind in KINDS for kernel in CANDIDATES]
    for i, (kind, kernel, call) in enumerate(searches):
        fastest = float("inf")
        share = time.monotonic() + (until - time.monotonic()) / (len(searches) - i)
        for configuration in candidates(kernel, kind):
            devices.trial = {**best, kernel: dict.fromkeys(KINDS, configuration)}
            try:
                milliseconds = measure(call)
            except Exception as error:  # too many registers or too much shared memory: Triton has many names
                print(f"{kernel} {kind} {configuration}: {type(error).__name__}", file=sys.stderr)
                continue
            finally:
                devices.trial = {}
            if milliseconds < fastest:
                fastest, best[kernel][kind] = milliseconds, dict(configuration)
                print(f"{kernel} {kind} {milliseconds:.4f} ms {configuration}", flush=True)
            if time.monotonic() > share:
                break
        save(best)
    return best


def write(table: Table, path: Path) -> None:
    """One configuration per line; the file is never half-written."""
    kernels = []
    for kernel, kinds in table.items():
        rows = ",\n".join(f'    "{kind}": {json.dumps(values)}' for kind, values in kinds.items())
        kernels.append(f'  "{kernel}": {{\n{rows}\n  }}')
    with atomic_path(path) as temporary:
        temporary.write_text("{\n" + ",\n".join(kernels) + "\n}\n")


def main() -> int:
    """The command; exit code 2 where there is no GPU or the table cannot be written."""
    parser = argparse.ArgumentParser(prog="python -m m2t_fast.ops.triton.tune", description=__doc__)
    parser.add_argument("--output", type=Path, help="default: the device's file beside the default table")
    parser.add_argument("--budget", type=float, default=500.0, help="seconds to search for")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("m2t_fast.ops.triton.tune: torch finds no CUDA device", file=sys.stderr)
        return 2
    from triton.testing import do_bench

    path = arguments.output or devices.FOLDER / devices.file_name(torch.cuda.get_device_name())
    try:
        write(devices.table(devices.DEFAULT), path)
    except UserError as error:
        print(f"m2t_fast.ops.triton.tune: {error}; name a file with --output", file=sys.stderr)
        return 2

    def measure(call: Callable[[], Any]) -> float:
        return float(do_bench(call, warmup=10, rep=40, return_mode="median"))

    tune(measure, arguments.budget, lambda table: write(table, path))
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
