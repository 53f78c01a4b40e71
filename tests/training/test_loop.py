"""Training: it learns, what it writes, and that no interruption changes the losses by a bit."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import time
from pathlib import Path

import forking
import pytest
import torch

from m2t_fast import Captioner
from m2t_fast.benchmarking.stepwise import stepwise
from m2t_fast.data.batches import training_batches
from m2t_fast.errors import UserError
from m2t_fast.locks import locked
from m2t_fast.losses import guided_loss
from m2t_fast.random import Counter
from m2t_fast.run_folder import load_run
from m2t_fast.training.loop import train
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import TrainingStep

SETTINGS = TrainingSettings(epochs=6, batch_size=8, log_interval=2, checkpoint_interval=3)
TIMES = ("seconds", "seconds_validation")


def lines(folder: Path) -> list[dict]:
    """metrics.jsonl without the times."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


@pytest.fixture(scope="module")
def undisturbed(data, config, tmp_path_factory) -> Path:
    return train(data, config, SETTINGS, tmp_path_factory.mktemp("runs") / "run", progress=False)


def assert_same_run(folder: Path, expected: Path) -> None:
    assert lines(folder) == lines(expected)
    for name in ("model.safetensors", "vocabulary.json", "config.json"):
        assert (folder / name).read_bytes() == (expected / name).read_bytes(), name
    assert not [path.name for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_what_a_run_folder_holds(undisturbed, data):
    names = {"config.json", "metrics.jsonl", "model.safetensors", "training_state.safetensors", "vocabulary.json"}
    names |= {"trust.safetensors"}
    assert {path.name for path in undisturbed.iterdir()} == names
    rows = lines(undisturbed)
    epochs = [row for row in rows if row["kind"] == "epoch"]
    assert [row["epoch"] for row in epochs] == [1, 2, 3, 4, 5, 6]
    assert all(0 <= row["val_bleu_4"] <= 100 for row in epochs)
    for row in rows:
        parts = row["loss_language"] + 2 * row["loss_spatial"] + 3 * row["loss_adaptive"]
        assert row["loss"] == pytest.approx(parts, rel=1e-5)
    assert json.loads((undisturbed / "metrics.jsonl").read_text().splitlines()[0])["seconds"] > 0
    run = load_run(undisturbed)
    assert run.vocabulary == data.vocabulary and run.statistics == data.statistics and not run.model.training


def test_it_learns(data, config, tmp_path):
    settings = TrainingSettings(epochs=20, batch_size=8, learning_rate=2e-2, teacher_forcing=1.0)
    only = dataclasses.replace(data, splits={"train": data["train"]})
    rows = lines(train(only, config, settings, tmp_path / "run", progress=False))
    first, *_, last = (row for row in rows if row["kind"] == "epoch")
    for name in ("loss_language", "loss_adaptive"):
        assert last[name] < 0.6 * first[name], name
    assert last["loss_spatial"] < first["loss_spatial"]


def test_two_runs_are_equal_to_the_bit(undisturbed, data, config, tmp_path):
    assert_same_run(train(data, config, SETTINGS, tmp_path / "again", progress=False), undisturbed)


def test_another_seed_is_another_run(undisturbed, data, config, tmp_path):
    other = train(data, config, dataclasses.replace(SETTINGS, seed=1), tmp_path / "other", progress=False)
    assert lines(other) != lines(undisturbed)


def start(folder: Path, *options: str) -> forking.Forked:
    threads = str(torch.get_num_threads())
    argv = [Path(__file__).with_name("interrupted.py"), folder, *options]
    return forking.start(argv, {**os.environ, "OMP_NUM_THREADS": threads})


def wait_for_lines(process: forking.Forked, folder: Path, count: int) -> None:
    metrics = folder / "metrics.jsonl"
    while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < count):
        time.sleep(0.002)


