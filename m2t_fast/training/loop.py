"""The training loop: three losses, scheduled sampling, validation, and a run folder that survives any interruption."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m2t_fast.captioner import Captioner
from m2t_fast.captioning.calibration import calibrate
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.batches import batch_count
from m2t_fast.data.buckets import choose_buckets, epoch_plan
from m2t_fast.data.dataset import Prepared
from m2t_fast.data.faults import in_words
from m2t_fast.data.resident import ResidentSplit
from m2t_fast.distributed import ALONE, Processes
from m2t_fast.files import new_folder, open_own, write_all
from m2t_fast.locks import locked
from m2t_fast.run_folder import METRICS, STATE, WEIGHTS, Run, write_run
from m2t_fast.segmentation import fit_after_training
from m2t_fast.signals import stop_on_signals
from m2t_fast.tensor_files import write_tensors
from m2t_fast.training.console import Console, losses_in_words
from m2t_fast.training.engine import Engine
from m2t_fast.training.finetuning import start_from
from m2t_fast.training.host_copy import HostCopy
from m2t_fast.training.logs import Log, open_log
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.state import Position, Snapshot, digest, load_state
from m2t_fast.training.step import adamw, weights_in
from m2t_fast.training.validation import Validation
from m2t_fast.wording import counted

LOSSES = ("loss", "loss_language", "loss_spatial", "loss_adaptive", "loss_temporal")
"""What the fields of ``GuidedLoss`` are called in ``metrics.jsonl``; the last is there where times guide."""

STATE_SECONDS = 5.0
"""Least seconds between two state files: where an epoch takes a second, training would do little but write them."""


def train(
    data: Prepared,
    model_config: CaptionerConfig,
    settings: TrainingSettings,
    folder: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    resume: bool = False,
    progress: bool = True,
    processes: Processes = ALONE,
    init: Run | None = None,
    notes: Sequence[str] = (),
    log: str | None = None,
    segment_takes: int = 0,
) -> Path:
    """Train a captioner and write its run folder.

    The best weights by validation BLEU-4 are kept (the latest, where there is no validation split), and at the end
    ``trust.safetensors`` says how far the validation motions lie from the training motions. SIGINT and SIGTERM
    end training at the next step with a complete folder, as KeyboardInterrupt. Several ``processes`` (inside
    :func:`m2t_fast.distributed.job`) take every step together and come to the losses and weights of a single one, up to
    rounding; the first alone reads and writes the folder.

    Args:
        data: with a training split and, for BLEU, a validation split.
        folder: the run folder to write, or with ``resume`` to continue.
        dtype: of the weights and the arithmetic, float32 or float64; or bfloat16 for mixed precision: the products of
            training steps in bfloat16 under torch's autocast, weights, losses and validation in float32.
        init: a run whose weights a new run begins with; the vocabulary of ``data`` begins with its words.
        notes: what else to print at the start.
        log: "tensorboard" or "wandb": where the lines of ``metrics.jsonl`` go as well.
        segment_takes: on how many takes joined from the validation split a segmenter is fitted at the end, where the
            data say when actions happen (see ``m2t_fast.segmentation.fit_after_training``); 0: none is.
        progress: print progress on stderr: a bar on a terminal, else lines (see ``Console``).

    Returns:
        The run folder.

    Raises:
        ValueError: another dtype.
        UserError: the folder exists (without ``resume``), cannot be written, is being trained in, or belongs to other
            data; the processes have different data; or a temporal loss is asked for and no times are known.
        JobError: another process has ended.
    """
    folder = Path(folder)
    if settings.lambda_temp > 0:
        times = data["train"].temporal_targets
        if times is None or not bool((times[:, 1] > times[:, 0]).any()):
            text = "no word names a segment whose time is known; a temporal loss needs segments.json with such segments"
            raise processes.error(f"{data.source}: {text}")
    torch.manual_seed(settings.seed)
    model = Captioner(model_config).to(device=device, dtype=weights_in(dtype))
    optimizer = adamw(model, settings)
    samples = digest(data["train"])
    if any(other != samples for other in processes.gather(samples)):
        raise processes.error(f"{data.source}: the processes of this job read different training data")
    with ExitStack() as stack:

        def lock() -> None:
            stack.enter_context(locked(folder / METRICS))

        if resume:
            processes.on_main(lock)
            if processes.main:
                for left in folder.glob(".*.tmp"):  # what a killed process was writing
                    left.unlink()
            position = load_state(folder / STATE, model, optimizer, processes)
            if position.digest != samples:
                raise processes.error(f"{folder}: the training data are not those this run was trained on")
        else:
            position = Position(digest=samples)
            if init is not None:
                start_from(model, init)
            for parameter in model.parameters():
                processes.copy_from_main(parameter.detach())

            def write() -> None:
                with new_folder(folder) as temporary:
                    training = {**settings.to_dict(), "dtype": str(dtype).removeprefix("torch."), "data": data.source}
                    training |= {} if init is None else {"init": str(init.folder)}
                    write_run(temporary, model, data.vocabulary, data.statistics, data.settings, training)
                    (temporary / METRICS).touch()
                    Snapshot(model, optimizer, position).write(temporary / STATE)
                lock()

            processes.on_main(write)
        progress = progress and processes.main
        if progress:
            print(*notes, _summary(data, model_config, settings, dtype), sep="\n", file=sys.stderr)
        trainer = _Trainer(data, model, optimizer, settings, folder, position, progress, processes, dtype)
        if log is not None and processes.main:
            trainer.log = open_log(log, folder, position.step, settings.to_dict())
            stack.callback(trainer.log.close)
        with closing(trainer.engine):
            trainer.run()
        processes.on_main(lambda: calibrate(folder, data, device))
        if segment_takes:
            processes.on_main(lambda: fit_after_training(folder, data, segment_takes, device, progress))
    return folder


def _summary(data: Prepared, config: CaptionerConfig, settings: TrainingSettings, dtype: torch.dtype) -> str:
    """Three lines: samples, words, joints, and what was dropped or left out; the model; how it is trained."""
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    dropped = sum(row["motions"]["read"] - row["motions"]["kept"] for row in data.report.values())
    note = f"; {counted(dropped, 'motion')} dropped by the filters" if dropped else ""
    if data.faults:
        note += f"; left out as unusable: {in_words(data.faults)}"
    loss = f"language + {settings.lambda_spat:g} spatial + {settings.lambda_adapt:g} adaptive"
    loss += f" + {settings.lambda_temp:g} temporal" if settings.lambda_temp else ""
    warm = f", warming up over {counted(settings.warmup_steps, 'step')}" if settings.warmup_steps else ""
    return (
        f"{data.source}: {sizes} samples; {counted(len(data.vocabulary), 'word')}; "
        f"{data.skeleton.joints} joints{note}\n"
        f"model: scoring {config.scoring}, parts {config.part_dim}, attention {config.attention_dim}, decoder "
        f"{config.hidden_size}, embeddings {config.embedding_dim}\n"
        f"training: {counted(settings.epochs, 'epoch')} of batches of {settings.batch_size}, "
        f"{str(dtype).removeprefix('torch.')}, "
        f"learning rate {settings.learning_rate:g}{warm}, teacher forcing {settings.teacher_forcing:g}; "
        f"loss = {loss}"
    )


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
        processes: Processes,
        dtype: torch.dtype,
    ):
        self.data, self.model, self.optimizer, self.settings = data, model, optimizer, settings
        self.folder, self.position, self.progress, self.processes = folder, position, progress, processes
        split, weight = data["train"], model.embedding.weight
        resident = ResidentSplit(split, weight.device, weight.dtype, timed=settings.lambda_temp > 0)
        self.engine = Engine(model, optimizer, resident, settings, position.step, processes, dtype=dtype)
        self.buckets = choose_buckets(split, settings.batch_size)
        # What runs any shape as fast as another need not pad to a few.
        self.fit = weight.device.type == "cpu" and not settings.compile
        self.validated: tuple[dict[str, Any], HostCopy | None] | None = None
        self.writing: dict[str, Future[None]] = {}
        self.stop = threading.Event()
        self.log: Log | None = None
        self.since = self.saved = time.perf_counter()

    def run(self) -> None:
        validation = self.data.splits.get("val")
        with (
            stop_on_signals(self.stop),
            ThreadPoolExecutor(3, "background") as self.background,
            self._open_metrics() as self.metrics,
            Console(self.progress, self.settings.epochs) as self.console,
        ):
            # Lines behind the saved position belong to steps that are taken again.
            end = self.metrics.seek(0, 2)
            self.position.metrics_bytes = min(self.position.metrics_bytes, end)
            self.metrics.truncate(self.position.metrics_bytes)
            self.metrics.seek(0, 2)
            self.validation = None
            if validation is not None and validation.motions:
                self.validation = Validation(
                    *(self.model, validation, self.data.vocabulary, self.settings.batch_size),
                    *(self.background, self.processes),
                )
            while self.position.epoch < self.settings.epochs:
                self._epoch()
            if self.validated is not None:
                self._save_state(now=True)
            self._wait_for_files()

    def _open_metrics(self) -> io.RawIOBase | io.BytesIO:
        """The file, which is not buffered; in other processes than the main one, nothing."""
        if not self.processes.main:
            return io.BytesIO()
        return open(open_own(self.folder / METRICS, os.O_RDWR), "r+b", buffering=0)

    def _epoch(self) -> None:
        position, settings = self.position, self.settings
        split = self.data["train"]
        total = batch_count(split, settings.batch_size)
        self.console.begin_epoch(position.epoch + 1, total, position.batch)
        self.model.train()
        pending: list[Tensor] = []
        where = (settings.seed, position.epoch, position.batch)
        plan = epoch_plan(split, self.buckets, settings.batch_size, *where, fit=self.fit)
        for losses in self.engine.steps(plan):
            pending.append(losses)
            stop = self.processes.any(self.stop.is_set())
            position.step += 1
            position.batch += 1
            self.console.step()
            if position.step % settings.log_interval == 0:
                self._collect(pending)
                self._log_window()
            elif self.console.waits():
                self._collect(pending)
                self.console.losses(position.step, self._interval_means())
            if stop:
                self._collect(pending)
                self._interrupt()
            if position.step % settings.checkpoint_interval == 0 and position.batch < total:
                self._collect(pending)
                self._save_state()
        self._collect(pending)
        self._finish_epoch(total)
        if self.processes.any(self.stop.is_set()):
            self._interrupt()

    def _collect(self, pending: list[Tensor]) -> None:
        """Add the pending losses to the sums of epoch and log interval; one transfer for all of them."""
        if not pending:
            return
        self.engine.wait()
        rows = torch.stack(pending).double().cpu()
        pending.clear()
        if not bool(rows.isfinite().all()):
            step = self.position.step - len(rows) + int(rows.isfinite().all(dim=1).logical_not().nonzero()[0]) + 1
            text = f"{self.folder}: the loss is not finite at step {step}; the last good state is kept"
            raise self.processes.error(text)
        for sums in (self.position.sums, self.position.interval):
            for name, column in zip(LOSSES, rows.T.tolist(), strict=False):
                # Added one by one: the result must not depend on where checkpoints fall.
                for value in column:
                    sums[name] = sums.get(name, 0.0) + value
        self.position.interval_steps += len(rows)

    def _log_window(self) -> None:
        position = self.position
        means = self._interval_means()
        position.interval, position.interval_steps = {}, 0
        rate = {"learning_rate": self.settings.learning_rate_at(position.step - 1)}
        self._log({"kind": "step", "epoch": position.epoch + 1, "step": position.step, **means, **rate})
        self.console.losses(position.step, means)

    def _interval_means(self) -> dict[str, float]:
        """The mean losses since the last line of ``metrics.jsonl``."""
        position = self.position
        return {name: total / position.interval_steps for name, total in position.interval.items()}

    def _finish_epoch(self, steps: int) -> None:
        """Begin to validate the epoch whose steps are taken; its line is written when the score is there."""
        position = self.position
        # All batches taken, not yet validated: a run that goes on from here validates first.
        snapshot, weights = self._save_state(), None
        if self.processes.main:
            weights = HostCopy(self.model.state_dict()) if snapshot is None else snapshot.weights
        line: dict[str, Any] = {"kind": "epoch", "epoch": position.epoch + 1, "step": position.step}
        line |= {name: total / steps for name, total in position.sums.items()}
        line["learning_rate"] = self.settings.learning_rate_at(position.step - 1)
        self.validated = line, weights
        if self.validation is not None:
            self.validation.start()
        position.epoch, position.batch, position.sums = position.epoch + 1, 0, {}

    def _settle(self) -> None:
        """Finish the epoch that is being validated, if one is: its weights, if they are the best, and its line."""
        if self.validated is None:
            return
        (line, weights), self.validated = self.validated, None
        bleu, seconds = self.validation.result() if self.validation is not None else (None, 0.0)
        line |= {"val_bleu_4": bleu, "seconds_validation": round(seconds, 3)}
        best = self.position.best_bleu
        if bleu is None or best is None or bleu > best:
            self.position.best_bleu = best = bleu
            self._save_weights(weights)
        self._write_line(line)
        shown = "" if bleu is None else f"  val BLEU-4 {bleu:.1f} (best {best:.1f})"
        text = f"epoch {line['epoch']:3d}  {losses_in_words(line)}{shown}  {self.position.seconds:.0f} s"
        self.console.epoch_line(text)

    def _interrupt(self) -> None:
        snapshot = self._save_state(now=True)
        if snapshot is not None and self.position.best_bleu is None:
            self._save_weights(snapshot.weights)  # nothing validated yet: the latest are the best there are
        self._wait_for_files()
        raise KeyboardInterrupt

    def _save_weights(self, weights: HostCopy | None) -> None:
        """Write the best weights in the background, on rank 0, which has them."""
        if weights is not None:
            self._wait_for_files(WEIGHTS)
            self.writing[WEIGHTS] = self.background.submit(lambda: write_tensors(self.folder / WEIGHTS, weights.get()))

    def _log(self, line: dict[str, Any]) -> None:
        self._settle()
        self._write_line(line)

    def _write_line(self, line: dict[str, Any]) -> None:
        self._tick()
        line["seconds"] = round(self.position.seconds, 3)
        write_all(self.metrics, (json.dumps(line) + "\n").encode(), self.folder / METRICS)
        if self.log is not None:
            self.log.write(line)

    def _save_state(self, now: bool = False) -> Snapshot | None:
        """Write the state file in the background, on rank 0, unless the last was begun a moment ago and it need not be
        ``now``; what is being written, if anything."""
        self._settle()
        self._tick()
        self.position.metrics_bytes = self.metrics.tell()
        if not self.processes.main or not (now or time.perf_counter() - self.saved >= STATE_SECONDS):
            return None
        # A state that knows of the best weights must not be there before them.
        self._wait_for_files()
        self.saved = time.perf_counter()
        snapshot = Snapshot(self.model, self.optimizer, self.position)
        self.writing[STATE] = self.background.submit(snapshot.write, self.folder / STATE)
        return snapshot

    def _wait_for_files(self, *names: str) -> None:
        """Wait for these files, or for all that are being written, and raise what went wrong."""
        for name in names or (WEIGHTS, STATE):
            if name in self.writing:
                self.writing.pop(name).result()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.position.seconds += now - self.since
        self.since = now
