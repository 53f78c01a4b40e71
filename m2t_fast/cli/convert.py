"""``m2t-fast convert``: the authors' released weights as a run folder."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.cli import options
from m2t_fast.errors import UserError

if TYPE_CHECKING:
    from m2t_fast.data.dataset import Prepared
    from m2t_fast.data.vocabulary import Vocabulary


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "convert",
        help="turn released weights into a run folder",
        description="Turns a checkpoint of the authors' released code into a run folder. The checkpoint holds no "
        "vocabulary: it is rebuilt from the data set the checkpoint was trained on.",
    )
    parser.add_argument("checkpoint", metavar="RELEASED.pt", type=Path, help="the authors' checkpoint")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the run folder to write")
    options.add_data(parser, required=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast import released
    from m2t_fast.files import new_folder
    from m2t_fast.run_folder import write_run

    if args.data is None:
        raise UserError(
            "--data is missing: a released checkpoint holds no vocabulary, so it is rebuilt from the data set the "
            "checkpoint was trained on; give its folder with --data"
        )
    options.refuse_existing(args.output)
    model = released.load(args.checkpoint)
    joints = model.config.joints
    prepared, vocabulary = _matching_data(args, joints, model.config.vocab_size)
    with new_folder(args.output) as folder:
        write_run(folder, model, vocabulary, prepared.statistics, prepared.settings, training=None)
    print(f"{args.output}: {prepared.skeleton.name} model, {joints} joints, vocabulary of {len(vocabulary):,} words")
    return 0


def _matching_data(args: argparse.Namespace, joints: int, size: int) -> tuple[Prepared, Vocabulary]:
    """The data set, and the vocabulary of ``size`` words that its captions give.

    No checkpoint says which captions its words were counted in: those of the training split or of all splits, with
    the released filters or without. Any that gives the size is taken, in this order.
    """
    from m2t_fast.data.loading import load_data
    from m2t_fast.data.preprocessing import DataSettings
    from m2t_fast.data.vocabulary import Vocabulary

    source, checkpoint = args.data, args.checkpoint
    released = DataSettings.kit() if joints == 21 else DataSettings.humanml3d()
    everything = load_data(source, DataSettings(), joints=joints, strict=args.strict)
    if everything.skeleton.joints != joints:
        raise UserError(f"{source}: motions have {everything.skeleton.joints} joints, but {checkpoint} reads {joints}")
    candidates = [everything]
    with suppress(UserError):  # the released filters may leave nothing of a small data set
        candidates.insert(0, load_data(source, released, joints=joints))
    sizes = []
    for prepared in candidates:
        captions = (text.split() for split in prepared.splits.values() for texts in split.references for text in texts)
        for vocabulary in (prepared.vocabulary, Vocabulary.build(captions, prepared.settings.min_count)):
            if len(vocabulary) == size:
                return prepared, vocabulary
            sizes.append(len(vocabulary))
    raise UserError(
        f"{source}: vocabulary of {sizes[0]} words ({sizes[1]} with val and test), but {checkpoint} has {size}: "
        f"give the data set the checkpoint was trained on"
    )