@pytest.mark.slow
@pytest.mark.parametrize("after_lines", [0, 3, 7, 14])
def test_a_killed_run_resumes_to_the_same_losses(after_lines, undisturbed, data, config, tmp_path):
    folder = tmp_path / "run"
    process = start(folder)
    wait_for_lines(process, folder, after_lines)
    time.sleep(random.Random(after_lines).uniform(0, 0.05))  # any moment: between, inside or after steps and files
    process.send_signal(signal.SIGKILL)
    process.wait()
    # Killed before the folder was there, it has nothing to resume.
    train(data, config, SETTINGS, folder, resume=folder.exists(), progress=False)
    assert_same_run(folder, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_is_usable_and_resumes_to_the_same_losses(number, undisturbed, data, config, tmp_path):
    folder = tmp_path / "run"
    process = start(folder)
    wait_for_lines(process, folder, 1)
    process.send_signal(number)
    assert process.wait() in (130, 0)
    assert load_run(folder).model.config == config
    train(data, config, SETTINGS, folder, resume=True, progress=False)
    assert_same_run(folder, undisturbed)


def test_every_cut_between_two_writes_resumes_to_the_same_losses(undisturbed, data, config, tmp_path, monkeypatch):
    """Fail at each single file operation in turn, as a kill would leave it."""
    from m2t_fast.training import loop, state

    class Killed(BaseException):
        pass

    for module in (state, loop):  # the training state; the best weights
        name, original = f"{module.__name__}.write", module.write_tensors
        for call in (2, 4):
            folder, calls = tmp_path / f"{name}{call}", []

            def killed(*arguments, calls=calls, call=call, original=original):
                calls.append(1)
                if len(calls) == call:
                    raise Killed
                original(*arguments)

            with monkeypatch.context() as patch:
                patch.setattr(module, "write_tensors", killed)
                try:
                    train(data, config, SETTINGS, folder, progress=False)
                except Killed:
                    pass
                else:  # fewer improvements of BLEU than calls: nothing was cut, nothing to show
                    continue
            train(data, config, SETTINGS, folder, resume=True, progress=False)
            assert_same_run(folder, undisturbed)


def test_guided_time_resumes_to_the_same_losses(data, config, tmp_path):
    """Stopped after an epoch, it comes to the bits of a run that was not; its lines hold the loss and add up."""
    settings = dataclasses.replace(SETTINGS, epochs=2, lambda_temp=4.0)
    whole = train(data, config, settings, tmp_path / "whole", progress=False)
    for row in lines(whole):
        parts = row["loss_language"] + 2 * row["loss_spatial"] + 3 * row["loss_adaptive"] + 4 * row["loss_temporal"]
        assert row["loss"] == pytest.approx(parts, rel=1e-5) and row["loss_temporal"] > 0
    first = dataclasses.replace(settings, epochs=1)
    train(data, config, first, tmp_path / "cut", progress=False)
    train(data, config, settings, tmp_path / "cut", progress=False, resume=True)
    assert lines(tmp_path / "cut") == lines(whole)
    assert (tmp_path / "cut" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_guided_time_draws_windows_to_their_segments(data, config, tmp_path):
    only = dataclasses.replace(data, splits={"train": data["train"]})
    settings = TrainingSettings(epochs=20, batch_size=8, learning_rate=2e-2, teacher_forcing=1.0, lambda_temp=3.0)
    rows = [r for r in lines(train(only, config, settings, tmp_path / "run", progress=False)) if r["kind"] == "epoch"]
    assert rows[-1]["loss_temporal"] < 0.75 * rows[0]["loss_temporal"]


def test_without_guided_time_the_times_of_a_data_set_change_nothing(undisturbed, data, config, tmp_path):
    split = data["train"]
    assert split.temporal_targets is not None
    untimed = dataclasses.replace(split, temporal_targets=None)
    bare = dataclasses.replace(data, splits={**data.splits, "train": untimed})
    assert_same_run(train(bare, config, SETTINGS, tmp_path / "run", progress=False), undisturbed)
    with pytest.raises(UserError, match=r"^synthetic: no word names a segment .* needs segments\.json"):
        train(bare, config, dataclasses.replace(SETTINGS, lambda_temp=1.0), tmp_path / "no", progress=False)
    assert not (tmp_path / "no").exists()


def test_more_epochs_go_on_from_a_finished_run(undisturbed, data, config, tmp_path):
    folder = train(data, config, dataclasses.replace(SETTINGS, epochs=3), tmp_path / "run", progress=False)
    train(data, config, SETTINGS, folder, resume=True, progress=False)
    assert lines(folder) == lines(undisturbed)


def test_an_existing_folder_is_refused_and_left_alone(undisturbed, data, config):
    before = {path.name: path.read_bytes() for path in undisturbed.iterdir()}
    with pytest.raises(UserError, match="exists already"):
        train(data, config, SETTINGS, undisturbed, progress=False)
    assert {path.name: path.read_bytes() for path in undisturbed.iterdir()} == before


def test_an_unwritable_place_is_refused(data, config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        train(data, config, SETTINGS, tmp_path / "file" / "run", progress=False)


def test_a_run_is_not_resumed_on_other_data(undisturbed, data, config):
    other = dataclasses.replace(data, splits={**data.splits, "train": data["val"]})
    with pytest.raises(UserError, match="not those this run was trained on"):
        train(other, config, SETTINGS, undisturbed, resume=True, progress=False)


def test_two_processes_do_not_train_in_one_folder(data, config, tmp_path):
    folder = train(data, config, dataclasses.replace(SETTINGS, epochs=1), tmp_path / "run", progress=False)
    before = (folder / "metrics.jsonl").read_bytes()
    with locked(folder / "metrics.jsonl"), pytest.raises(UserError, match="another process is at work"):
        train(data, config, SETTINGS, folder, resume=True, progress=False)
    assert (folder / "metrics.jsonl").read_bytes() == before
    train(data, config, SETTINGS, folder, resume=True, progress=False)


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b"", lambda b: b"x" * len(b)])
def test_a_damaged_state_is_one_clear_error(damage, data, config, tmp_path):
    folder = train(data, config, dataclasses.replace(SETTINGS, epochs=1), tmp_path / "run", progress=False)
    state = folder / "training_state.safetensors"
    state.write_bytes(damage(state.read_bytes()))
    with pytest.raises(UserError, match="training_state.safetensors: damaged"):
        train(data, config, SETTINGS, folder, resume=True, progress=False)


def test_a_loss_that_is_not_finite_ends_training_with_the_step(data, config, tmp_path):
    broken = dataclasses.replace(data["train"], frames=torch.full_like(data["train"].frames, torch.nan))
    bad = dataclasses.replace(data, splits={**data.splits, "train": broken})
    with pytest.raises(UserError, match="not finite at step 1;"):
        train(bad, config, SETTINGS, tmp_path / "run", progress=False)


def test_without_validation_the_latest_weights_are_kept(data, config, tmp_path):
    only = dataclasses.replace(data, splits={"train": data["train"]})
    folder = train(only, config, dataclasses.replace(SETTINGS, epochs=2), tmp_path / "run", progress=False)
    assert [row["val_bleu_4"] for row in lines(folder) if row["kind"] == "epoch"] == [None, None]


def test_one_step_equals_the_loop_over_words(data, config):
    """Scheduled sampling, dropout, losses, clipping and AdamW: the same weights as step by step."""
    torch.manual_seed(0)
    fast, loop = Captioner(config).double().train(), Captioner(config).double().train()
    loop.load_state_dict(fast.state_dict())
    optimizers = [torch.optim.AdamW(m.parameters(), lr=5e-4, weight_decay=1e-4) for m in (fast, loop)]
    for step, batch in enumerate(training_batches(data["train"], 8, seed=0, epoch=0)):
        batch = batch._replace(motion=batch.motion.double())
        taken = TrainingStep(fast, optimizers[0], SETTINGS)(batch, Counter(0, step))
        draws = loop.draw(*batch.gate_target.shape, 0.5, Counter(0, step))
        out = stepwise(loop, batch.motion, batch.lengths, batch.tokens, draws)
        loss = guided_loss(out, batch.tokens, batch.lengths, batch.gate_target, batch.spatial_target, 2.0, 3.0)
        optimizers[1].zero_grad()
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(loop.parameters(), 1.0)
        optimizers[1].step()
        torch.testing.assert_close(taken.total, loss.total.detach(), rtol=1e-9, atol=1e-9)
    for (name, a), b in zip(fast.named_parameters(), loop.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8, msg=name)


@pytest.mark.parametrize(
    "change",
    [
        dict(epochs=0), dict(batch_size=-1), dict(seed=-1), dict(lambda_spat=-0.1), dict(lambda_adapt=float("inf")),
        dict(lambda_temp=-1.0),
        dict(teacher_forcing=1.1), dict(learning_rate=0.0), dict(clip=float("nan")), dict(log_interval=0),
    ],
)  # fmt: skip
def test_bad_settings_are_refused_by_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        TrainingSettings(**change)


def test_presets_are_the_papers():
    kit, h3d = TrainingSettings.kit(), TrainingSettings.humanml3d()
    assert (kit.epochs, kit.batch_size, kit.weight_decay, kit.lambda_spat, kit.lambda_adapt) == (200, 64, 1e-4, 2, 3)
    assert (h3d.epochs, h3d.batch_size, h3d.weight_decay, h3d.lambda_spat, h3d.lambda_adapt) == (70, 128, 1e-5, 0, 3)
    assert kit.learning_rate == h3d.learning_rate == 5e-4 and kit.teacher_forcing == 0.5 and kit.clip == 1.0
