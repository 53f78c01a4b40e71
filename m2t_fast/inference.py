"""A run opened from Python: ``load_run(folder).caption(motion)``, captions as objects that print, draw and save."""

from __future__ import annotations

import dataclasses
import html
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch

from m2t_fast import run_folder
from m2t_fast.captioning.pipeline import Captioned, caption_joints
from m2t_fast.captioning.words import seconds_of
from m2t_fast.errors import UserError
from m2t_fast.interpretation.captioned import CaptionedMotion
from m2t_fast.interpretation.localisation import word_range
from m2t_fast.interpretation.page import render_page, save_page
from m2t_fast.motion.kinds import motion_files
from m2t_fast.motion.options import MotionOptions
from m2t_fast.motion.read import Motion, read_array, read_motions, units_of
from m2t_fast.run_folder import Run

Given = str | PathLike[str] | np.ndarray | torch.Tensor
"""A motion: a motion file, or an array of joints (T, J, 3) or of feature vectors (T, 263 or 251)."""


@dataclass(frozen=True)
class Word:
    """A word of a caption, and when and where in the motion the model looked to say it.

    ``gate``: how much of it comes from the motion, 0 to 1 (eq. 7). ``start`` and ``end``: seconds of the motion as
    given, mean -+ sqrt(3) standard deviations of the window (eq. 4), cut to the motion. ``parts``: weight of each body
    part by name; they sum to 1.
    """

    text: str
    gate: float
    start: float
    end: float
    parts: dict[str, float]


class Alternative(NamedTuple):
    """Another caption that the search found, with its score."""

    text: str
    score: float


@dataclass(frozen=True)
class Caption:
    """What a run says about a motion; ``str(caption)`` is its text, and a notebook shows it as a page.

    ``score``: log-probability / length ** length_penalty. ``alternatives``: the search's other captions, best first.
    ``name``: the motion's file, or "motion". ``notes``: what was assumed about it. ``motion``: the frames that the
    model read, in metres, with all of its attention.
    """

    text: str
    score: float
    words: tuple[Word, ...]
    alternatives: tuple[Alternative, ...]
    name: str
    notes: tuple[str, ...]
    motion: CaptionedMotion = field(repr=False)

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


class CaptioningRun(Run):
    """A run folder, opened; besides what a :class:`~m2t_fast.run_folder.Run` holds it captions motions."""

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
            batch_size: most motions at a time.
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

    def _read(self, given: Given, options: MotionOptions) -> list[tuple[str, Motion]]:
        """The motions of a file, a folder or an array, each with its name."""
        units = units_of(self.statistics, self.skeleton)
        if isinstance(given, np.ndarray | torch.Tensor):
            array = given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else given
            joints, notes = read_array(array, self.skeleton, options, units)
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
            raise UserError(f"{given}: none of its {len(errors)} motion files can be read; the first: {errors[0]}")
        for text in errors:
            warnings.warn(f"left out: {text}", stacklevel=3)
        return found

    def _caption(self, name: str, read: Motion, said: Captioned) -> Caption:
        settings, fps = self.settings, self.skeleton.fps
        frames, kept = len(read.joints), len(said.joints)

        def seconds(frame: float) -> float:
            return min(max(seconds_of(frame, settings, fps, frames), 0.0), frames / fps)

        words = []
        for word in said.words:
            span = word_range(word.mean, word.std, kept)
            words.append(Word(word.word, word.gate, seconds(span.start), seconds(span.end), word.parts))
        best, *others = said.captions
        joints = said.joints / units_of(self.statistics, self.skeleton)
        start = seconds_of(0, settings, fps, frames)
        motion = CaptionedMotion.of(name, joints, said.words, fps / settings.downsample, start)
        alternatives = tuple(Alternative(other.caption, other.score) for other in others)
        return Caption(best.caption, best.score, tuple(words), alternatives, name, tuple(read.notes), motion)


def _is_folder(motion: object) -> bool:
    return isinstance(motion, str | PathLike) and Path(motion).is_dir()


def load_run(folder: str | Path, device: str | torch.device = "cpu") -> CaptioningRun:
    """Open a run folder with its best weights, in evaluation mode.

    Raises:
        UserError: not a run folder, or a file in it is missing, damaged or does not fit the others.
    """
    return CaptioningRun(**vars(run_folder.load_run(folder, device)))
