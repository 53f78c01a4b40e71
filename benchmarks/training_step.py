"""Times a whole training step: word-by-word loop, plain PyTorch over all words at once, and each backend; ratios first.

    python benchmarks/training_step.py [--sizes kit|humanml3d] [--scoring part|frame] [--runs N] [--threads N]

Motions of 20 to 100 frames, captions of 8 to 24 tokens, teacher forcing 0.5, dropout; losses, backward, clipping and
AdamW included. Runs are interleaved and medians reported. A way whose loss differs from the loop's is not timed.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from unittest import mock

import torch

from m2t_fast import Captioner, CaptionerConfig, available_backends, reference, use_backend
from m2t_fast.data.batches import Batch
from m2t_fast.losses import guided_loss
from m2t_fast.ops import attention, encoder, gate
from m2t_fast.reference.stepwise import stepwise
from m2t_fast.training.loop import step_generator
from m2t_fast.training.settings import TrainingSettings

SIZES = {
    "kit": (CaptionerConfig.kit(vocab_size=1100), TrainingSettings.kit()),
    "humanml3d": (CaptionerConfig.humanml3d(vocab_size=3200), TrainingSettings.humanml3d(lambda_spat=2.0)),
}


def random_batch(config: CaptionerConfig, size: int) -> Batch:
    """B samples of random motions and captions with supervised words."""
    g = torch.Generator().manual_seed(0)
    lengths = torch.randint(20, 101, (size,), generator=g)
    words = torch.randint(8, 25, (size,), generator=g)
    lengths[0], words[0] = 100, 24
    tokens = torch.randint(4, config.vocab_size, (size, 24), generator=g)
    tokens[:, 0] = 1
    tokens[torch.arange(24) >= words[:, None]] = 0
    target = torch.randint(-1, 2, (size, 23), generator=g).float()
    spatial = torch.randint(-1, 2, (size, 23, 1), generator=g).float().expand(size, 23, len(config.parts))
    motion = torch.randn(size, 100, config.joints, 3, generator=g)
    return Batch(motion, lengths, tokens, target, spatial, torch.arange(size))


@contextlib.contextmanager
def plain_pytorch(config: CaptionerConfig) -> Iterator[None]:
    """The same model with every op replaced by its reference under autograd."""

    def part_encoder(*x: object) -> object:
        return reference.part_encoder(*x[:6], parts=config.parts)  # type: ignore[arg-type]

    with (
        mock.patch.object(attention, "unchecked", reference.spatio_temporal_attention),
        mock.patch.object(gate, "gated_decoder_step", reference.gated_decoder_step),
        mock.patch.object(encoder, "unchecked", part_encoder),
    ):
        yield


def step(model: Captioner, batch: Batch, settings: TrainingSettings, loop: bool) -> float:
    """One training step from fixed draws; its loss. The optimiser starts anew, so every call does the same work."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-9)
    draws = model.draw(*batch.gate_target.shape, settings.teacher_forcing, step_generator(0, 0))
    run: Callable = (lambda *x: stepwise(model, *x)) if loop else model.run
    out = run(batch.motion, batch.lengths, batch.tokens, draws)
    targets = (batch.gate_target, batch.spatial_target, settings.lambda_spat, settings.lambda_adapt)
    loss = guided_loss(out, batch.tokens, batch.lengths, *targets).total
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimizer.step()
    return float(loss.detach())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", choices=SIZES, default="kit")
    parser.add_argument("--scoring", choices=("part", "frame"), default="part")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sizes, settings = SIZES[options.sizes]
    config = CaptionerConfig.from_dict({**sizes.to_dict(), "scoring": options.scoring})
    torch.manual_seed(0)
    model = Captioner(config).train()
    batch = random_batch(config, settings.batch_size)
    ways: dict[str, Callable[[], contextlib.AbstractContextManager]] = {
        "word-by-word loop": contextlib.nullcontext,
        "plain PyTorch": lambda: plain_pytorch(config),
    }
    for name in available_backends():
        ways[f"backend {name}"] = lambda name=name: use_backend(name)  # type: ignore[misc]
    times: dict[str, list[float]] = {way: [] for way in ways}
    losses: dict[str, float] = {}
    for run in range(options.runs + 1):  # the first is a warm-up
        for way, context in ways.items():
            with context():
                started = time.perf_counter()
                losses[way] = step(model, batch, settings, loop=way == "word-by-word loop")
                if run:
                    times[way].append(time.perf_counter() - started)
    baseline = statistics.median(times["word-by-word loop"])
    truth = losses["word-by-word loop"]
    print(f"{options.sizes}, {options.scoring} scoring, batch {settings.batch_size}, {options.threads} threads")
    for way, seconds in times.items():
        if abs(losses[way] - truth) > 1e-4 * abs(truth):
            print(f"{way}: WRONG, loss {losses[way]} against {truth}", file=sys.stderr)
            return 1
        median = statistics.median(seconds)
        print(f"{baseline / median:6.1f}x  {median * 1e3:9.1f} ms a step  {way}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
