"""Times every op on the cpu backend against plain PyTorch: medians of interleaved runs, ratios first.

    python benchmarks/ops_cpu.py [--sizes kit|humanml3d] [--runs N] [--threads N]

A result is compared with plain PyTorch's before it is timed. Processor time (all threads) stands beside wall time: on a
machine with other work its ratio is the steadier one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from m2t_fast import ops, reference, use_backend
from m2t_fast.config import CaptionerConfig
from m2t_fast.ops.cpu import launch

SIZES = {
    "kit": (CaptionerConfig.kit(vocab_size=1100), 64),
    "humanml3d": (CaptionerConfig.humanml3d(vocab_size=3200), 128),
}
FRAMES, WORDS = 100, 23


def training(function: Callable, inputs: list[Tensor], used: int, constant: int) -> Callable[[], list[Tensor]]:
    """Forward and backward pass through the first ``used`` outputs; the first ``constant`` inputs need no gradient."""
    leaves = [x.detach().requires_grad_(i >= constant and x.is_floating_point()) for i, x in enumerate(inputs)]
    wanted = [x for x in leaves if x.requires_grad]
    with torch.no_grad():
        outputs = function(*leaves)
    shapes = [o.shape for o in (outputs if isinstance(outputs, tuple) else (outputs,))[:used]]
    grads = [torch.randn(shape, generator=torch.Generator().manual_seed(1)) for shape in shapes]

    def run() -> list[Tensor]:
        outputs = function(*leaves)
        outputs = list(outputs if isinstance(outputs, tuple) else (outputs,))[:used]
        return [*(o.detach() for o in outputs), *torch.autograd.grad(outputs, wanted, grads)]

    return run


def cases(config: CaptionerConfig, batch: int) -> dict[str, tuple[str, list[Tensor], int, int, dict]]:
    """By title: op, inputs, how many outputs a training step uses, how many inputs are constant, other arguments."""
    g = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g)

    parts, dim, half = len(config.parts), config.attention_dim, config.part_dim // 2
    hidden, word, mixture = config.hidden_size, config.embedding_dim, config.mixture_dim
    lengths = torch.randint(20, FRAMES + 1, (batch,), generator=g)
    rows = 3 * sum(map(len, config.parts))
    found: dict[str, tuple[str, list[Tensor], int, int, dict]] = {}
    for mode, slots, weights in (("part", parts, 1), ("frame", 1, parts)):
        inputs = [
            torch.tanh(normal(batch, FRAMES, parts, config.part_dim)),
            normal(batch, FRAMES, slots, dim),
            normal(batch, FRAMES, slots, dim),
            normal(batch, WORDS, dim),
            normal(batch, WORDS, dim),
            normal(dim) / dim**0.5,
            normal(weights, dim) / dim**0.5,
            normal(weights),
            lengths,
        ]
        found[f"attention, {mode} scoring"] = ("spatio_temporal_attention", inputs, 3, 0, {})
    found["gated step"] = (
        "gated_decoder_step",
        [
            normal(batch, WORDS, config.part_dim),
            normal(batch, WORDS, hidden),
            normal(batch, WORDS, hidden),
            normal(batch, WORDS, word),
            normal(batch, WORDS, word),
            normal(hidden) / hidden**0.5,
            normal(word) / word**0.5,
            normal(),
            normal(dim, config.part_dim) / dim**0.5,
            normal(dim),
            normal(dim, hidden) / dim**0.5,
            normal(dim),
            normal(mixture, mixture) / mixture**0.5,
            normal(mixture),
        ],
        3,
        0,
        {},
    )
    found["encoder"] = (
        "part_encoder",
        [
            normal(batch, FRAMES, config.joints, 3),
            lengths,
            normal(2, rows, dim) / 4,
            normal(2, parts, dim),
            normal(2, parts, dim, half) / dim**0.5,
            normal(2, parts, half),
        ],
        1,
        1,
        dict(parts=config.parts),
    )
    return found


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of one call."""
    wall, processor = clocks()
    run()
    return clocks()[0] - wall, clocks()[1] - processor


def tanh_rate() -> float:
    """tanh a second on one thread in a bare loop of the kernels' tanh over a cached array: the ceiling."""
    x, bias = torch.randn(64, 256), torch.zeros(256)
    kernel = launch.kernel("bias_tanh", x.dtype)
    how = launch.how() | dict(threads=1)

    def run() -> None:
        for _ in range(200):
            kernel(x=x.data_ptr(), bias=bias.data_ptr(), rows=x.shape[0], columns=x.shape[1], **how)

    return 200 * x.numel() / min(timed(run)[1] for _ in range(20))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", choices=SIZES, default="humanml3d")
    parser.add_argument("--runs", type=int, default=3, help="timed runs of plain PyTorch; 3 of ours for each")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config, batch = SIZES[options.sizes]
    print(
        f"{options.sizes}: batch {batch}, {FRAMES} frames (20 to 100 valid), {WORDS} words, {options.threads} threads"
    )
    print(f"bare tanh loop: {tanh_rate():.2e} tanh/s a thread")
    for title, (name, inputs, used, constant, more) in cases(config, batch).items():

        def ours(*x: Tensor, name: str = name, more: dict = more) -> object:
            with use_backend("cpu"):
                return getattr(ops, name)(*x, **more)

        def plain(*x: Tensor, name: str = name, more: dict = more) -> object:
            return getattr(reference, name)(*x, **more)

        run_ours, run_plain = (training(way, inputs, used, constant) for way in (ours, plain))
        pairs = zip(run_ours(), run_plain(), strict=True)
        worst = max(float((a - b).abs().max() / b.abs().max().clamp(min=1)) for a, b in pairs)
        if not worst < 1e-3:
            print(f"{title}: WRONG, relative difference {worst:.1e} to plain PyTorch", file=sys.stderr)
            return 1
        times: dict[str, list[tuple[float, float]]] = {"ours": [], "plain": []}
        for _ in range(options.runs):
            times["plain"].append(timed(run_plain))
            times["ours"] += [timed(run_ours) for _ in range(3)]
        (wall, processor), (plain_wall, plain_processor) = (
            tuple(statistics.median(column) for column in zip(*times[key], strict=True)) for key in ("ours", "plain")
        )
        print(
            f"{title + ', forward + backward':40} {plain_wall / wall:5.1f}x wall {plain_processor / processor:5.1f}x "
            f"processor   {wall * 1e3:7.1f} ms against {plain_wall * 1e3:8.1f} ms"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
