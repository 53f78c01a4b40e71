"""The training loop: three losses, scheduled sampling, validation, and a run folder that survives any interruption."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from m2t_fast.captioner import Captioner, CaptionerOutput, GuidedOutput
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.batches import Batch, batch_count, training_batches
from m2t_fast.data.dataset import Prepared
from m2t_fast.errors import UserError
from m2t_fast.evaluation import validation_bleu
from m2t_fast.losses import GuidedLoss, guided_loss
from m2t_fast.ops.guided import is_fused
from m2t_fast.training.run_folder import METRICS, STATE, WEIGHTS, new_folder, save_weights, write_run
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.state import Position, digest, load_state, save_state

LOSSES = ("loss", "loss_language", "loss_spatial", "loss_adaptive")


def training_step(
    model: Captioner,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    settings: TrainingSettings,
    generator: torch.Generator,
) -> GuidedLoss:
    """One step: scheduled-sampling decode, parallel forward and backward, clipping, AdamW.

    Args:
        batch: B samples on the model's device; their indices come from a checked data set.
        generator: source of the coins and dropout masks.

    Returns:
        The losses before the step, detached.
    """
    draws = model.draw(len(batch.tokens), batch.tokens.shape[1] - 1, settings.teacher_forcing, generator)
    inputs = (batch.motion, batch.lengths, batch.tokens, draws)
    # Nobody reads the attention here: a backend that folds the spatial loss into it need not write it.
    out: CaptionerOutput | GuidedOutput
    out = model.run_guided(*inputs, batch.spatial_target) if is_fused(batch.motion) else model.run(*inputs)
    loss = guided_loss(
        out,
        batch.tokens,
        batch.lengths,
        batch.gate_target,
        batch.spatial_target,
        settings.lambda_spat,
        settings.lambda_adapt,
    )
    optimizer.zero_grad(set_to_none=True)
    loss.total.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    optimizer.step()
    return GuidedLoss(*(value.detach() for value in loss))


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step: a function of the seed and the step alone, so that resuming needs no history."""
    state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def train(
    data: Prepared,
    model_config: CaptionerConfig,
    settings: TrainingSettings,
    folder: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    resume: bool = False,
    progress: bool = True,
) -> Path:
    """Train a captioner and write its run folder.

    The best weights by validation BLEU-4 are kept (the latest, where there is no validation split). SIGINT and SIGTERM
    end training at the next step with a complete folder, as KeyboardInterrupt.

    Args:
        data: with a training split and, for BLEU, a validation split.
        folder: the run folder to write, or with ``resume`` to go on with.
        dtype: of the weights and the arithmetic, float32 or float64.
        progress: show a progress bar on a terminal, else a line an epoch, on stderr.

    Returns:
        The run folder.

    Raises:
        UserError: the folder exists (without ``resume``), cannot be written, or belongs to other data.
    """
    folder = Path(folder)
    torch.manual_seed(settings.seed)
    model = Captioner(model_config).to(device=device, dtype=dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    samples = digest(data["train"])
    if resume:
        for left in folder.glob(".*.tmp"):  # what a killed process was writing
            left.unlink()
        position = load_state(folder / STATE, model, optimizer)
        if position.digest != samples:
            raise UserError(f"{folder}: the training data are not those this run was trained on")
    else:
        position = Position(digest=samples)
        with new_folder(folder) as temporary:
            training = {**settings.to_dict(), "dtype": str(dtype).removeprefix("torch."), "data": data.source}
            write_run(temporary, model, data.vocabulary, data.statistics, data.settings, training)
            (temporary / METRICS).touch()
            save_state(temporary / STATE, model, optimizer, position)
    if progress:
        print(_summary(data), file=sys.stderr)
    _Trainer(data, model, optimizer, settings, folder, position, progress).run()
    return folder


def _summary(data: Prepared) -> str:
    """One line: samples, words, joints, and what the filters dropped."""
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    dropped = sum(row["motions"]["read"] - row["motions"]["kept"] for row in data.report.values())
    note = f"; {dropped:,} motions dropped by the filters" if dropped else ""
    return f"{data.source}: {sizes} samples; {len(data.vocabulary):,} words; {data.skeleton.joints} joints{note}"


class _Trainer:
    """One run of the loop; its state is ``position``, the model and the optimiser."""

    def __init__(
        self,
        data: Prepared,
        model: Captioner,
        optimizer: torch.optim.Optimizer,
        settings: TrainingSettings,
        folder: Path,
        position: Position,
        progress: bool,
    ):
        self.data, self.model, self.optimizer, self.settings = data, model, optimizer, settings
        self.folder, self.position, self.progress = folder, position, progress
        self.weight = model.embedding.weight
        self.stop = threading.Event()
        self.since = time.perf_counter()

    def run(self) -> None:
        with (
            _stop_on_signals(self.stop),
            open(self.folder / METRICS, "r+b") as self.metrics,
            tqdm(disable=None if self.progress else True, unit="step", leave=False) as self.bar,
        ):
            # Lines behind the saved position belong to steps that are taken again.
            self.metrics.truncate(self.position.metrics_bytes)
            self.metrics.seek(0, 2)
            while self.position.epoch < self.settings.epochs:
                self._epoch()

    def _epoch(self) -> None:
        position, settings = self.position, self.settings
        split = self.data["train"]
        total = batch_count(split, settings.batch_size)
        self.bar.reset(total)
        self.bar.update(position.batch)
        self.bar.set_description(f"epoch {position.epoch + 1}/{settings.epochs}")
        self.model.train()
        pending: list[GuidedLoss] = []
        batches = training_batches(split, settings.batch_size, settings.seed, position.epoch, start=position.batch)
        for batch in batches:
            batch = self._on_device(batch)
            generator = step_generator(settings.seed, position.step)
            pending.append(training_step(self.model, self.optimizer, batch, settings, generator))
            position.step += 1
            position.batch += 1
            self.bar.update()
            if position.step % settings.log_interval == 0:
                self._collect(pending)
                self._log_window()
            if self.stop.is_set():
                self._collect(pending)
                self._interrupt()
            if position.step % settings.checkpoint_interval == 0 and position.batch < total:
                self._collect(pending)
                self._save_state()
        self._collect(pending)
        self._finish_epoch(total)
        if self.stop.is_set():
            raise KeyboardInterrupt

    def _on_device(self, batch: Batch) -> Batch:
        batch = batch.to(self.weight.device)
        return batch._replace(motion=batch.motion.to(self.weight.dtype))

    def _collect(self, pending: list[GuidedLoss]) -> None:
        """Add the pending losses to the sums of the epoch and of the log interval; one transfer for all of them."""
        if not pending:
            return
        rows = torch.stack([torch.stack(tuple(loss)) for loss in pending]).double().cpu()
        pending.clear()
        if not bool(rows.isfinite().all()):
            step = self.position.step - len(rows) + int(rows.isfinite().all(dim=1).logical_not().nonzero()[0]) + 1
            raise UserError(f"{self.folder}: the loss is not finite at step {step}; the last good state is kept")
        for sums in (self.position.sums, self.position.interval):
            for name, column in zip(LOSSES, rows.T.tolist(), strict=True):
                # Added one by one: the result must not depend on where checkpoints fall.
                for value in column:
                    sums[name] = sums.get(name, 0.0) + value
        self.position.interval_steps += len(rows)

    def _log_window(self) -> None:
        position = self.position
        means = {name: total / position.interval_steps for name, total in position.interval.items()}
        position.interval, position.interval_steps = {}, 0
        self._log({"kind": "step", "epoch": position.epoch + 1, "step": position.step, **means})
        self.bar.set_postfix_str(_postfix(means))

    def _finish_epoch(self, steps: int) -> None:
        position = self.position
        line: dict[str, Any] = {"kind": "epoch", "epoch": position.epoch + 1, "step": position.step}
        line |= {name: total / steps for name, total in position.sums.items()}
        started = time.perf_counter()
        validation = self.data.splits.get("val")
        bleu = None
        if validation is not None and validation.motions:
            bleu = validation_bleu(self.model, validation, self.data.vocabulary, self.settings.batch_size)
        line |= {"val_bleu_4": bleu, "seconds_validation": round(time.perf_counter() - started, 3)}
        if bleu is None or position.best_bleu is None or bleu > position.best_bleu:
            position.best_bleu = bleu
            save_weights(self.folder / WEIGHTS, self.model)
        position.epoch, position.batch, position.sums = position.epoch + 1, 0, {}
        self._log(line)
        if self.progress:
            shown = "" if bleu is None else f"  val BLEU-4 {bleu:.1f} (best {position.best_bleu:.1f})"
            tqdm.write(f"epoch {line['epoch']:3d}  {_postfix(line)}{shown}  {position.seconds:.0f} s", file=sys.stderr)
        self._save_state()

    def _interrupt(self) -> None:
        self._save_state()
        if self.position.best_bleu is None:  # nothing validated yet: the latest weights are the best there are
            save_weights(self.folder / WEIGHTS, self.model)
        raise KeyboardInterrupt

    def _log(self, line: dict[str, Any]) -> None:
        self._tick()
        line["seconds"] = round(self.position.seconds, 3)
        self.metrics.write((json.dumps(line) + "\n").encode())
        self.metrics.flush()

    def _save_state(self) -> None:
        self._tick()
        self.position.metrics_bytes = self.metrics.tell()
        save_state(self.folder / STATE, self.model, self.optimizer, self.position)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.position.seconds += now - self.since
        self.since = now


def _postfix(means: dict[str, Any]) -> str:
    names = {"loss": "loss", "loss_language": "lang", "loss_spatial": "spat", "loss_adaptive": "adapt"}
    return " ".join(f"{short} {means[name]:.3f}" for name, short in names.items())


@contextlib.contextmanager
def _stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """SIGINT and SIGTERM ask to stop at the next step; a second one stops at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
