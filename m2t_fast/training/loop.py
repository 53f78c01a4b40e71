"""The training loop: three losses, scheduled sampling, validation, and a run folder that survives any interruption."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from m2t_fast.captioner import Captioner, CaptionerOutput, GuidedOutput
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.batches import Batch, batch_count, batch_of, training_samples
from m2t_fast.data.dataset import Prepared
from m2t_fast.data.lock import locked
from m2t_fast.distributed import ALONE, Processes
from m2t_fast.evaluation import validation_bleu
from m2t_fast.losses import GuidedLoss, guided_loss
from m2t_fast.ops.guided import is_fused
from m2t_fast.signals import stop_on_signals
from m2t_fast.training.parallel import shared_step
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
    # Nobody reads the attention here: a backend that folds the losses into it need not write it.
    out: CaptionerOutput | GuidedOutput
    if is_fused(batch.motion):
        out = model.run_guided(*inputs, batch.gate_target, batch.spatial_target)
    else:
        out = model.run(*inputs)
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
    processes: Processes = ALONE,
) -> Path:
    """Train a captioner and write its run folder.

    The best weights by validation BLEU-4 are kept (the latest, where there is no validation split). SIGINT and SIGTERM
    end training at the next step with a complete folder, as KeyboardInterrupt. Several ``processes`` (inside
    :func:`m2t_fast.distributed.job`) take every step together and come to the losses and weights of a single one, up to
    rounding; the first alone reads and writes the folder.

    Args:
        data: with a training split and, for BLEU, a validation split.
        folder: the run folder to write, or with ``resume`` to go on with.
        dtype: of the weights and the arithmetic, float32 or float64.
        progress: show a progress bar on a terminal, else a line an epoch, on stderr.

    Returns:
        The run folder.

    Raises:
        UserError: the folder exists (without ``resume``), cannot be written, is being trained in, or belongs to other
            data; or the processes have different data.
        JobError: another process has ended.
    """
    folder = Path(folder)
    torch.manual_seed(settings.seed)
    model = Captioner(model_config).to(device=device, dtype=dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    samples = digest(data["train"])
    if any(other != samples for other in processes.gather(samples)):
        raise processes.error(f"{data.source}: the processes of this job read different training data")
    with ExitStack() as stack:
        if resume:
            processes.on_main(lambda: stack.enter_context(locked(folder / METRICS)))
            if processes.main:
                for left in folder.glob(".*.tmp"):  # what a killed process was writing
                    left.unlink()
            position = load_state(folder / STATE, model, optimizer, processes)
            if position.digest != samples:
                raise processes.error(f"{folder}: the training data are not those this run was trained on")
        else:
            position = Position(digest=samples)
            for parameter in model.parameters():
                processes.copy_from_main(parameter.detach())

            def write() -> None:
                with new_folder(folder) as temporary:
                    training = {**settings.to_dict(), "dtype": str(dtype).removeprefix("torch."), "data": data.source}
                    write_run(temporary, model, data.vocabulary, data.statistics, data.settings, training)
                    (temporary / METRICS).touch()
                    save_state(temporary / STATE, model, optimizer, position)
                stack.enter_context(locked(folder / METRICS))

            processes.on_main(write)
        progress = progress and processes.main
        if progress:
            print(_summary(data), file=sys.stderr)
        _Trainer(data, model, optimizer, settings, folder, position, progress, processes).run()
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
        processes: Processes,
    ):
        self.data, self.model, self.optimizer, self.settings = data, model, optimizer, settings
        self.folder, self.position, self.progress, self.processes = folder, position, progress, processes
        self.weight = model.embedding.weight
        self.stop = threading.Event()
        self.since = time.perf_counter()

    def run(self) -> None:
        with (
            stop_on_signals(self.stop),
            open(self.folder / METRICS, "r+b") if self.processes.main else io.BytesIO() as self.metrics,
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
        batches = training_samples(split, settings.batch_size, settings.seed, position.epoch, start=position.batch)
        for samples in batches:
            loss, stop = self._step(samples)
            pending.append(loss)
            position.step += 1
            position.batch += 1
            self.bar.update()
            if position.step % settings.log_interval == 0:
                self._collect(pending)
                self._log_window()
            if stop:
                self._collect(pending)
                self._interrupt()
            if position.step % settings.checkpoint_interval == 0 and position.batch < total:
                self._collect(pending)
                self._save_state()
        self._collect(pending)
        self._finish_epoch(total)
        if self.processes.any(self.stop.is_set()):
            raise KeyboardInterrupt

    def _step(self, samples: Tensor) -> tuple[GuidedLoss, bool]:
        """One step; its losses, and whether to stop after it."""
        split, generator = self.data["train"], step_generator(self.settings.seed, self.position.step)
        if self.processes.size > 1:
            asked = self.stop.is_set()
            return shared_step(
                self.model, self.optimizer, split, samples, self.settings, generator, self.processes, asked
            )
        batch = self._on_device(batch_of(split, samples))
        return training_step(self.model, self.optimizer, batch, self.settings, generator), self.stop.is_set()

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
            text = f"{self.folder}: the loss is not finite at step {step}; the last good state is kept"
            raise self.processes.error(text)
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
            bleu = validation_bleu(
                self.model, validation, self.data.vocabulary, self.settings.batch_size, self.processes
            )
        line |= {"val_bleu_4": bleu, "seconds_validation": round(time.perf_counter() - started, 3)}
        if bleu is None or position.best_bleu is None or bleu > position.best_bleu:
            position.best_bleu = bleu
            self._save_weights()
        position.epoch, position.batch, position.sums = position.epoch + 1, 0, {}
        self._log(line)
        if self.progress:
            shown = "" if bleu is None else f"  val BLEU-4 {bleu:.1f} (best {position.best_bleu:.1f})"
            tqdm.write(f"epoch {line['epoch']:3d}  {_postfix(line)}{shown}  {position.seconds:.0f} s", file=sys.stderr)
        self._save_state()

    def _interrupt(self) -> None:
        self._save_state()
        if self.position.best_bleu is None:  # nothing validated yet: the latest weights are the best there are
            self._save_weights()
        raise KeyboardInterrupt

    def _save_weights(self) -> None:
        if self.processes.main:
            save_weights(self.folder / WEIGHTS, self.model)

    def _log(self, line: dict[str, Any]) -> None:
        self._tick()
        line["seconds"] = round(self.position.seconds, 3)
        self.metrics.write((json.dumps(line) + "\n").encode())
        self.metrics.flush()

    def _save_state(self) -> None:
        self._tick()
        self.position.metrics_bytes = self.metrics.tell()
        if self.processes.main:
            save_state(self.folder / STATE, self.model, self.optimizer, self.position)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.position.seconds += now - self.since
        self.since = now


def _postfix(means: dict[str, Any]) -> str:
    names = {"loss": "loss", "loss_language": "lang", "loss_spatial": "spat", "loss_adaptive": "adapt"}
    return " ".join(f"{short} {means[name]:.3f}" for name, short in names.items())
