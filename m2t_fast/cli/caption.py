"""``m2t-fast caption``: captions of motion files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import options, pictures
from m2t_fast.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from m2t_fast.data.batches import MotionBatch
    from m2t_fast.evaluation.captions import Hypothesis
    from m2t_fast.interpretation.captioned import CaptionedMotion
    from m2t_fast.interpretation.words import WordAttention
    from m2t_fast.training.run_folder import Run


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "caption",
        help="caption motion files",
        description="Prints one caption a motion, in the order given. A motion is a .npy file (frames, joints, 3) in "
        "metres, Y up, at the skeleton's own rate (22 joints: 20 frames per second, 21 joints: 12.5).",
    )
    options.add_run(parser)
    parser.add_argument("motions", metavar="MOTION.npy", type=Path, nargs="+", help="motion files")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print a JSON object a motion: the K captions with their scores, and for each word of the best one its "
        "gate, when (mean and std in seconds of the file) and the weights of the body parts",
    )
    pictures.add_arguments(parser)
    options.add_search(parser, beam_size=2)
    options.add_device(parser)
    options.add_backend(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast.data.preprocessing import downsample
    from m2t_fast.evaluation.captions import generate_batches, hypotheses_of
    from m2t_fast.interpretation.words import caption_words
    from m2t_fast.training.run_folder import load_run

    pictures.check(args, args.motions)
    device = options.device(args.device)
    with options.backend(args.backend, device):
        opened = load_run(args.run_folder, device)
        motions = [_read(path, opened) for path in args.motions]
        lines = [""] * len(motions)
        items: dict[int, CaptionedMotion] = {}
        batches = _batches([_prepare(joints, opened) for joints in motions], args.batch_size)
        for batch, found in generate_batches(opened.model, batches, **options.search_of(args)):
            for row, index in enumerate(batch.index.tolist()):
                captions = hypotheses_of(found, row, opened.vocabulary)
                words = caption_words(found, row, int(batch.lengths[row]), opened.vocabulary)
                if pictures.asked(args):
                    joints = downsample(motions[index], opened.settings)
                    items[index] = pictures.item(args.motions[index], joints, words, opened, len(motions[index]))
                if args.json:
                    content = _describe(args.motions[index], captions, words, opened, len(motions[index]))
                    lines[index] = json.dumps(content, ensure_ascii=False)
                else:
                    lines[index] = captions[0].caption
    pictures.write(args, [items[index] for index in sorted(items)])
    for line in lines:
        print(line)
    return 0


def _read(path: Path, opened: Run) -> np.ndarray:
    from m2t_fast.data.folder import read_motion

    joints = read_motion(path)
    if joints.shape[1] != opened.skeleton.joints:
        raise UserError(
            f"{path}: {joints.shape[1]} joints, but {opened.folder} reads {opened.skeleton.joints} "
            f"({opened.skeleton.name})"
        )
    return joints


def _prepare(joints: np.ndarray, opened: Run) -> torch.Tensor:
    """Kept frames (T, J, 3), standardised, of a motion as distributed."""
    import torch

    from m2t_fast.data.preprocessing import downsample

    return torch.from_numpy(opened.statistics.apply(downsample(joints, opened.settings)))


def _batches(motions: list[torch.Tensor], batch_size: int) -> Iterator[MotionBatch]:
    """Motions of similar length together; ``index`` is the place in ``motions``."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from m2t_fast.data.batches import MotionBatch

    lengths = torch.tensor([len(motion) for motion in motions])
    for index in torch.argsort(lengths, stable=True).split(batch_size):
        padded = pad_sequence([motions[number] for number in index.tolist()], batch_first=True)
        yield MotionBatch(padded, lengths[index], index)


def _describe(
    path: Path, captions: list[Hypothesis], words: list[WordAttention], opened: Run, frames: int
) -> dict[str, Any]:
    """What --json prints of a motion of ``frames`` frames."""
    from m2t_fast.interpretation.words import seconds_of

    fps, settings = opened.skeleton.fps, opened.settings
    return {
        "file": str(path),
        "caption": captions[0].caption,
        "score": captions[0].score,
        "captions": [hypothesis._asdict() for hypothesis in captions],
        "words": [
            {
                "word": word.word,
                "gate": word.gate,
                "mean": seconds_of(word.mean, settings, fps, frames),
                "std": word.std * settings.downsample / fps,
                "parts": word.parts,
            }
            for word in words
        ],
    }
