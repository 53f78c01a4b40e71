"""Captions of any number of motion files: windows of files, batched by length, every batch safe once it is written."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from m2t_fast.captioning.journal import Journal, Part
from m2t_fast.captioning.made import MADE, is_made, note_made
from m2t_fast.captioning.manifest import names_of, write_manifest
from m2t_fast.captioning.padding import padded_batches
from m2t_fast.captioning.pipeline import generate_batches
from m2t_fast.captioning.trust import Judge
from m2t_fast.data.preprocessing import downsample
from m2t_fast.distributed import ALONE, Processes
from m2t_fast.errors import UserError
from m2t_fast.files import atomic_path, remove_folder, require_own, resolved, write_text
from m2t_fast.journals import lines_of
from m2t_fast.locks import LOCK, locked_folder
from m2t_fast.motion.options import MotionOptions
from m2t_fast.motion.read import read_motions, units_of
from m2t_fast.ops.decoding.result import Generation
from m2t_fast.progress import Progress
from m2t_fast.reading import Malformed, Unreadable, open_regular, parse_json, read_text, shown
from m2t_fast.run_folder import Run
from m2t_fast.signals import stop_on_signals
from m2t_fast.wording import counted

FORMAT = "m2t_fast captions"
FILES, SETTINGS = "files.jsonl", "job.json"
WINDOW = 1024
"""Most motions that are read, sorted by length and captioned together."""

_SETTINGS = {"identity": {str: Any}, "base": str, "count": int, "window": int}
_FRAMES = 256  # a batch has at most this many times its size in kept frames, padding included: bounds its memory
_MEETING = 4  # windows after which processes wait for each other, so that a lost one is noticed
_SEVERAL = "several"  # of a file of several motions, in the journal: a record a motion
_SHOWN = 20  # reasons, and kinds of files, that a summary keeps


@dataclass
class Summary:
    """How a job ended.

    ``motions`` of the job in all, ``made`` captions by this call, in ``seconds``, ``doubted`` of them not to be
    trusted; ``left_out`` motions could not be read, the first of them for ``reasons``; ``assumed`` about the first
    kinds of files that this process met, with a file of each.
    """

    motions: int
    made: int = 0
    seconds: float = 0.0
    doubted: int = 0
    left_out: int = 0
    reasons: list[str] = field(default_factory=list)
    assumed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CaptionJob:
    """What to caption, and where the captions go.

    Args:
        source: see :func:`~m2t_fast.captioning.manifest.write_manifest`.
        output: the file to write; beside it, while the job runs, the folder ``OUTPUT.parts``.
        options: what is known about the files.
        search: arguments of :meth:`~m2t_fast.Captioner.generate`.
        batch_size: motions at a time.

    Raises:
        UserError: the output is not the name of a file.
    """

    source: Path
    output: Path
    options: MotionOptions = MotionOptions()
    search: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 64

    def __post_init__(self) -> None:
        if not self.output.name:
            raise UserError(f"{self.output}: is not the name of a file; expected one to write")

    @property
    def parts(self) -> Path:
        """The folder of the work under way."""
        return self.output.with_name(self.output.name + ".parts")

    @property
    def left_out(self) -> Path:
        """The file that lists the motions without a caption."""
        return self.output.with_name(f"{self.output.stem}.left_out.jsonl")


def caption_files(run: Run, job: CaptionJob, processes: Processes = ALONE, progress: bool = False) -> Summary:
    """Caption every motion of ``job.source`` and write one JSON object per motion, in their order, to ``job.output``:
    ``file`` (its name), ``caption``, ``score`` and ``trust`` (see :class:`~m2t_fast.captioning.trust.Trust`).

    Memory does not grow with the number of motions. The same call resumes after any interruption, also with another
    number of ``processes``, which must share the file system. A file of several motions has a line for each, called
    ``FILE#0``, ``FILE#1`` and so on. A file that cannot be read has no line; it is listed in
    ``job.left_out`` as ``file`` and ``error``.

    Raises:
        UserError: the output exists, or was begun with other files, weights or options; nothing to caption.
        KeyboardInterrupt: SIGINT or SIGTERM came; what was captioned is kept.
        JobError: another process has ended.
    """
    begun, stop = time.perf_counter(), threading.Event()
    with ExitStack() as stack, stop_on_signals(stop):
        held = list[Callable[[], None]]()
        processes.on_main(lambda: held.append(_begin(job, stack)))
        plan = processes.on_main(lambda: _Plan.of(run, job, processes.size))
        summary = Summary(plan.count)
        if plan.open:
            with Progress(plan.count, "captioning", shown=progress, done=plan.done) as bar:
                made = _Worker(run, job, plan, processes, summary, stop, bar).run()
            summary.made = sum(processes.gather(made))
            summary.doubted = sum(processes.gather(summary.doubted))
        left_out, reasons = processes.on_main(lambda: _finish(job, plan, held[0]))
        summary.left_out, summary.reasons = left_out, reasons
    summary.seconds = time.perf_counter() - begun
    return summary


def _begin(job: CaptionJob, stack: ExitStack) -> Callable[[], None]:
    """Locks the folder of the work; what is returned raises once that lock is lost."""
    if job.output.exists() and not job.parts.exists():
        raise _exists(job)
    require_own(job.parts)
    return stack.enter_context(locked_folder(job.parts))


def _exists(job: CaptionJob) -> UserError:
    return UserError(f"{job.output}: output file exists already")


@dataclass(frozen=True)
class _Plan:
    """What all processes must agree on: the files, and the windows in which something is left to do."""

    base: Path
    count: int
    window: int
    done: int
    open: list[int]
    journal: Journal

    @classmethod
    def of(cls, run: Run, job: CaptionJob, size: int) -> _Plan:
        """Begins the job or finds where it stands; on rank 0 alone."""
        settings = job.parts / SETTINGS
        identity = {"format": FORMAT, "source": str(resolved(job.source)), **_identity(run, job)}
        if job.output.exists():  # all that is missing is to tidy up
            if not settings.exists():  # another process has, or was killed at it: nobody knows for which job
                remove_folder(job.parts, [job.parts / MADE, job.parts / LOCK])
                raise _exists(job)
            _begun(job, identity)
            if not is_made(job.parts, job.output):
                raise _exists(job)
            count = sum(_lines(path) for path in (job.output, job.left_out))
            return cls(job.parts, count, WINDOW, count, [], Journal(job.parts, 0, WINDOW))
        if not settings.exists():
            if any(job.parts.glob("part-*.jsonl")):
                raise UserError(
                    f"{settings}: missing, but captions of its job are there; remove its folder to start again"
                )
            try:
                base, count = write_manifest(job.source, job.parts / FILES)
            except UserError:
                with suppress(OSError):
                    _remove_parts(job)
                raise
            # Small enough for all processes to have several, else as large as memory should hold.
            window = max(min(job.batch_size, WINDOW), min(WINDOW, -(-count // (4 * size))))
            content = {"identity": identity, "base": str(base), "count": count, "window": window}
            write_text(settings, json.dumps(content, indent=2) + "\n")
        base, count, window = _begun(job, identity)
        journal = Journal(job.parts, count, window)
        journal.scan()
        return cls(base, count, window, len(journal.done), journal.open_windows(), journal)


def _begun(job: CaptionJob, identity: dict[str, Any]) -> tuple[Path, int, int]:
    """The folder of the files, how many they are and the window, as the settings of the job in its folder have them.

    Raises:
        UserError: the settings are damaged or those of another job.
    """
    settings = job.parts / SETTINGS
    try:
        stored = parse_json(read_text(settings), _SETTINGS, surrogates=True)
        begun, base, count, window = (stored[name] for name in _SETTINGS)
        if count < 1 or not 1 <= window <= max(WINDOW, count):
            raise Malformed(f"{count} motions in windows of {window}")
    except (Malformed, Unreadable) as error:
        raise UserError(f"{settings}: damaged ({error}); remove its folder to start again") from None
    for name, value in identity.items():
        if begun.get(name) != value:
            text = f"{name} was {shown(begun.get(name))}, now it is {shown(value)}"
            raise UserError(f"{job.parts}: this job was begun differently ({text}); expected another --output")
    return Path(base), count, window


def _remove_parts(job: CaptionJob) -> None:
    """The settings go late: while they are there, another job does not take this one's output for its own."""
    patterns = ("part-*.jsonl", f".{FILES}.*.tmp", f".{SETTINGS}.*.tmp", f".{MADE}.*.tmp")
    made = [path for pattern in patterns for path in sorted(job.parts.glob(pattern)) if not path.is_dir()]
    remove_folder(job.parts, [*made, *(job.parts / name for name in (FILES, SETTINGS, MADE, LOCK))])


