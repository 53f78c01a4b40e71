"""Options that several commands share, and their checks."""

from __future__ import annotations

import argparse
import dataclasses
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2t_fast.config import MAX_LENGTH, SEARCHES
from m2t_fast.errors import UserError

if TYPE_CHECKING:
    import torch

    from m2t_fast.data.dataset import MotionDataset
    from m2t_fast.distributed import Processes
    from m2t_fast.run_folder import Run


BOUNDS: dict[str, tuple[int, int]] = {
    "batch-size": (1, 65_536),
    "beam-size": (1, 1_024),
    "count": (1, 10**9),
    "epochs": (1, 10**6),
    "max-length": (1, 10_000),
    "motions": (30, 10**6),
    "runs": (1, 10**6),
    "seed": (0, 2**64 - 1),
    "threads": (1, 4_096),
    "trials": (0, 10**5),
    "warmup-steps": (0, 10**9),
    "workers": (1, 1_024),
}
"""Bounds of every option that is a whole number; ``count`` is for frames, words, captions and the like."""


def whole_number(least: int, most: int = BOUNDS["count"][1]) -> Callable[[str], int]:
    """An argparse type: whole numbers from ``least`` to ``most``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            expected = f"a whole number of at least {least} and at most {most}"
            raise argparse.ArgumentTypeError(f"got {_short(text)}, expected {expected}")
        return value

    return parse


def bounded(name: str) -> Callable[[str], int]:
    """An argparse type: whole numbers within the bounds of an option of :data:`BOUNDS`."""
    return whole_number(*BOUNDS[name])


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


positive_int = bounded("count")


def beam_sizes(text: str) -> list[int]:
    """An argparse type: beam sizes, separated by commas, each once."""
    return list(dict.fromkeys(bounded("beam-size")(part) for part in text.split(",")))


def numbers(text: str) -> list[float]:
    """An argparse type: finite numbers of at least 0, separated by commas, each once."""
    return list(dict.fromkeys(number(0.0)(part) for part in text.split(",")))


def numbers_in_order(count: int) -> Callable[[str], list[float]]:
    """An argparse type: ``count`` finite numbers of at least 0, separated by commas."""

    def parse(text: str) -> list[float]:
        values = [number(0.0)(part) for part in text.split(",")]
        if len(values) != count:
            raise argparse.ArgumentTypeError(f"got {text!r}, expected {count} numbers separated by commas")
        return values

    return parse


def number(least: float = -math.inf, most: float = math.inf, above: bool = False) -> Callable[[str], float]:
    """An argparse type: finite numbers from ``least`` to ``most``; ``above`` excludes ``least`` itself."""
    expected = f"a number {'above' if above else 'of at least'} {least:g}"
    if most < math.inf:
        expected += f" and at most {most:g}"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and least <= value <= most) or (above and value == least):
            raise argparse.ArgumentTypeError(f"got {_short(text)}, expected {expected}")
        return value

    return parse


def path(text: str) -> Path:
    """An argparse type: what every option of the type Path takes; an empty text, as of a variable of the shell that is
    not set, would mean the current folder."""
    return Path(given(text))


def given(text: str) -> str:
    """An argparse type: the text of a path, which is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("got '', expected a path")
    return text


def training_dtype(text: str) -> str:
    """An argparse type: torch's name of a dtype to train in."""
    names = {"float32": "float32", "float64": "float64", "bf16": "bfloat16", "bfloat16": "bfloat16"}
    if text not in names:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected float32, float64 or bf16")
    return names[text]


def add_run(parser: argparse.ArgumentParser, needed: bool = True) -> None:
    """The argument RUN, which may be missing where it is not ``needed`` for everything that a command does."""
    said = "run folder that train or convert wrote"
    parser.add_argument("run_folder", metavar="RUN", type=Path, nargs=None if needed else "?", help=said)


