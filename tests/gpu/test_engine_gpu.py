"""The training engine on a GPU: captured steps are the eager ones, nothing waits, a failed capture changes nothing."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import warnings
from collections.abc import Iterator

import pytest
import torch

from m2t_fast.captioner import Captioner
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.buckets import PlannedBatch, choose_buckets, epoch_plan
from m2t_fast.data.dataset import Prepared
from m2t_fast.data.loading import load_data
from m2t_fast.data.resident import ResidentSplit
from m2t_fast.distributed import Processes
from m2t_fast.modules import LSTM
from m2t_fast.training.engine import Engine
from m2t_fast.training.loop import train
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import TrainingStep, adamw

SETTINGS = TrainingSettings(batch_size=8)
DTYPES = [torch.float32, torch.float64, torch.bfloat16]


@pytest.fixture(scope="module")
def data() -> Prepared:
    return load_data("synthetic", synthetic_count={"train": 48, "val": 4, "test": 2}, joints=21)


@pytest.fixture
def model(data: Prepared) -> Captioner:
    torch.manual_seed(0)
    return Captioner(CaptionerConfig.kit(len(data.vocabulary))).cuda().train()


def engine_for(
    model: Captioner,
    data: Prepared,
    capture: bool,
    dtype: torch.dtype = torch.float32,
    settings: TrainingSettings = SETTINGS,
) -> Engine:
    model = copy.deepcopy(model).to(torch.float64 if dtype == torch.float64 else torch.float32)
    resident = ResidentSplit(data["train"], "cuda", model.embedding.weight.dtype)
    return Engine(model, adamw(model, settings), resident, settings, capture=capture, dtype=dtype)


def plan_of(data: Prepared, epochs: int = 2) -> list[PlannedBatch]:
    buckets = choose_buckets(data["train"], SETTINGS.batch_size)
    return [b for e in range(epochs) for b in epoch_plan(data["train"], buckets, SETTINGS.batch_size, 0, e)]


def assert_same(ours: Engine, theirs: Engine, plan: list[PlannedBatch], tolerance: float) -> None:
    for found, expected in zip(list(ours.steps(plan)), list(theirs.steps(plan)), strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    for own, other in zip(ours._state(), theirs._state(), strict=True):
        torch.testing.assert_close(own, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))
def test_captured_steps_are_the_eager_ones(dtype, model, data):
    ours, theirs = engine_for(model, data, True, dtype), engine_for(model, data, False, dtype)
    plan = plan_of(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same(ours, theirs, plan, {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 2e-2}[dtype])
    full = [batch.bucket for batch in plan if len(batch.samples) == SETTINGS.batch_size]
    assert set(ours.graphs) == set(full) and len(full) > len(set(full)) > 1
    assert ours.counter.state.tolist() == [0, len(plan)]


def test_two_runs_of_graphs_are_equal_to_the_bit(model, data):
    runs = [engine_for(model, data, True) for _ in range(2)]
    assert_same(*runs, plan_of(data), 0.0)


@pytest.fixture
def waiting_is_an_error() -> Iterator[None]:
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))
@pytest.mark.parametrize("capture", [True, False])
def test_no_step_waits_for_the_device(capture, dtype, model, data, waiting_is_an_error):
    engine = engine_for(model, data, capture, dtype)
    plan = plan_of(data, 1)
    list(engine.steps(plan))
    numbers = [(samples.cuda(), bucket) for bucket, samples in plan]
    torch.cuda.set_sync_debug_mode("error")
    losses = [engine.take(samples, bucket) for samples, bucket in numbers]
    torch.cuda.set_sync_debug_mode("default")
    assert bool(torch.stack(losses).isfinite().all())


def test_what_cannot_be_captured_goes_on_eagerly(model, data, monkeypatch):
    original = TrainingStep.__call__

    def waiting(*arguments):
        loss = original(*arguments)
        loss.total.item()
        return loss

    theirs = engine_for(model, data, False)
    expected = list(theirs.steps(plan_of(data)))
    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "__call__", waiting)
        ours = engine_for(model, data, True)
        before = torch.cuda.current_stream()
        with pytest.warns(UserWarning, match="no CUDA graph of a training step") as said:
            found = list(ours.steps(plan_of(data)))
    assert len(said) == 1 and ours.recorder is None and torch.cuda.current_stream() == before
    torch.testing.assert_close(torch.stack(found), torch.stack(expected), rtol=1e-5, atol=1e-5)
    for own, other in zip(ours._state(), theirs._state(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-5)
    # The process is as good as before: another engine captures.
    test_captured_steps_are_the_eager_ones(torch.float32, model, data)


@pytest.fixture
def one_of_nccl(tmp_path, monkeypatch) -> Iterator[Processes]:
    """The first of two processes, whose sums are NCCL's over this one: half the samples of each batch."""
    if not torch.distributed.is_available() or not torch.distributed.is_nccl_available():
        pytest.skip("this build of torch has no NCCL")
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl", store=store, rank=0, world_size=1)
    monkeypatch.setattr(Processes, "gather", lambda self, value: [value])
    yield Processes(0, 2)
    torch.distributed.destroy_process_group()