def _identity(run: Run, job: CaptionJob) -> dict[str, Any]:
    """What must be the same when a job is resumed, JSON-ready."""
    weights = 0
    for tensor in run.model.state_dict().values():
        weights = zlib.crc32(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data, weights)
    known = {
        name: zlib.crc32(value.tobytes()) if isinstance(value, np.ndarray) else value and str(value)
        for name, value in dataclasses.asdict(job.options).items()
    }
    return {"weights": weights, **job.search, **known}


class _File(NamedTuple):
    """A motion of a job: its place, its name, the frames (T, J, 3) that the model reads, and what speaks against it."""

    number: int
    name: str
    frames: Tensor
    doubts: list[str]


class _Worker:
    """This process's part of a job."""

    def __init__(
        self,
        run: Run,
        job: CaptionJob,
        plan: _Plan,
        processes: Processes,
        summary: Summary,
        stop: threading.Event,
        bar: Progress,
    ):
        self.captioner, self.job, self.plan, self.processes = run, job, plan, processes
        self.summary, self.stop, self.bar = summary, stop, bar
        self.units = units_of(run.statistics, run.skeleton)
        self.judge = Judge(run)

    def run(self) -> int:
        """Captions this process's windows, and returns how many captions it made."""
        job, plan, size = self.job, self.plan, self.processes.size
        own = plan.open[self.processes.rank :: size]
        windows = names_of(job.parts / FILES, plan.window, own)
        made = 0
        with Part(job.parts, self.processes.rank) as part:
            for turn in range(-(-len(plan.open) // size)):
                todo = [(n, name) for n, name in next(windows, []) if n not in plan.journal.done]
                read = self._readable(todo, part)
                made += sum(self._caption_several(motions, part) for motions in read if len(motions) > 1)
                files = [motions[0] for motions in read if len(motions) == 1]
                batches = padded_batches([file.frames for file in files], job.batch_size, job.batch_size * _FRAMES)
                for batch, found in generate_batches(self.captioner.model, batches, **job.search):
                    distances = self.judge.distances(self.captioner.model, batch)
                    part.append(self._records([files[row] for row in batch.index.tolist()], found, distances))
                    made += len(batch.index)
                    self._stop_if_asked()
                    self.bar.update(len(batch.index) * size)
                if turn % _MEETING == _MEETING - 1:
                    self.processes.any(False)
        return made

    def _caption_several(self, motions: list[_File], part: Part) -> int:
        """Captions a file of several motions, and writes all as one record, so that it is done as a whole or not."""
        job, said = self.job, dict[int, dict[str, Any]]()
        frames = [motion.frames for motion in motions]
        batches = padded_batches(frames, job.batch_size, job.batch_size * _FRAMES)
        for batch, found in generate_batches(self.captioner.model, batches, **job.search):
            rows, distances = batch.index.tolist(), self.judge.distances(self.captioner.model, batch)
            records = self._records([motions[row] for row in rows], found, distances)
            said |= dict(zip(rows, records, strict=True))
            self._stop_if_asked()
        ordered = [{name: value for name, value in said[row].items() if name != "number"} for row in sorted(said)]
        part.append([{"number": motions[0].number, "file": motions[0].name, "caption": "", _SEVERAL: ordered}])
        self.bar.update(self.processes.size)
        return len(motions)

    def _readable(self, todo: list[tuple[int, str]], part: Part) -> list[list[_File]]:
        """The motions that can be read, file by file; the files that cannot are written down."""
        files = []
        for number, name in todo:
            try:
                files.append([_File(number, *motion) for motion in self._read(name)])
            except Exception as error:  # whatever is wrong with one file among millions must not end the job
                text = str(error) if isinstance(error, UserError) else f"{name}: {type(error).__name__}: {error}"
                part.append([{"number": number, "file": name, "error": " ".join(text.split())}])
            self._stop_if_asked()
        return files

    def _read(self, name: str) -> list[tuple[str, Tensor, list[str]]]:
        """Of each motion of a file its name, the frames that the model reads, and what speaks against it."""
        run, assumed, found = self.captioner, self.summary.assumed, []
        for motion in read_motions(self.plan.base / name, run.skeleton, self.job.options, self.units):
            if len(assumed) < _SHOWN:
                assumed.setdefault("; ".join(motion.notes), name)
            frames = torch.from_numpy(run.statistics.apply(downsample(motion.joints, run.settings)))
            found.append((name + motion.label, frames, self.judge.look(motion.joints)))
        return found

    def _records(self, files: list[_File], found: Generation, distances: list[float | None]) -> list[dict[str, Any]]:
        vocabulary = self.captioner.vocabulary
        best, scores = found.tokens[:, 0], found.scores[:, 0].tolist()
        trust = [self.judge.verdict(f.doubts, d) for f, d in zip(files, distances, strict=True)]
        self.summary.doubted += sum(not one for one in trust)
        captions = zip(files, best, scores, trust, strict=True)
        return [
            {
                "number": file.number,
                "file": file.name,
                "caption": vocabulary.decode(tokens),
                "score": score,
                "trust": one.to_dict(),
            }
            for file, tokens, score, one in captions
        ]

    def _stop_if_asked(self) -> None:
        if self.stop.is_set():
            raise KeyboardInterrupt


def _finish(job: CaptionJob, plan: _Plan, held: Callable[[], None]) -> tuple[int, list[str]]:
    """Merges the parts into the output and removes them; how many motions were left out, and the first reasons.

    Raises:
        UserError: somebody has removed the parts, or some of them, or put another output there, meanwhile.
    """
    held()
    count, reasons = 0, list[str]()
    if job.output.exists():
        if not is_made(job.parts, job.output):
            raise _exists(job)
    else:
        plan.journal.scan()
        if (lost := plan.count - len(plan.journal.known)) > 0:
            raise UserError(f"{job.parts}: {counted(lost, 'motion')} removed meanwhile; the same command does the rest")
        job.left_out.unlink(missing_ok=True)  # of an earlier job
        # The output comes last: where it is, everything is.
        some = len(plan.journal.done) < plan.count
        for path, bad in ((job.left_out, True), (job.output, False))[not some :]:
            with (
                atomic_path(path) as temporary,
                open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file,
            ):
                for record in plan.journal.merged():
                    del record["number"]
                    if ("error" in record) == bad:
                        for line in record.get(_SEVERAL, [record]):
                            file.write(json.dumps(line, ensure_ascii=False) + "\n")
                if not bad:
                    file.flush()
                    os.fsync(file.fileno())  # some file systems set its time only then
                    note_made(job.parts, temporary)
    if job.left_out.exists():
        for _, line in lines_of(job.left_out):
            count += 1
            if len(reasons) < _SHOWN:
                try:
                    reasons.append(parse_json(line, {"error": str}, surrogates=True)["error"])
                except Malformed as error:
                    raise UserError(f"{job.left_out}: line {count}: {error}; remove it to start again") from None
    _remove_parts(job)
    return count, reasons


def _lines(path: Path) -> int:
    if not path.exists():
        return 0
    with open_regular(path) as file:
        return sum(1 for _ in file)
