"""``caption RUN - --fps N``: segments of a motion that comes through a pipe, each printed when it is certain."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from m2t_fast.cli import options
from m2t_fast.cli.segments import record
from m2t_fast.errors import UserError
from m2t_fast.wording import counted

if TYPE_CHECKING:
    import numpy as np

    from m2t_fast.inference import Segment

PIPE = Path("-")

_LONGEST = 1 << 16  # characters of a line, of 66 numbers
_TOGETHER = 1000  # frames that are read at a time, at most


def asked(args: argparse.Namespace) -> bool:
    """Whether one of the motions is a pipe.

    Raises:
        UserError: it is not the only one, or an option does not go with it.
    """
    if PIPE not in args.motions:
        return False
    if len(args.motions) > 1:
        raise UserError(f"-: got {counted(len(args.motions), 'motion')}, expected the pipe alone")
    if args.fps is None:
        raise UserError("-: frames from a pipe need --fps N, their number per second")
    for name in ("html", "gif", "mp4", "srt", "vtt", "csv", "eaf", "units", "up", "joints", "joint_map", "mean", "std"):
        if getattr(args, name) is not None:
            raise UserError(f"--{name.replace('_', '-')}: does not go with frames from a pipe")
    return True


def run(args: argparse.Namespace, lines: Iterable[str] | None = None) -> int:
    """Reads frames until the pipe ends, one per line: J x 3 numbers in the run's unit, Y up, separated by spaces or
    commas (brackets do not count). Prints a line per segment, as ``--segments`` does, at most 20 seconds after its end;
    with ``--json`` an object of the layout of a file's, with the segments that became certain together.

    Raises:
        UserError: a line is not a frame.
    """
    from m2t_fast.inference import load_run

    device = options.device(args.device)
    with options.backend(args.backend, device):
        opened = load_run(args.run_folder, device)
        stream = opened.stream(args.fps, args.batch_size, **options.search_of(args))
        together = min(round(args.fps), _TOGETHER)
        for frames in _frames(_lines(sys.stdin) if lines is None else lines, opened.skeleton.joints, together):
            _print(stream.push(frames), args.json)
        _print(stream.close(), args.json)
    return 0


def _lines(pipe: TextIO | None) -> Iterator[str]:
    """The lines of a pipe, which may hold no text and need not end a line."""
    if pipe is None:
        raise UserError("-: standard input is closed")
    for number in itertools.count(1):
        try:
            line = pipe.readline(_LONGEST)
        except UnicodeDecodeError:
            raise UserError(f"-: line {number} or one after it is not text, expected numbers") from None
        if len(line) == _LONGEST:
            raise UserError(f"-: line {number} is longer than {_LONGEST} characters, expected the numbers of a frame")
        if not line:
            return
        yield line


def _frames(lines: Iterable[str], joints: int, together: int) -> Iterator[np.ndarray]:
    """Frames (T, J, 3), about a second at a time: pushing each alone would copy everything held so far."""
    import numpy as np

    held: list[np.ndarray] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            frame = np.array(line.translate(_SPACES).split(), dtype=np.float32)
        except ValueError:
            raise UserError(f"-: line {number}: expected {3 * joints} numbers") from None
        if frame.size != 3 * joints or not np.isfinite(frame).all():
            raise UserError(f"-: line {number}: got {counted(frame.size, 'number')}, expected {3 * joints} finite ones")
        held.append(frame.reshape(joints, 3))
        if len(held) >= max(1, together):
            yield np.stack(held)
            held.clear()
    if held:
        yield np.stack(held)


_SPACES = str.maketrans(",;[]()\t", "       ")


def _print(segments: Sequence[Segment], as_json: bool) -> None:
    """What became certain: a line per segment, or one object in the layout of ``--segments --json``."""
    if as_json and segments:
        listed = [
            record(
                s.start,
                s.end,
                s.score,
                s.captions,
                [(w.text, w.gate, w.mean, w.std, w.parts) for w in s.words],
                s.trust,
            )
            for s in segments
        ]
        print(json.dumps({"file": str(PIPE), "segments": listed}, ensure_ascii=False), flush=True)
        return
    for found in segments:
        print(f"{found.start:.2f}\t{found.end:.2f}\t{found.score:.2f}\t{found.caption}", flush=True)
