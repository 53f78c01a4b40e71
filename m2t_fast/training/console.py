"""What training prints on stderr while it runs: a bar on a terminal, lines where stderr is a file or a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from tqdm import tqdm

LINE_SECONDS = 30.0
"""The longest time between two lines; where steps are fast there is one every log interval (20 steps)."""

_LEAST_SECONDS = 2.0  # between two lines: a GPU takes a log interval in less

_SHORT = {
    "loss": "loss",
    "loss_language": "lang",
    "loss_spatial": "spat",
    "loss_adaptive": "adapt",
    "loss_temporal": "temp",
}


class Console:
    """The progress of one run; silent unless ``shown``."""

    def __init__(self, shown: bool, epochs: int) -> None:
        self.shown, self.epochs = shown, epochs
        self.lines = shown and not sys.stderr.isatty()
        self.bar = tqdm(disable=not shown or self.lines, unit="step", leave=False)
        self.epoch = self.batch = self.batches = self.counted = 0
        self.told: float | None = None

    def __enter__(self) -> Console:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.bar.close()

    def begin_epoch(self, epoch: int, batches: int, batch: int) -> None:
        """Epoch ``epoch`` (from 1) of ``batches`` steps, of which ``batch`` are taken."""
        self.epoch, self.batches, self.batch = epoch, batches, batch
        self.bar.reset(batches)
        self.bar.update(batch)
        self.bar.set_description(f"epoch {epoch}/{self.epochs}")
        if self.told is None:
            self.told = time.monotonic()

    def step(self) -> None:
        """One more step is taken."""
        self.batch += 1
        self.counted += 1
        self.bar.update()

    def waits(self) -> bool:
        """Whether nothing was printed for so long that the losses so far should be."""
        return self.lines and time.monotonic() - (self.told or 0.0) >= LINE_SECONDS

    def losses(self, step: int, means: Mapping[str, float]) -> None:
        """The mean losses of the last steps, ``step`` the last of them in all."""
        self.bar.set_postfix_str(losses_in_words(means))
        now = time.monotonic()
        since = now - (self.told if self.told is not None else now)
        # The first line comes as soon as there is one.
        if not self.lines or (since < _LEAST_SECONDS and self.counted < step):
            return
        rate = f"{self.counted / since:.3g} steps/s" if since > 0 else ""
        where = f"epoch {self.epoch}/{self.epochs}  step {self.batch}/{self.batches}"
        self._say(f"{where}  {losses_in_words(means)}  {rate}".rstrip())
        self.told, self.counted = now, 0

    def epoch_line(self, text: str) -> None:
        """Print the line about a finished epoch."""
        if self.shown:
            self._say(text)

    def _say(self, text: str) -> None:
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()


def losses_in_words(means: Mapping[str, float]) -> str:
    """Such as "loss 5.123 lang 3.456 spat 0.500 adapt 0.300"."""
    return " ".join(f"{short} {means[name]:.3f}" for name, short in _SHORT.items() if name in means)