def add_runs(parser: argparse.ArgumentParser) -> None:
    """The arguments RUN, one or several."""
    parser.add_argument(
        "run_folders", metavar="RUN", type=Path, nargs="+", help="run folders that train or convert wrote"
    )


def add_data(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """The option --data."""
    parser.add_argument(
        "--data",
        type=given,
        metavar="PATH|synthetic",
        required=required,
        help="data folder in HumanML3D's layout, or 'synthetic' for the built-in generator",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="stop at any fault in the splits that the command reads (info: all three), instead of leaving out, "
        "counting and listing what cannot be used",
    )


def add_split(parser: argparse.ArgumentParser) -> None:
    """The option --split."""
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="which split (%(default)s)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """The option --device; see :func:`device`."""
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda[:N]", help="where to compute (auto)")


def add_backend(parser: argparse.ArgumentParser) -> None:
    """The option --backend; see :func:`backend`."""
    parser.add_argument(
        "--backend",
        metavar="auto|reference|cpu|triton|cuda",
        help="kernels to use (the environment variable M2T_FAST_BACKEND, else auto: the fastest that can run)",
    )


def add_search(parser: argparse.ArgumentParser, beam_size: int, several: bool = False) -> None:
    """The options of caption search; see :func:`search_of`. With ``several`` --beam-size takes a list."""
    parser.add_argument(
        "--beam-size",
        type=beam_sizes if several else bounded("beam-size"),
        default=str(beam_size),
        metavar="K[,K...]" if several else "K",
        help=f"1: greedy search{'; with commas, each of several' if several else ''} (%(default)s)",
    )
    parser.add_argument(
        "--search",
        choices=SEARCHES,
        default="beam",
        help="search for beam sizes above 1: beam search, or the best-first search of the released code (%(default)s)",
    )
    parser.add_argument(
        "--max-length",
        type=bounded("max-length"),
        metavar="N",
        help=f"longest caption in words ({MAX_LENGTH}; best_first: as long as its queue allows, N cuts longer ones)",
    )
    parser.add_argument(
        "--length-penalty",
        type=number(0.0),
        default=1.0,
        metavar="X",
        help="scores are log-probabilities divided by the length of the caption to this power (%(default)s)",
    )
    parser.add_argument(
        "--force-gate",
        type=number(0.0, 1.0),
        metavar="X",
        help="use this gate at every word (1: the motion alone, 0: the language alone) in place of the model's own",
    )
    parser.add_argument(
        "--batch-size", type=bounded("batch-size"), default=64, metavar="B", help="motions at a time (%(default)s)"
    )


def search_of(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of ``Captioner.generate`` among the options that :func:`add_search` added.

    Raises:
        UserError: options of one search with the other.
    """
    names = ("beam_size", "max_length", "length_penalty", "force_gate", "search")
    found = {name: getattr(args, name) for name in names}
    if found["search"] == "beam" and found["max_length"] is None:
        found["max_length"] = MAX_LENGTH
    if found["search"] == "best_first" and found["length_penalty"] != 1.0:
        raise UserError(
            f"--length-penalty: got {found['length_penalty']:g}, but --search best_first scores by the mean "
            "log-probability: expected 1"
        )
    return found


def device(text: str, processes: Processes | None = None) -> torch.device:
    """The device named by --device; ``auto`` is the first CUDA device where there is one, else the CPU. Of several
    ``processes`` on a machine the first takes the first CUDA device, the second the second, and so on.

    Raises:
        UserError: no such device here, or one named for several processes.
    """
    import torch

    if not (match := re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", text)):
        raise UserError(f"--device: got {text!r}, expected auto, cpu, cuda or cuda:N")
    if text == "cpu" or (text == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        reason = "this build of torch has no CUDA" if torch.version.cuda is None else "no CUDA device is usable"
        raise UserError(f"--device {text}: not available here: {reason}")
    if match[1] and processes is not None and processes.size > 1:
        raise UserError(f"--device {text}: one device for {processes.size} processes; --device cuda gives each its own")
    index = int(match[1] or (processes.local_rank if processes is not None else 0))
    if index >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        if processes is not None and processes.size > 1:
            raise UserError(
                f"--device {text}: more processes on this machine than its {count} CUDA devices; expected "
                f"torchrun --nproc-per-node {count}, or --device cpu"
            )
        raise UserError(f"--device {text}: no such device, there are {count} CUDA devices")
    return torch.device("cuda", index)


@contextmanager
def backend(name: str | None, device: torch.device | None = None) -> Iterator[None]:
    """Run every op inside the block on the backend named by --backend, else by the environment, else the fastest.

    Raises:
        UserError: no such backend, or it cannot run here, or not on ``device``.
    """
    from m2t_fast.ops import registry

    source = f"environment variable {registry.VARIABLE}" if name is None else "--backend"
    name = registry.chosen_backend() if name is None else name
    if name != "auto":
        if name not in registry.BACKENDS:
            raise UserError(f"{source}: unknown backend {name!r}, expected one of {', '.join(registry.BACKENDS)}, auto")
        if (reason := registry.why_unavailable(name)) is not None:
            raise UserError(f"{source}: backend {name!r} cannot run here: {reason}")
        if device is not None and device.type not in registry.DEVICE_TYPES[name]:
            raise UserError(f"{source}: backend {name!r} does not run on {device.type} tensors")
    with registry.use_backend(name):
        yield


def load_splits(runs: list[Run], data: str, split: str, strict: bool = False) -> list[MotionDataset]:
    """The split as each run reads it, without the filters of training alone; runs that read it alike share one. With
    ``strict`` a folder with any fault is refused.

    Raises:
        UserError: a mistake in the folder, or its motions do not have a run's joints.
    """
    from m2t_fast.data.loading import load_data

    loaded: dict[Any, MotionDataset] = {}
    datasets = []
    for opened in runs:
        settings = dataclasses.replace(opened.settings, max_frames_train=None)  # a filter of training, not of the split
        key = (settings, opened.vocabulary, opened.statistics, opened.skeleton.joints)
        if key not in loaded:
            prepared = load_data(
                data,
                settings,
                vocabulary=opened.vocabulary,
                statistics=opened.statistics,
                splits=(split,),
                joints=opened.skeleton.joints,
                strict=strict,
            )
            if prepared.skeleton != opened.skeleton:
                raise UserError(
                    f"{data}: motions have {prepared.skeleton.joints} joints, but {opened.folder} reads "
                    f"{opened.skeleton.joints} ({opened.skeleton.name})"
                )
            loaded[key] = prepared[split]
        datasets.append(loaded[key])
    return datasets


def refuse_existing(folder: Path) -> None:
    """Raise now what would otherwise come to light after the work.

    Raises:
        UserError: the output folder exists.
    """
    from m2t_fast.files import require_new

    require_new(folder)


def own_files(asked: Mapping[str, Path], inputs: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """The options that name a file to write, each with its file.

    Raises:
        UserError: a file is one of ``inputs``, or another option's.
    """
    from m2t_fast.files import resolved

    taken = {resolved(path): str(path) for path in inputs}
    for name, path in asked.items():
        place = resolved(path)
        if place in taken:
            raise UserError(f"--{name} {path}: is also {taken[place]}, expected another file")
        taken[place] = f"the file of --{name}"
        yield name, path


def require_writable(path: Path) -> None:
    """Raise now what would otherwise come to light after the work.

    Raises:
        UserError: the output file could not be written.
    """
    from m2t_fast.files import why_not_replaceable

    try:
        if (reason := why_not_replaceable(path)) is not None:
            raise UserError(f"{path}: cannot write: {reason}")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror or error}") from None


@contextmanager
def option_errors() -> Iterator[None]:
    """Inside the block a ValueError is a mistake in an option: configurations are built from options inside it.

    Raises:
        UserError: for any ValueError.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(str(error)) from error
