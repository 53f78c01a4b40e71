"""``m2t-fast demo``: the whole system on generated motions, in a few minutes on two CPU cores."""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import options
from m2t_fast.wording import counted

if TYPE_CHECKING:
    import torch

    from m2t_fast.captioning.words import WordAttention
    from m2t_fast.data.dataset import MotionDataset, Prepared
    from m2t_fast.run_folder import Run

EPOCHS, MOTIONS, SHOWN = 10, 2500, 8
PICTURE, PREDICTIONS, PAGE = "attention.png", "predictions.jsonl", "captions.html"
ON_THE_PAGE = 24


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
        "--epochs", type=options.bounded("epochs"), default=EPOCHS, metavar="N", help="training epochs (%(default)s)"
    )
    parser.add_argument(
        "--motions",
        type=options.bounded("motions"),
        default=MOTIONS,
        metavar="N",
        help="motions to generate (%(default)s); the shorter ones are used",
    )
    parser.add_argument(
        "--seed",
        type=options.bounded("seed"),
        default=0,
        metavar="N",
        help="seed of motions and training (%(default)s)",
    )
    options.add_device(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast.data.loading import load_data
    from m2t_fast.data.preprocessing import DataSettings
    from m2t_fast.evaluation.scores import evaluate, write_predictions
    from m2t_fast.interpretation.attention_map import require_matplotlib
    from m2t_fast.run_folder import load_run

    options.refuse_existing(args.output)
    require_matplotlib()
    device = options.device(args.device)
    with options.backend(args.backend, device), _one_thread():
        # Without the longest motions, which cost most, more epochs fit in the same time.
        settings = DataSettings(max_frames=130, max_tokens=15)
        data = load_data("synthetic", settings, seed=args.seed, synthetic_count=args.motions)
        counts = ", ".join(f"{split.motions:,} {name}" for name, split in data.splits.items())
        print(f"Generated motions: {counts}. Training {args.epochs} epochs on {device}.", flush=True)
        _train(args, data, device)
        opened = load_run(args.output, device)
        test = data["test"]
        scores, records = evaluate(opened, test)
        write_predictions(args.output / PREDICTIONS, records)
        measured = _measured(opened, test)
        number = _choose(test, records)
        _write_page(args.output / PAGE, opened, test, number)
        if number is not None:
            _draw(args.output / PICTURE, opened, test, number)
    print("\nCaptions of motions it never saw:\n")
    for record in records[:SHOWN]:
        print(f"  caption    {record['prediction']}")
        print(f"  reference  {record['references'][0]}\n")
    print(f"All {counted(test.motions, 'test motion')}: BLEU-1 {scores['bleu_1']:.1f}, BLEU-4 {scores['bleu_4']:.1f}")
    print(f"{measured}\n")
    print(f"Open this      {args.output / PAGE}: the captions on moving skeletons, in any browser")
    if number is None:
        print("Attention map  none: every caption is empty, train for more epochs")
    else:
        print(f'Attention map  {args.output / PICTURE}, of "{records[number]["prediction"]}"')
    print(f"Predictions    {args.output / PREDICTIONS}")
    print(f"Run folder     {args.output}")
    return 0


@contextmanager
def _one_thread() -> Iterator[None]:
    """A model this small gains next to nothing from a second thread, and on busy cores threads that wait for one
    another make a step many times slower."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _train(args: argparse.Namespace, data: Prepared, device: torch.device) -> None:
    from m2t_fast.config import CaptionerConfig
    from m2t_fast.training.loop import train
    from m2t_fast.training.settings import TrainingSettings

    config = CaptionerConfig(
        len(data.vocabulary),
        joints=data.skeleton.joints,
        part_dim=64,
        attention_dim=64,
        hidden_size=128,
        embedding_dim=64,
        scoring="frame",  # one key per frame instead of six: a third of the time
        dropout=0.1,
    )
    settings = TrainingSettings(
        epochs=args.epochs, batch_size=32, seed=args.seed, learning_rate=3e-3, teacher_forcing=0.9
    )
    train(data, config, settings, args.output, device)


def _measured(opened: Run, test: MotionDataset) -> str:
    """How often gate and body part are right over the whole split, not just the motion that is drawn."""
    from m2t_fast.interpretation.localisation import measure
    from m2t_fast.interpretation.motion_words import MOTION_WORD
    from m2t_fast.interpretation.statistics import MOTION, NO_MOTION, generated_words

    records = generated_words(opened.model, test, opened.vocabulary)
    told = [record for record in records if record.kind in (MOTION, NO_MOTION)]
    parts = measure(records, test, references=False)["parts"]
    if not told or parts["accuracy"] is None:
        return "Gate and body parts: no word to measure them by"
    right = sum((record.gate >= MOTION_WORD) == (record.kind == MOTION) for record in told)
    return (
        f"Gate on the right side for {right / len(told):.0%} of {len(told):,} words; body part right for "
        f"{parts['accuracy']:.0%} of {parts['words']:,} words that name an action (a guess: {parts['chance']:.0%})"
    )


def _choose(test: MotionDataset, records: list[dict[str, Any]]) -> int | None:
    """The motion to draw: of those with two actions or more, the one whose caption agrees best with its references
    (BLEU-4, and among equals the one with the highest score); None where every caption is empty."""
    from m2t_fast.metrics import score

    def agreement(number: int) -> tuple[float, float]:
        record = records[number]
        return score([record["prediction"]], [record["references"]])["bleu_4"], record["score"]

    captioned = [number for number in range(test.motions) if records[number]["prediction"]]
    several = [number for number in captioned if test.segments and len(test.segments[number] or ()) > 1]
    return max(several or captioned, key=agreement, default=None)


def _explain(opened: Run, test: MotionDataset, number: int) -> list[WordAttention]:
    """The words of a motion's caption, with what the model looked at."""
    import torch

    from m2t_fast.captioning.pipeline import generate_batches
    from m2t_fast.captioning.words import caption_words
    from m2t_fast.data.batches import MotionBatch

    motion = test.motion(number)
    lengths, index = (torch.tensor([x], device="cpu") for x in (len(motion), number))
    batch = MotionBatch(motion[None], lengths, index)
    _, found = next(generate_batches(opened.model, [batch], beam_size=1))
    return caption_words(found, 0, len(motion), opened.vocabulary)


def _write_page(path: Path, opened: Run, test: MotionDataset, first: int | None) -> None:
    """The motion to draw, if any, and those after it in the split."""
    from m2t_fast.interpretation.captioned import CaptionedMotion
    from m2t_fast.interpretation.page import save_page

    start = first or 0
    motions = []
    for number in [place % test.motions for place in range(start, start + min(ON_THE_PAGE, test.motions))]:
        joints = opened.statistics.invert(test.motion(number)).numpy()
        words, reference = _explain(opened, test, number), test.references[number][0]
        name = test.ids[number]
        motions.append(CaptionedMotion.of(name, joints, words, test.fps, test.start, reference=reference))
    about = (
        f"Run {opened.folder} \u00b7 generated motions it was not trained on \u00b7 {datetime.date.today().isoformat()}"
    )
    save_page(path, motions, about=about)


def _draw(path: Path, opened: Run, test: MotionDataset, number: int) -> None:
    import torch

    from m2t_fast.interpretation.attention_map import save_attention_map

    words = _explain(opened, test, number)
    save_attention_map(
        path,
        [word.word for word in words],
        [word.gate for word in words],
        torch.stack([word.window for word in words]),
        torch.stack([word.spatial for word in words]),
        fps=test.fps,
        start=test.start,
        reference=test.references[number][0],
        segments=test.segments[number] if test.segments else None,
        max_words=None,
    )
