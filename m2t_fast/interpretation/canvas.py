"""One picture of the animation at a time: the body in 3D, the caption, the weights of the parts and the windows."""

from __future__ import annotations

import textwrap
import warnings
from typing import Any

import numpy as np

from m2t_fast.interpretation.camera import Camera, between, pose_at
from m2t_fast.interpretation.captioned import CaptionedMotion
from m2t_fast.interpretation.colours import GOLD
from m2t_fast.interpretation.colours import PART_COLOURS as COLOUR_OF
from m2t_fast.skeleton import PART_NAMES

PART_COLOURS: tuple[str, ...] = tuple(COLOUR_OF[name] for name in PART_NAMES)
"""Of each part in the order of PART_NAMES."""
SIZE = (800, 600)
"""Width and height of a picture in pixels: even, as film formats want it."""

_DPI = 100
_TEXT, _MUTED, _BONE, _GRID, _TRACK = "#1d2129", "#626975", "#5a6270", "#dcd9cf", "#efede6"
_PAPER, _SOFT = "#fbfaf7", "#fff1c9"
NAMED_COLOURS: tuple[str, ...] = (*PART_COLOURS, GOLD, _TEXT, _MUTED, _BONE, _GRID, _TRACK, _PAPER, _SOFT)
"""The colours that mean something; all others lie between them."""
_STAGE = (0.0, 222.0, 580.0, 378.0)  # left, bottom, width, height in pixels
_PARTS, _CAPTION, _WINDOWS = (668.0, 330.0, 108.0, 190.0), (24.0, 112.0, 752.0, 104.0), (24.0, 34.0, 752.0, 62.0)
_FONTS = (17.0, 14.5, 12.0, 10.0, 8.0)


