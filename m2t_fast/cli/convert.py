"""``m2t-fast convert``: the authors' released weights as a run folder."""

from __future__ import annotations

import argparse
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
        help="released weights to a run folder",
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
    from m2t_fast.data.dataset import load_data
    from m2t_fast.data.preprocessing import DataSettings
    from m2t_fast.training.run_folder import new_folder, write_run

    if args.data is None:
        raise UserError(
            "--data is missing: a released checkpoint holds no vocabulary, so it is rebuilt from the data set the "
            "checkpoint was trained on; give its folder with --data"
        )
    options.refuse_existing(args.output)
    model = released.load(args.checkpoint)
    joints = model.config.joints
    settings = DataSettings.kit() if joints == 21 else DataSettings.humanml3d()
    prepared = load_data(args.data, settings, joints=joints)
    if prepared.skeleton.joints != joints:
        raise UserError(
            f"{args.data}: motions have {prepared.skeleton.joints} joints, but {args.checkpoint} reads {joints}"
        )
    vocabulary = _matching_vocabulary(prepared, model.config.vocab_size, args.checkpoint)
    with new_folder(args.output) as folder:
        write_run(folder, model, vocabulary, prepared.statistics, settings, training=None)
    print(f"{args.output}: {prepared.skeleton.name} model, {joints} joints, vocabulary of {len(vocabulary):,} words")
    return 0


def _matching_vocabulary(prepared: Prepared, size: int, checkpoint: Path) -> Vocabulary:
    """The vocabulary of the training captions, or of those of all splits, whichever has ``size`` words."""
    from m2t_fast.data.vocabulary import Vocabulary

    if len(prepared.vocabulary) == size:
        return prepared.vocabulary
    captions = (text.split() for split in prepared.splits.values() for motion in split.references for text in motion)
    whole = Vocabulary.build(captions, prepared.settings.min_count)
    if len(whole) == size:
        return whole
    raise UserError(
        f"{prepared.source}: vocabulary of {len(prepared.vocabulary)} words ({len(whole)} with val and test), but "
        f"{checkpoint} has {size}: give the data set the checkpoint was trained on"
    )
