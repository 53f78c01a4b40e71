"""A run opened from Python: ``load_run(folder).caption(motion)``, captions as objects that print, draw and save."""

from __future__ import annotations

import dataclasses
import html
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Self, overload

import numpy as np
import torch

from m2t_fast import run_folder
from m2t_fast.captioning.familiarity import Familiarity, weights_digest
from m2t_fast.captioning.pipeline import Captioned, caption_joints
from m2t_fast.captioning.trust import Trust
from m2t_fast.captioning.words import WordAttention, seconds_of
from m2t_fast.errors import UserError
from m2t_fast.files import new_folder
from m2t_fast.hub import on_hub
from m2t_fast.interpretation.captioned import CaptionedMotion
from m2t_fast.interpretation.localisation import word_range
from m2t_fast.interpretation.page import render_page, save_page
from m2t_fast.motion.as_array import as_array
from m2t_fast.motion.kinds import motion_files, none_readable
from m2t_fast.motion.options import MotionOptions
from m2t_fast.motion.read import Motion, read_array, read_motions, units_of
from m2t_fast.motion.resample import resample
from m2t_fast.run_folder import Run
from m2t_fast.segmentation import Grid, segment_joints

Given = str | PathLike[str] | np.ndarray | torch.Tensor
"""A motion: a motion file, or an array of joints (T, J, 3) or of feature vectors (T, 263 or 251)."""


@dataclass(frozen=True)
class Word:
    """A word of a caption, and when and where in the motion the model looked to say it.

    ``gate``: how much of it comes from the motion, 0 to 1 (eq. 7). ``start`` and ``end``: seconds of the motion as
    given, mean -+ sqrt(3) standard deviations of the window (eq. 4), cut to the motion. ``parts``: weight of each body
    part by name; they sum to 1. ``mean`` and ``std``: of the window, in seconds, not cut.
    """

    text: str
    gate: float
    start: float
    end: float
    parts: dict[str, float]
    mean: float = math.nan
    std: float = math.nan


class Alternative(NamedTuple):
    """Another caption that the search found, with its score."""

    text: str
    score: float


@dataclass(frozen=True)
class Caption:
    """What a run says about a motion; ``str(caption)`` is its text, and a notebook shows it as a page.

    ``score``: log-probability / length ** length_penalty. ``alternatives``: the search's other captions, best first.
    ``name``: the motion's file, or "motion". ``notes``: what was assumed about it. ``motion``: the frames that the
    model read, in metres, with all of its attention. ``trust``: true unless the motion is too short, does not move or
    is far from the training data; with the distance and the reasons.
    """

    text: str
    score: float
    words: tuple[Word, ...]
    alternatives: tuple[Alternative, ...]
    name: str
    notes: tuple[str, ...]
    motion: CaptionedMotion = field(repr=False)
    trust: Trust = Trust()

    def __str__(self) -> str:
        return self.text

    def to_html(self, path: str | PathLike[str]) -> Path:
        """Write the motion, its caption and its attention as one self-contained page; an existing file is replaced.

        Raises:
            UserError: the file cannot be written.
        """
        return save_page(Path(path), [self.motion])

    def _repr_html_(self) -> str:
        page = html.escape(render_page([self.motion]), quote=True)
        return f'<iframe srcdoc="{page}" sandbox="allow-scripts" style="width:100%;height:640px;border:0"></iframe>'


@dataclass(frozen=True)
class Segment:
    """A stretch of a long take that one caption describes.

    ``start`` and ``end``: seconds of the take. ``score``: the expected intersection over union in time with a true
    segment, 0 to 1. ``words``: those of the caption, with times in seconds of the take. ``trust``: as of a
    :class:`Caption`. ``captions``: all that the search found, with their scores, best first.
    """

    start: float
    end: float
    caption: str
    score: float
    words: tuple[Word, ...]
    trust: Trust = Trust()
    captions: tuple[Alternative, ...] = ()

    def __str__(self) -> str:
        return f"{self.start:.2f}-{self.end:.2f} s: {self.caption}"