class MotionCanvas:
    """Draws pictures of one motion; what does not move is drawn once.

    Args:
        motion: what to show.
        threshold: motion words are those with at least this gate.
    """

    def __init__(self, motion: CaptionedMotion, threshold: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.motion, self.threshold = motion, threshold
        self.current = motion.current_words(threshold)
        self.figure = Figure(figsize=(SIZE[0] / _DPI, SIZE[1] / _DPI), dpi=_DPI, facecolor=_PAPER)
        self.canvas = FigureCanvasAgg(self.figure)
        self.camera = Camera(motion, _STAGE[2], _STAGE[3])
        self.bones = np.array(motion.skeleton.bones)
        self.part_of = np.array(motion.skeleton.part_of)
        self.boxes: list[Any] = []
        self.moving: list[Any] = []
        self._make_stage()
        self._make_parts()
        self._make_caption()
        self._make_windows()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # a letter that the font lacks is drawn as a box
            self.canvas.draw()
        self.background = self.canvas.copy_from_bbox(self.figure.bbox)

    def draw(self, frame: float) -> np.ndarray:
        """The picture (height, width, 3) uint8 at a fractional frame (0 to T - 1)."""
        number = int(self.current[round(frame)])
        window = float(between(self.motion.window[number], frame)) if number >= 0 else 0.0
        spatial = between(self.motion.spatial[number], frame) if number >= 0 else np.zeros(len(PART_NAMES))
        strength = np.clip(window * spatial, 0.0, 1.0)
        self._move_stage(frame, min(max(window, 0.0), 1.0), strength)
        for bar, value in zip(self.bars, strength, strict=True):
            bar.set_width(value)
        for place, box in enumerate(self.boxes):
            box.set_visible(place == number)
        for place, line in enumerate(self.lines):
            line.set_visible(place == number)
        self.playhead.set_xdata([frame, frame])
        self.clock.set_text(f"{self.motion.start + frame / self.motion.fps:.1f} s")
        self.canvas.restore_region(self.background)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")
            for artist in self.moving:
                self.figure.draw_artist(artist)
        return np.asarray(self.canvas.buffer_rgba())[..., :3].copy()

    def _axes(self, box: tuple[float, float, float, float]) -> Any:
        left, bottom, width, height = box
        axes = self.figure.add_axes((left / SIZE[0], bottom / SIZE[1], width / SIZE[0], height / SIZE[1]))
        axes.set_facecolor("none")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0, labelsize=9, labelcolor=_MUTED)
        return axes

    def _write(self, axes: Any, x: float, y: float, text: str, **style: Any) -> Any:
        """Text as it is: a caption may hold dollar signs, which do not begin a formula here."""
        return axes.text(x, y, text, parse_math=False, usetex=False, **style)

    def _make_stage(self) -> None:
        from matplotlib.collections import LineCollection
        from matplotlib.patches import FancyBboxPatch

        axes = self._axes(_STAGE)
        axes.set(xlim=(0, _STAGE[2]), ylim=(0, _STAGE[3]), xticks=[], yticks=[])
        self.box = FancyBboxPatch((0, 0), 1, 1, boxstyle="round,pad=0,rounding_size=12", linewidth=2.5)
        axes.add_patch(self.box)
        self.grid: Any = LineCollection([], capstyle="round")
        self.trail: Any = LineCollection([], capstyle="round")
        self.skeleton: Any = LineCollection([], capstyle="round")
        for collection in (self.grid, self.trail, self.skeleton):
            axes.add_collection(collection)
        self.disks = axes.scatter([], [], edgecolors="none")
        # Beside the stage: on it the box would lie over the name.
        place = (_STAGE[2] + 20) / SIZE[0], (SIZE[1] - 38) / SIZE[1]
        self._write(self.figure, *place, _shorten(self.motion.name, 27), va="top", fontsize=9, color=_MUTED)
        self._animate(self.grid, self.trail, self.box, self.skeleton, self.disks)

    def _animate(self, *artists: Any) -> None:
        for artist in artists:
            artist.set_animated(True)
            self.moving.append(artist)

    def _move_stage(self, frame: float, window: float, strength: np.ndarray) -> None:
        from matplotlib.colors import to_rgb, to_rgba

        self._move_floor(frame)
        pose = pose_at(self.motion.joints, frame)
        places, scale = self.camera.project(pose, frame)
        low, high = places.min(0), places.max(0)
        margin = 0.12 * max(high[1] - low[1], 40.0)
        self.box.set_bounds(*(low - margin), *(high - low + 2 * margin))
        self.box.set_visible(window > 0.01)
        self.box.set_facecolor(to_rgba(GOLD, 0.16 * window))
        self.box.set_edgecolor(to_rgba(GOLD, window))

        shown = strength**0.7  # small weights are still seen
        colours = np.array([to_rgb(colour) for colour in PART_COLOURS])
        mixed = np.array(to_rgb(_BONE)) * (1 - shown[:, None]) + colours * shown[:, None]
        ends = places[self.bones]  # (bones, 2, 2)
        near = np.argsort(scale[self.bones].mean(1), kind="stable")
        thick = 0.025 * self.camera.height * scale[self.bones].mean(1) * 72 / _DPI
        # Every bone twice, a light rim below it, so that limbs in front of others stand out.
        self.skeleton.set_segments(np.repeat(ends[near], 2, axis=0))
        self.skeleton.set_linewidths((thick[near, None] + np.array([2.0, 0.0])).ravel())
        part = self.part_of[self.bones[near, 1]]
        rim = np.broadcast_to(to_rgb(_PAPER), (len(part), 3))
        self.skeleton.set_color(np.stack([rim, mixed[part]], axis=1).reshape(-1, 3))

        part, weight = self.part_of, strength[self.part_of]
        radius = 0.016 + 0.035 * weight
        radius[self.motion.skeleton.head] = 0.05
        halo = radius + 0.05 * shown[part]
        both = np.concatenate([halo, radius]) * self.camera.height * np.tile(scale, 2) * 72 / _DPI
        self.disks.set_offsets(np.tile(places, (2, 1)))
        self.disks.set_sizes(np.square(2 * both))
        soft = np.concatenate([colours[part], 0.3 * shown[part, None]], axis=1)
        hard = np.concatenate([mixed[part], np.ones((len(part), 1))], axis=1)
        self.disks.set_facecolors(np.concatenate([soft, hard]))

    def _move_floor(self, frame: float) -> None:
        from matplotlib.colors import to_rgb

        step, reach = 0.3 * self.camera.height, 9
        target = self.camera.target(frame)[[0, 2]]
        centre = np.round(target / step)
        across, along = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach), indexing="ij")
        one = np.stack([np.stack([across, along], -1), np.stack([across, along + 1], -1)], axis=-2).reshape(-1, 2, 2)
        lines = (np.concatenate([one, one[..., ::-1]]) + centre) * step  # (lines, 2 ends, x and z)
        fade = 1 - np.linalg.norm(lines.mean(1) - target, axis=-1) / (reach * step * 0.95)
        places, scale = self._on_floor(lines, frame)
        # The floor fades out before the stage ends, too.
        edges = np.stack([places[..., 0], _STAGE[2] - places[..., 0], 2 * places[..., 1]], axis=-1)
        fade = np.minimum(fade, np.clip(edges.min((-1, -2)) / 90.0, 0.0, 1.0))
        seen = (fade > 0) & (scale > 0).all(-1)
        self.grid.set_segments(places[seen])
        self.grid.set_color(np.concatenate([np.tile(to_rgb(_GRID), (seen.sum(), 1)), fade[seen, None]], axis=1))
        self.grid.set_linewidth(0.9)

        root = self.motion.joints[:, 0]
        behind = np.concatenate([root[: int(frame) + 1], between(root, frame)[None]])
        places, scale = self._on_floor(behind[:, [0, 2]], frame)
        self.trail.set_segments([places[scale > 0]] if (scale > 0).sum() > 1 else [])
        self.trail.set(color="#b6b2a6", linewidth=2.0)

    def _on_floor(self, points: np.ndarray, frame: float) -> tuple[np.ndarray, np.ndarray]:
        """Places and scales of points (..., 2) x and z on the floor."""
        floor = np.full((*points.shape[:-1], 1), self.camera.floor)
        return self.camera.project(np.concatenate([points[..., :1], floor, points[..., 1:]], axis=-1), frame)

    def _make_parts(self) -> None:
        axes = self._axes(_PARTS)
        rows = range(len(PART_NAMES))
        axes.set(xlim=(0, 1), ylim=(len(PART_NAMES) - 0.5, -0.5), xticks=[])
        axes.set_yticks(rows, [name.replace("_", " ") for name in PART_NAMES])
        axes.barh(rows, 1, height=0.5, color=_TRACK)
        self.bars = axes.barh(rows, 0, height=0.5, color=PART_COLOURS)
        self._write(axes, 0, -0.9, "attention now", fontsize=9, color=_MUTED)
        if self.motion.reference:
            lines = textwrap.wrap(f"reference: {self.motion.reference}", 25, max_lines=5, placeholder=" \u2026")
            place = (_STAGE[2] + 20) / SIZE[0], (_PARTS[1] - 14) / SIZE[1]
            self._write(self.figure, *place, "\n".join(lines), va="top", fontsize=9, color=_MUTED)
        self._animate(*self.bars)

    def _make_caption(self) -> None:
        """The words in lines, as large as fits, with the gate of each as a bar below it."""
        from matplotlib.patches import FancyBboxPatch, Rectangle

        axes = self._axes(_CAPTION)
        axes.set(xlim=(0, _CAPTION[2]), ylim=(0, _CAPTION[3]), xticks=[], yticks=[])
        if not self.motion.words:
            self._write(axes, 0, _CAPTION[3] / 2, "(empty caption)", fontsize=_FONTS[0], color=_MUTED, style="italic")
        for size, line, placed in self._lines_of_words():
            top = _CAPTION[3] - 8 - line
            for number, left, width in placed:
                word, gate = self.motion.words[number], float(np.clip(self.motion.gate[number], 0, 1))
                over = self.motion.gate[number] >= self.threshold
                box = FancyBboxPatch((left - 5, top - size * 1.95), width + 10, size * 2.1)
                box.set_boxstyle("round", pad=0, rounding_size=6)
                box.set(facecolor=_SOFT, edgecolor=GOLD, linewidth=1.5)
                self.boxes.append(axes.add_patch(box))
                box.set_clip_on(False)  # it reaches a little beyond the words
                text = self._write(axes, left, top - size * 1.1, word, fontsize=size, va="baseline")
                text.set(color=_TEXT if over else _MUTED, fontweight="bold" if over else "normal")
                low = top - size * 1.7
                track = axes.add_patch(Rectangle((left, low), width, 4, color=_TRACK))
                bar = axes.add_patch(Rectangle((left, low), width * gate, 4, color=GOLD if over else _MUTED))
                self._animate(box)
                self.moving += [text, track, bar]  # above the box, which moves

    def _lines_of_words(self) -> list[tuple[float, float, list[tuple[int, float, float]]]]:
        """Font size, offset from the top, and (number, left, width) of the words of each line."""
        from matplotlib.font_manager import FontProperties

        renderer = self.canvas.get_renderer()
        for size in _FONTS:
            lines: list[list[tuple[int, float, float]]] = [[]]
            left, high = 0.0, size * 2.5
            for number, word in enumerate(self.motion.words):
                weight = "bold" if self.motion.gate[number] >= self.threshold else "normal"
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Glyph")
                    width = renderer.get_text_width_height_descent(
                        word, FontProperties(size=size, weight=weight), ismath=False
                    )[0]
                if lines[-1] and left + width > _CAPTION[2]:
                    lines.append([])
                    left = 0.0
                lines[-1].append((number, left, width))
                left += width + size * 0.9
            if len(lines) * high <= _CAPTION[3]:
                break
        return [(size, number * high, line) for number, line in enumerate(lines)]

    def _make_windows(self) -> None:
        motion = self.motion
        frames = np.arange(len(motion.joints))
        half = max((len(frames) - 1) / 2, 0.5)
        middle = (len(frames) - 1) / 2
        axes = self._axes(_WINDOWS)
        axes.set(xlim=(middle - half, middle + half), ylim=(0, 1.08), yticks=[])
        seconds = round_seconds(motion.start, motion.start + frames[-1] / motion.fps)
        axes.set_xticks([(time - motion.start) * motion.fps for time in seconds], [f"{time:g} s" for time in seconds])
        axes.axhline(0, color=_GRID, linewidth=1)
        self.lines = []
        for number, window in enumerate(motion.window):
            if motion.gate[number] < self.threshold:
                window = np.full(len(frames), np.nan)
            axes.plot(frames, window, color=_MUTED, linewidth=1, alpha=0.35)
            shape = axes.fill_between(frames, window, facecolor=GOLD, edgecolor=GOLD, linewidth=1.8, alpha=0.45)
            self.lines.append(shape)
        self.playhead = axes.axvline(0, color=_TEXT, linewidth=1.6)
        self.clock = self._write(
            self.figure, (SIZE[0] - 24) / SIZE[0], (SIZE[1] - 14) / SIZE[1], "", ha="right", va="top", fontsize=11
        )
        self._animate(*self.lines, self.playhead, self.clock)


def round_seconds(first: float, last: float, most: int = 9) -> list[float]:
    """Round times from ``first`` to ``last`` seconds, at most ``most``; where none lies between them, ``first``."""
    steps = (size * 10.0**power for power in range(-2, 6) for size in (1, 2, 5))
    step = next(size for size in steps if (last - first) / size <= most - 1)
    low, high = int(np.ceil(first / step - 1e-6)), int(np.floor(last / step + 1e-6))
    return [round(number * step, 6) for number in range(low, high + 1)] or [round(first, 2)]


def _shorten(text: str, most: int) -> str:
    """The end of a text that is too long: the most telling part of a path."""
    return text if len(text) <= most else "\u2026" + text[1 - most :]
