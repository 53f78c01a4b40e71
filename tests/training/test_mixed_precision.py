"""Training in bfloat16: float32 weights, losses and validation, the same numbers after any interruption."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from unittest import mock

import pytest
import torch

from m2t_fast import Captioner, use_backend
from m2t_fast.data.batches import training_batches
from m2t_fast.ops import available_backends
from m2t_fast.random import Counter
from m2t_fast.run_folder import STATE, load_run, read_config
from m2t_fast.tensor_files import read_tensors
from m2t_fast.training import loop
from m2t_fast.training.loop import train
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import TrainingStep, adamw

SETTINGS = TrainingSettings(epochs=2, batch_size=8, log_interval=2, checkpoint_interval=3)
LOSSES = ("loss", "loss_language", "loss_spatial", "loss_adaptive")


def lines(folder: Path) -> list[dict]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith("seconds")} for row in rows]


@pytest.fixture(scope="module")
def mixed(data, config, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return train(data, config, SETTINGS, folder, dtype=torch.bfloat16, progress=False)


def test_the_losses_are_those_of_float32_but_for_rounding(mixed, data, config, tmp_path) -> None:
    exact = train(data, config, SETTINGS, tmp_path / "run", progress=False)
    assert lines(mixed) != lines(exact)
    for row, expected in zip(lines(mixed), lines(exact), strict=True):
        for name in LOSSES:
            assert row[name] == pytest.approx(expected[name], rel=0.02), (row["step"], name)


def test_what_it_leaves_is_float32_and_says_how_it_was_made(mixed, data) -> None:
    assert read_config(mixed)["training"]["dtype"] == "bfloat16"
    tensors = read_tensors(mixed / STATE)[0] | read_tensors(mixed / "model.safetensors")[0]
    assert {x.dtype for x in tensors.values()} == {torch.float32}
    model = load_run(mixed).model
    batch = next(training_batches(data["train"], 8, seed=0, epoch=0))
    assert model.generate(batch.motion, batch.lengths, max_length=5).tokens.shape[:2] == (8, 2)


def test_a_stopped_run_resumes_to_the_same_losses(mixed, data, config, tmp_path) -> None:
    folder, collect = tmp_path / "run", loop._Trainer._collect

    def stopping(trainer, pending) -> None:
        collect(trainer, pending)
        if trainer.position.step == 4:
            raise KeyboardInterrupt

    with mock.patch.object(loop._Trainer, "_collect", stopping), pytest.raises(KeyboardInterrupt):
        train(data, config, SETTINGS, folder, dtype=torch.bfloat16, progress=False)
    train(data, config, SETTINGS, folder, dtype=torch.bfloat16, resume=True, progress=False)
    assert lines(folder) == lines(mixed)
    for name in (STATE, "model.safetensors"):
        found, expected = (read_tensors(x / name)[0] for x in (folder, mixed))
        assert found.keys() == expected.keys() and all(torch.equal(x, expected[key]) for key, x in found.items())


@pytest.mark.parametrize("backend", [name for name in available_backends() if name != "triton"])
@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_a_step_computes_in_bfloat16_between_float32_weights_and_losses(scoring, backend, data, config) -> None:
    torch.manual_seed(0)
    model = Captioner(dataclasses.replace(config, scoring=scoring)).train()
    batch = next(training_batches(data["train"], 8, seed=0, epoch=0))
    draws = model.draw(*batch.gate_target.shape, 0.5, Counter(0))
    seen, grads, values = [], [], []
    with use_backend(backend):
        for watched in (False, True):  # a hooked layer is called in place of the fused op: numbers come first
            if watched:
                model.encoder.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
                model.step.register_forward_hook(lambda module, inputs, output: seen.append(output.features.dtype))
            for dtype in (torch.bfloat16, torch.float32):
                loss = TrainingStep(model, adamw(model, SETTINGS), SETTINGS, dtype).losses_and_gradients(batch, draws)
                assert all(x.dtype == torch.float32 for x in loss)
                grads.append([p.grad for p in model.parameters()])
                values.append(torch.stack(tuple(loss)))
    assert len(seen) >= 4 and [dtype for dtype, _ in itertools.groupby(seen)] == [torch.bfloat16, torch.float32]
    torch.testing.assert_close(values[0], values[1], rtol=0.02, atol=0.0)
    for (name, _), found, exact in zip(model.named_parameters(), *grads[:2], strict=True):
        assert found.dtype == torch.float32
        assert float((found - exact).norm()) <= 0.1 * float(exact.norm()) + 1e-3, name


def test_the_weights_learn_less_than_bfloat16_could_hold(data, config) -> None:
    """A step of AdamW is smaller than the distance of neighbouring bfloat16 numbers: float32 weights take it."""
    torch.manual_seed(0)
    model = Captioner(config).train()
    before = [p.detach().clone() for p in model.parameters()]
    batch = next(training_batches(data["train"], 8, seed=0, epoch=0))
    settings = dataclasses.replace(SETTINGS, learning_rate=1e-6)

    TrainingStep(model, adamw(model, settings), settings, torch.bfloat16)(batch, Counter(0))
    for old, new in zip(before, model.parameters(), strict=True):
        assert not torch.equal(old, new.detach()) or not new.grad.any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64])
def test_other_dtypes_are_refused(dtype, data, config, tmp_path) -> None:
    with pytest.raises(ValueError, match=f"dtype: got {dtype}, expected one of torch.float32, torch.float64, torch.bf"):
        train(data, config, SETTINGS, tmp_path / "run", dtype=dtype, progress=False)
    assert not any(tmp_path.iterdir())