def test_sums_over_processes_are_captured(one_of_nccl, model, data):
    engines = []
    for capture in (True, False):
        own = copy.deepcopy(model)
        resident = ResidentSplit(data["train"], "cuda")
        engines.append(Engine(own, adamw(own, SETTINGS), resident, SETTINGS, 0, one_of_nccl, capture))
    # Closed whatever happens, or the end of the group would wait for the graphs.
    with warnings.catch_warnings(), contextlib.closing(engines[0]):
        warnings.simplefilter("error")
        assert_same(*engines, plan_of(data), 1e-5)
        assert engines[0].graphs and engines[0].recorder is not None


@pytest.mark.slow
def test_compiled_and_captured(model, data):
    settings = dataclasses.replace(SETTINGS, compile=True)
    ours, theirs = engine_for(model, data, True, settings=settings), engine_for(model, data, False)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert_same(ours, theirs, plan_of(data), 1e-4)
    assert ours.graphs


def test_a_run_goes_on_from_a_gpu_to_a_cpu_and_back(data, tmp_path):
    config = CaptionerConfig.kit(len(data.vocabulary))
    settings = dataclasses.replace(SETTINGS, epochs=1, log_interval=2, checkpoint_interval=3)
    folder = train(data, config, settings, tmp_path / "run", "cuda", progress=False)
    for epochs, device in ((2, "cpu"), (3, "cuda")):
        settings = dataclasses.replace(settings, epochs=epochs)
        train(data, config, settings, folder, device, resume=True, progress=False)
    alone = train(data, config, settings, tmp_path / "alone", "cuda", progress=False)
    rows = [[json.loads(line) for line in (f / "metrics.jsonl").read_text().splitlines()] for f in (folder, alone)]
    losses = [[row["loss"] for row in lines if row["kind"] == "epoch"] for lines in rows]
    assert losses[0] == pytest.approx(losses[1], rel=2e-2) and len(losses[0]) == 3


@pytest.mark.parametrize(("width", "words"), [(64, 9), (256, 40), (256, 1)])
def test_the_lstm_trains_in_float32(width, words):
    """Outputs and gradients against float64: TF32, cuDNN's default, would be a thousand times as far away."""
    exact = LSTM(width, width).double()
    model = copy.deepcopy(exact).float().cuda()
    x = torch.randn(16, words, width, dtype=torch.float64)

    def results(layer: LSTM, x: torch.Tensor) -> list[torch.Tensor]:
        x = x.clone().requires_grad_()
        output, (hidden, cell) = layer(x, None)
        total = (output * torch.linspace(-1, 1, words, device=x.device)[:, None]).sum() + hidden.sum() + cell.sum()
        return [output, hidden, cell, *torch.autograd.grad(total, [x, *layer.parameters()])]

    before = torch.backends.cudnn.rnn.fp32_precision
    for found, truth in zip(results(model, x.float().cuda()), results(exact, x), strict=True):
        error = (found.cpu().double() - truth).abs().max() / truth.abs().max()
        assert float(error) < 1e-5
    assert torch.backends.cudnn.rnn.fp32_precision == before
    with torch.no_grad():
        assert not model(x.float().cuda(), None)[0].requires_grad
    with torch.autocast("cuda", torch.bfloat16):
        assert all(g.isfinite().all() for g in results(model, x.float().cuda()))