class CaptioningRun(Run):
    """A run folder, opened; besides what a :class:`~m2t_fast.run_folder.Run` holds it captions motions."""

    @classmethod
    def from_pretrained(cls, name: str | PathLike[str], device: str | torch.device = "cpu", **download: Any) -> Self:
        """Open a run folder, or download one from the Hugging Face Hub (extra ``hub``) and open it.

        Args:
            name: a folder, else "OWNER/REPOSITORY" on the Hub. download: options of its ``snapshot_download``.

        Raises:
            UserError: no run folder, a damaged one, or huggingface_hub is not installed.
        """
        if Path(name).is_dir():
            return cls(**vars(run_folder.load_run(Path(name), device)))
        return cls(**vars(run_folder.load_run(on_hub().from_pretrained(str(name), **download).folder, device)))

    def save_pretrained(self, folder: str | PathLike[str]) -> Path:
        """Write the run as a new run folder: configuration, vocabulary, weights, and what tells which captions are not
        to be trusted, if the weights are still those of the folder.

        Raises:
            UserError: the folder exists, or a weight is not finite.
        """
        path = Path(folder)
        if path.exists():
            raise UserError(f"{path}: exists already; choose another folder")
        with new_folder(path) as made:
            run_folder.write_run(
                made, self.model, self.vocabulary, self.statistics, self.settings, training=self.training
            )
            known = Familiarity.load(self.folder)
            if known is not None and weights_digest(made) == weights_digest(self.folder):
                known.save(made)
        return path

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the run folder with a model card to the Hugging Face Hub (extra ``hub``); returns the commit's URL.

        Args:
            repo_id: "OWNER/REPOSITORY", made where there is none. options: those of huggingface_hub's
                ``ModelHubMixin.push_to_hub`` (private, token, commit_message, ...).

        Raises:
            UserError: huggingface_hub is not installed, or a weight is not finite.
        """
        return str(on_hub()(self).push_to_hub(repo_id, **options))

    @overload
    def caption(self, motion: Given, **options: Any) -> Caption: ...

    @overload
    def caption(self, motion: Sequence[Given], **options: Any) -> list[Caption]: ...

    def caption(
        self,
        motion: Given | Sequence[Given],
        *,
        fps: float | None = None,
        options: MotionOptions | None = None,
        batch_size: int = 64,
        **search: Any,
    ) -> Caption | list[Caption]:
        """Caption a motion, or several.

        Args:
            motion: a motion file; an array of joints (T, J, 3) or feature vectors (T, 263 or 251); a folder of motion
                files; or a list of such.
            fps: frames per second (None: those of a .bvh file, else those of the run's data set).
            options: what else is known about the motions.
            batch_size: motions at a time.
            search: options of :meth:`m2t_fast.Captioner.generate`; beam_size is 2 unless given.

        Returns:
            for a file of one motion or an array its caption; else a list, in order. Files of a folder that cannot be
            read are left out with a warning.

        Raises:
            UserError: a motion cannot be read, or none of a folder. ValueError: an option is out of range.
        """
        known = options or MotionOptions()
        if fps is not None:
            known = dataclasses.replace(known, fps=fps)
        several = isinstance(motion, Sequence) and not isinstance(motion, str)
        given: list[Any] = list(motion) if several else [motion]  # type: ignore[arg-type]
        found = [pair for one in given for pair in self._read(one, known)]
        joints = [read.joints for _, read in found]
        captioned = caption_joints(self, joints, batch_size, **search)
        captions = [self._caption(name, read, said) for (name, read), said in zip(found, captioned, strict=True)]
        one = not several and len(captions) == 1 and not _is_folder(motion)
        return captions[0] if one else captions

    def segment(
        self,
        motion: Given,
        *,
        fps: float | None = None,
        options: MotionOptions | None = None,
        batch_size: int = 64,
        **search: Any,
    ) -> list[Segment]:
        """Cut a long take into segments, and caption each.

        Args:
            motion: a motion file that holds one motion, or an array as :meth:`caption` takes it.
            fps, options, batch_size, search: as in :meth:`caption`.

        Returns:
            segments that tile the take, in order; see :func:`m2t_fast.segmentation.segment_joints`.

        Raises:
            UserError: the motion cannot be read. ValueError: it holds several motions, or an option is out of range.
        """
        known = options or MotionOptions()
        if fps is not None:
            known = dataclasses.replace(known, fps=fps)
        if isinstance(motion, str | PathLike) and Path(motion).is_dir():
            raise ValueError(f"motion: {motion} is a folder, expected one motion")
        found = self._read(motion, known)
        if len(found) != 1:
            raise ValueError(f"motion: holds {len(found)} motions, expected one")
        return self._segments(found[0][1].joints, 0.0, batch_size, search)

    def stream(self, fps: float | None = None, batch_size: int = 64, **search: Any) -> Stream:
        """Segments of a motion that is still in progress: push frames as they come.

        Args:
            fps: of the frames (None: those of the run's data set).
            batch_size, search: as in :meth:`caption`.

        Raises:
            ValueError: fps is not positive and finite.
        """
        return Stream(self, fps or self.skeleton.fps, batch_size, search)

    def _segments(self, joints: np.ndarray, offset: float, batch_size: int, search: dict[str, Any]) -> list[Segment]:
        """Segments of joints at the run's frame rate, in its unit; ``offset`` seconds come before."""
        rate = self.skeleton.fps
        segments = []
        for found in segment_joints(self, joints, batch_size=batch_size, **search):
            said, frames, start = found.captioned, found.end - found.start, offset + found.start / rate
            words = tuple(self._word(word, frames, len(said.joints), start) for word in said.words)
            text, end = said.captions[0].caption, offset + found.end / rate
            captions = tuple(Alternative(each.caption, each.score) for each in said.captions)
            segments.append(Segment(start, end, text, found.confidence, words, said.trust, captions))
        return segments

    def _word(self, word: WordAttention, frames: int, kept: int, offset: float = 0.0) -> Word:
        """A word with its times: of a motion of ``frames`` frames, ``kept`` of which the model read."""
        rate = self.skeleton.fps
        span = word_range(word.mean, word.std, kept)
        start, end = (
            offset + min(max(seconds_of(frame, self.settings, rate, frames), 0.0), frames / rate)
            for frame in (span.start, span.end)
        )
        mean = offset + seconds_of(word.mean, self.settings, rate, frames)
        std = word.std * self.settings.downsample / rate
        return Word(word.word, word.gate, start, end, word.parts, mean, std)

    def _read(self, given: Given, options: MotionOptions) -> list[tuple[str, Motion]]:
        """The motions of a file, a folder or an array, each with its name."""
        units = units_of(self.statistics, self.skeleton)
        if isinstance(given, np.ndarray | torch.Tensor):
            joints, notes = read_array(as_array(given), self.skeleton, options, units)
            return [("motion", Motion(joints, notes))]
        if not isinstance(given, str | PathLike):
            kind = type(given).__name__
            raise TypeError(f"motion: got {kind}, expected a path, an array (T, J, 3), or a list of such")
        if not _is_folder(given):
            path = Path(given)
            return [(str(path) + motion.label, motion) for motion in read_motions(path, self.skeleton, options, units)]
        found, errors = list[tuple[str, Motion]](), list[str]()
        for path in motion_files(Path(given)):
            try:
                motions = read_motions(path, self.skeleton, options, units)
            except UserError as error:
                errors.append(str(error))
                continue
            found += [(str(path) + motion.label, motion) for motion in motions]
        if not found:
            raise UserError(f"{given}: {none_readable(errors)}")
        for text in errors:
            warnings.warn(f"left out: {text}", stacklevel=3)
        return found

    def _caption(self, name: str, read: Motion, said: Captioned) -> Caption:
        settings, fps = self.settings, self.skeleton.fps
        frames, kept = len(read.joints), len(said.joints)

        words = [self._word(word, frames, kept) for word in said.words]
        best, *others = said.captions
        joints = said.joints / units_of(self.statistics, self.skeleton)
        start = seconds_of(0, settings, fps, frames)
        alternatives = tuple(Alternative(other.caption, other.score) for other in others)
        motion = CaptionedMotion.of(
            name,
            joints,
            said.words,
            fps / settings.downsample,
            start,
            score=best.score,
            others=alternatives,
            doubts=said.trust.reasons,
        )
        notes = tuple(read.notes)
        return Caption(best.caption, best.score, tuple(words), alternatives, name, notes, motion, said.trust)


class Stream:
    """Segments of a motion whose frames come one after the other; made by :meth:`CaptioningRun.stream`.

    A segment is returned when later frames cannot change it any more: at most :attr:`delay` seconds after its end.
    What was returned is forgotten, so memory stays the same for hours.
    """

    def __init__(self, run: CaptioningRun, fps: float, batch_size: int, search: dict[str, Any]):
        if not 0.0 < fps < np.inf:
            raise ValueError(f"fps: got {fps!r}, expected frames per second above 0")
        self._run, self._fps, self._batch_size, self._search = run, fps, batch_size, search
        self._longest = Grid().longest
        self._frames = np.zeros((0, run.skeleton.joints, 3), np.float32)
        self._seen = 0.0  # seconds before the frames that are held

    @property
    def delay(self) -> float:
        """Seconds that may pass between the end of a segment and its return."""
        return 2 * self._longest

    def push(self, frames: np.ndarray | torch.Tensor) -> list[Segment]:
        """Takes frames (T, J, 3), or one (J, 3), in the run's unit, Y up; returns the segments that are certain now.

        Raises:
            ValueError: another shape, or coordinates that are not finite.
        """
        frames = np.asarray(as_array(frames), dtype=np.float32)
        frames = frames[None] if frames.ndim == 2 else frames
        if frames.shape[1:] != self._frames.shape[1:]:
            joints = self._frames.shape[1]
            raise ValueError(f"frames: got shape {frames.shape}, expected (T, {joints}, 3) or ({joints}, 3)")
        if not np.isfinite(frames).all():
            raise ValueError("frames: got NaN or infinite coordinates, expected finite numbers")
        self._frames = np.concatenate([self._frames, frames])
        found = list[Segment]()
        while len(self._frames) >= self.delay * self._fps:
            held, self._frames = self._frames, self._frames[: round(self.delay * self._fps)]
            segments = self._segments()
            # What ends a longest window before the frames do has been weighed against all that could follow.
            last = max(segments[0].end, self._seen + self.delay - self._longest)
            done = [segment for segment in segments if segment.end <= last]
            self._frames = held[round((done[-1].end - self._seen) * self._fps) :]
            self._seen = done[-1].end
            found += done
        if found:
            self._frames = self._frames.copy()  # a view would keep all frames that were given out
        return found

    def close(self) -> list[Segment]:
        """The segments of the frames that are left; further frames begin a new motion after them."""
        found = self._segments() if len(self._frames) else []
        self._seen += len(self._frames) / self._fps
        self._frames = self._frames[:0]
        return found

    def _segments(self) -> list[Segment]:
        joints = np.ascontiguousarray(resample(self._frames, self._fps, self._run.skeleton.fps), dtype=np.float32)
        return self._run._segments(joints, self._seen, self._batch_size, self._search)


def _is_folder(motion: object) -> bool:
    return isinstance(motion, str | PathLike) and Path(motion).is_dir()


def load_run(folder: str | Path, device: str | torch.device = "cpu") -> CaptioningRun:
    """Open a run folder with its best weights, in evaluation mode.

    Raises:
        UserError: not a run folder, or a file in it is missing, damaged or does not fit the others.
    """
    return CaptioningRun(**vars(run_folder.load_run(folder, device)))
