"""``m2t-fast demo``: the whole system on generated motions, in a few minutes on two CPU cores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import options

if TYPE_CHECKING:
    from m2t_fast.data.dataset import MotionDataset, Prepared
    from m2t_fast.training.run_folder import Run

EPOCHS, MOTIONS, SHOWN = 8, 1500, 8
PICTURE = "attention.png"


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "demo",
        help="train on generated motions, caption unseen ones, draw the attention",
        description="Trains a small captioner on generated motions, captions motions it never saw, prints the captions "
        "beside references with BLEU, and draws the spatio-temporal attention map of one caption.",
    )
    parser.add_argument("--output", type=Path, default=Path("demo"), metavar="DIR", help="the run folder (%(default)s)")
    parser.add_argument(
        "--epochs", type=options.positive_int, default=EPOCHS, metavar="N", help="training epochs (%(default)s)"
    )
    parser.add_argument(
        "--motions",
        type=options.whole_number(30),
        default=MOTIONS,
        metavar="N",
        help="motions to generate (%(default)s), of which the short ones are used",
    )
    parser.add_argument(
        "--seed", type=options.whole_number(0), default=0, metavar="N", help="of motions and training (%(default)s)"
    )
    options.add_device(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    options.refuse_existing(args.output)
    from m2t_fast.data.dataset import load_data
    from m2t_fast.data.preprocessing import DataSettings
    from m2t_fast.evaluation.scores import evaluate, write_predictions
    from m2t_fast.interpretation.attention_map import require_matplotlib
    from m2t_fast.training.run_folder import load_run

    require_matplotlib()
    device = options.device(args.device)
    with options.backend(args.backend, device):
        # Short motions with short captions: twice as many training steps in the same time.
        settings = DataSettings(max_frames=110, max_tokens=13)
        data = load_data("synthetic", settings, seed=args.seed, synthetic_count=args.motions)
        counts = ", ".join(f"{split.motions:,} {name}" for name, split in data.splits.items())
        print(f"Generated motions: {counts}. Training on {device} for {args.epochs} epochs.", flush=True)
        _train(args, data, device)
        opened = load_run(args.output, device)
        test = data["test"]
        scores, records = evaluate(opened, test)
        write_predictions(args.output / "predictions.jsonl", records)
        print("\nCaptions of motions it never saw:\n")
        for record in records[:SHOWN]:
            print(f"  caption    {record['prediction']}")
            print(f"  reference  {record['references'][0]}\n")
        print(f"All {test.motions} test motions: BLEU-1 {scores['bleu_1']:.1f}, BLEU-4 {scores['bleu_4']:.1f}\n")
        number = _choose(test, records)
        _draw(args.output / PICTURE, opened, test, number)
    print(f"Run folder          {args.output}")
    print(f"Predictions         {args.output / 'predictions.jsonl'}")
    print(f"Attention map       {args.output / PICTURE} (of: {records[number]['prediction']})")
    return 0


def _train(args: argparse.Namespace, data: Prepared, device: Any) -> None:
    from m2t_fast.config import CaptionerConfig
    from m2t_fast.training.loop import train
    from m2t_fast.training.settings import TrainingSettings

    sizes = dict(part_dim=64, attention_dim=64, hidden_size=64, embedding_dim=64, dropout=0.2)
    config = CaptionerConfig(len(data.vocabulary), joints=data.skeleton.joints, **sizes)
    settings = TrainingSettings(epochs=args.epochs, seed=args.seed, learning_rate=3e-3)
    train(data, config, settings, args.output, device)


def _choose(test: MotionDataset, records: list[dict[str, Any]]) -> int:
    """The motion to draw: of those with two actions or more, the one whose caption the model is surest of."""
    actions = [len(segments or ()) for segments in test.segments or [()] * test.motions]
    several = [number for number, count in enumerate(actions) if count > 1 and records[number]["prediction"]]
    return max(several or range(test.motions), key=lambda number: records[number]["score"])


def _draw(path: Path, opened: Run, test: MotionDataset, number: int) -> None:
    import torch

    from m2t_fast.data.batches import MotionBatch
    from m2t_fast.evaluation.captions import generate_batches
    from m2t_fast.interpretation.attention_map import save_attention_map
    from m2t_fast.interpretation.words import caption_words

    motion = test.motion(number)
    batch = MotionBatch(motion[None], torch.tensor([len(motion)]), torch.tensor([number]))
    _, found = next(generate_batches(opened.model, [batch], beam_size=1))
    words = caption_words(found, 0, len(motion), opened.vocabulary)
    save_attention_map(
        path,
        [word.word for word in words],
        [word.gate for word in words],
        torch.stack([word.window for word in words]),
        torch.stack([word.spatial for word in words]),
        fps=test.fps,
        reference=test.references[number][0],
        segments=(test.segments or [None] * test.motions)[number],
    )
