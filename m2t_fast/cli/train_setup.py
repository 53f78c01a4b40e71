"""What ``train`` trains: data, model, settings and dtype of a new run, of a fine-tuned one, and of a resumed one."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from m2t_fast.errors import UserError
from m2t_fast.training.recommended import recommend
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.wording import counted

if TYPE_CHECKING:
    from m2t_fast.config import CaptionerConfig
    from m2t_fast.data.dataset import Prepared
    from m2t_fast.distributed import Processes
    from m2t_fast.run_folder import Run

    Setup = tuple[Prepared, CaptionerConfig, TrainingSettings, str, list[str]]
    """Data, model, settings, the name of the dtype, and what to say about them."""

OPTIONS: tuple[str, ...] = (
    *("epochs", "batch_size", "lambda_spat", "lambda_adapt", "lambda_temp", "teacher_forcing", "seed"),
    *("learning_rate", "warmup_steps"),
)
"""Options that are fields of ``TrainingSettings``."""

LIMITS: tuple[str, ...] = ("min_frames", "max_frames", "max_tokens", "min_captions", "min_count")
"""Options that are fields of ``DataSettings``."""

_SHOWN = 8  # new words that are named
_UNLIKE_THE_RUN = "got {given}, but the run in {folder} has {own}; leave the option out, or train a new run"


def fresh(args: argparse.Namespace, processes: Processes) -> Setup:
    """Data, model, settings and dtype of a new run."""
    from m2t_fast.config import CaptionerConfig
    from m2t_fast.data.loading import load_data
    from m2t_fast.data.preprocessing import DataSettings

    given = {name: value for name in OPTIONS if (value := getattr(args, name)) is not None}
    limits = {name: value for name in LIMITS if (value := getattr(args, name)) is not None}
    data_settings = getattr(DataSettings, args.preset)(**limits) if args.preset else DataSettings(**limits)
    joints = 21 if args.preset == "kit" else 22
    data = processes.machine_by_machine(
        lambda: load_data(args.data, data_settings, splits=("train", "val"), joints=joints, strict=args.strict)
    )
    preset, own, said = _recommended(args, len(data["train"]))
    changes: dict[str, Any] = {"scoring": args.scoring} if args.scoring else {}
    config = getattr(CaptionerConfig, preset)(len(data.vocabulary), joints=data.skeleton.joints, **changes)
    return data, config, getattr(TrainingSettings, preset)(**{**own, **given}), args.dtype or "float32", said


def _recommended(args: argparse.Namespace, samples: int) -> tuple[str, dict[str, Any], list[str]]:
    """Whose settings to take, "kit" or "humanml3d", what to change in them, and what to print: the preset's, or those
    that fit this number of training samples."""
    if args.preset:
        return args.preset, {}, []
    chosen = recommend(samples)
    names = {"kit": "KIT-ML", "humanml3d": "HumanML3D"}
    said = f"settings like {names[chosen.preset]}'s: {chosen.why} (--preset and options change them)"
    return chosen.preset, chosen.training, [said]


def fine_tuned(args: argparse.Namespace, processes: Processes, run: Run) -> Setup:
    """Data, model, settings and dtype of a new run that begins with the weights of ``run``."""
    from m2t_fast.data.loading import load_data
    from m2t_fast.data.preprocessing import DataSettings
    from m2t_fast.training.finetuning import fine_tuning

    own_config = run.model.config
    if args.scoring not in (None, own_config.scoring):
        raise UserError(f"--scoring: got {args.scoring}, but {args.init} has {own_config.scoring}, which stays")
    given = {name: value for name in OPTIONS if (value := getattr(args, name)) is not None}
    limits = {name: value for name in LIMITS if (value := getattr(args, name)) is not None}
    rate = {"downsample": run.settings.downsample, "first_frame": run.settings.first_frame}
    data_settings = (getattr(DataSettings, args.preset) if args.preset else DataSettings)(**rate, **limits)
    data = processes.machine_by_machine(
        lambda: load_data(
            *(args.data, data_settings),
            vocabulary=run.vocabulary,
            statistics=run.statistics,
            splits=("train", "val"),
            joints=own_config.joints,
            strict=args.strict,
            grow=True,
        )
    )
    if data.skeleton.joints != own_config.joints:
        raise UserError(
            f"{args.data}: motions have {data.skeleton.joints} joints, but {args.init} reads {own_config.joints}"
        )
    samples = len(data["train"])
    preset, own, said = _recommended(args, samples)
    new = data.vocabulary.words[len(run.vocabulary) :]
    words = counted(len(new), "new word") + (f": {', '.join(new[:_SHOWN])}" if new else "")
    said.append(f"fine-tuning {args.init}; {words}{', ...' if len(new) > _SHOWN else ''}")
    settings: TrainingSettings = getattr(TrainingSettings, preset)(**{**own, **given})
    changes = fine_tuning(samples, settings)
    settings = dataclasses.replace(settings, **{name: value for name, value in changes.items() if name not in given})
    config = dataclasses.replace(own_config, vocab_size=len(data.vocabulary))
    return data, config, settings, args.dtype or "float32", said


def resumed(args: argparse.Namespace, processes: Processes) -> Setup:
    """Data, model, settings and dtype of the run in ``--output``; only --epochs may differ from it."""
    from m2t_fast.data.loading import load_data
    from m2t_fast.reading import shown
    from m2t_fast.run_folder import CONFIG, load_run
    from m2t_fast.training.step import DTYPES

    stored = processes.on_main(lambda: load_run(args.output))
    if stored.training is None:
        raise UserError(f"{args.output}: converted weights cannot be resumed")
    training = dict(stored.training)
    dtype = training.pop("dtype", None)
    path = args.output / CONFIG
    if not (isinstance(dtype, str) and dtype in DTYPES):
        raise UserError(f"{path}: training: dtype: got {shown(dtype)}, expected one of {', '.join(DTYPES)}")
    for name in ("data", "init"):
        training.pop(name, None)
    settings = TrainingSettings.from_dict(training, f"{path}: training: ")
    own = {**settings.to_dict(), **stored.settings.to_dict(), "scoring": stored.model.config.scoring, "dtype": dtype}
    for name in (*OPTIONS, *LIMITS, "scoring", "dtype"):
        given = getattr(args, name)
        if name != "epochs" and given is not None and given != own[name]:
            text = _UNLIKE_THE_RUN.format(given=given, folder=args.output, own=own[name])
            raise UserError(f"--{name.replace('_', '-')}: {text}")
    if args.epochs is not None:
        settings = dataclasses.replace(settings, epochs=args.epochs)
    data = processes.machine_by_machine(
        lambda: load_data(
            args.data,
            stored.settings,
            vocabulary=stored.vocabulary,
            statistics=stored.statistics,
            splits=("train", "val"),
            joints=stored.model.config.joints,
            strict=args.strict,
        )
    )
    own_joints = stored.model.config.joints
    if data.skeleton.joints != own_joints:
        raise UserError(
            f"{args.data}: motions have {data.skeleton.joints} joints, but {args.output} reads {own_joints}"
        )
    return data, stored.model.config, settings, dtype, []
