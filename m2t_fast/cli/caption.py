"""``m2t-fast caption``: captions of motion files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import caption_many, motion_files, options, pictures

if TYPE_CHECKING:
    import numpy as np
    import torch

    from m2t_fast.cli.motion_files import MotionFile
    from m2t_fast.data.batches import MotionBatch
    from m2t_fast.evaluation.captions import Hypothesis
    from m2t_fast.interpretation.words import WordAttention
    from m2t_fast.run_folder import Run


SOME_LEFT_OUT = 3
"""Exit code: captions were made, but not of every file."""


@dataclass(frozen=True)
class _Captioned:
    """A motion with its captions and what the model looked at.

    ``file``: the motion at the skeleton's frame rate; ``joints`` (T, J, 3) float32, the kept frames that the model saw,
    absolute, in metres, Y up; ``captions`` best first; ``words`` of the best one.
    """

    file: MotionFile
    joints: np.ndarray
    captions: list[Hypothesis]
    words: list[WordAttention]


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "caption",
        help="caption motion files",
        description="Prints one caption a motion, in the order given; of a folder a table, a file a line: name, tab, "
        "caption. One of several files that cannot be read is left out and listed on stderr at the end, exit code 3. "
        "With --data and --output any number of motions goes to a file, also in several processes.",
    )
    options.add_run(parser)
    motion_files.add_arguments(parser)
    caption_many.add_arguments(parser)
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
    from m2t_fast.run_folder import load_run

    if caption_many.asked(args):
        return caption_many.run(args, SOME_LEFT_OUT)
    if pictures.asked(args):
        pictures.check(args, motion_files.inputs(args))
    device = options.device(args.device)
    with options.backend(args.backend, device):
        opened = load_run(args.run_folder, device)
        files, skipped = motion_files.read_all(args, opened)
        captioned = _caption(files, opened, args)
    pictures.write(args, [pictures.item(m.file.path, m.joints, m.words, opened, len(m.file.joints)) for m in captioned])
    table = any(path.is_dir() for path in args.motions) or any(m.name != str(m.path) for m in files)
    for motion in captioned:
        if args.json:
            print(json.dumps(_describe(motion, opened), ensure_ascii=False))
        else:
            caption = motion.captions[0].caption
            print(f"{motion.file.name}\t{caption}" if table else caption)
    motion_files.report_skipped(skipped, len(files))
    return SOME_LEFT_OUT if skipped else 0


def _caption(files: list[MotionFile], opened: Run, args: argparse.Namespace) -> list[_Captioned]:
    """Captions of all motions, in their order."""
    import torch

    from m2t_fast.data.preprocessing import downsample
    from m2t_fast.evaluation.captions import generate_batches, hypotheses_of
    from m2t_fast.interpretation.words import caption_words

    kept = [downsample(file.joints, opened.settings) for file in files]
    batches = _batches([torch.from_numpy(opened.statistics.apply(joints)) for joints in kept], args.batch_size)
    captioned: dict[int, _Captioned] = {}
    for batch, found in generate_batches(opened.model, batches, **options.search_of(args)):
        for row, index in enumerate(batch.index.tolist()):
            captioned[index] = _Captioned(
                files[index],
                kept[index] / files[index].units_per_metre,
                hypotheses_of(found, row, opened.vocabulary),
                caption_words(found, row, int(batch.lengths[row]), opened.vocabulary),
            )
    return [captioned[index] for index in range(len(files))]


def _batches(motions: list[torch.Tensor], batch_size: int) -> Iterator[MotionBatch]:
    """Motions of similar length together; ``index`` is the place in ``motions``."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from m2t_fast.data.batches import MotionBatch

    lengths = torch.tensor([len(motion) for motion in motions])
    for index in torch.argsort(lengths, stable=True).split(batch_size):
        padded = pad_sequence([motions[number] for number in index.tolist()], batch_first=True)
        yield MotionBatch(padded, lengths[index], index)


def _describe(motion: _Captioned, opened: Run) -> dict[str, Any]:
    """What --json prints of a motion."""
    from m2t_fast.interpretation.words import seconds_of

    fps, settings, frames = opened.skeleton.fps, opened.settings, len(motion.file.joints)
    return {
        "file": str(motion.file.path),
        "caption": motion.captions[0].caption,
        "score": motion.captions[0].score,
        "captions": [hypothesis._asdict() for hypothesis in motion.captions],
        "words": [
            {
                "word": word.word,
                "gate": word.gate,
                "mean": seconds_of(word.mean, settings, fps, frames),
                "std": word.std * settings.downsample / fps,
                "parts": word.parts,
            }
            for word in motion.words
        ],
    }
