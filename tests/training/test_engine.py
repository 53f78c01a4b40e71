"""The engine: graphed steps are the plain ones, a failed capture changes nothing, and no step waits for its device."""

from __future__ import annotations

import contextlib
import copy
import importlib
import warnings
from collections.abc import Iterator

import pytest
import torch
from recording import Recorder
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from m2t_fast import captioner
from m2t_fast.captioner import Captioner
from m2t_fast.data.buckets import Bucket, PlannedBatch, choose_buckets, epoch_plan
from m2t_fast.data.resident import ResidentSplit
from m2t_fast.distributed import Processes
from m2t_fast.errors import JobError
from m2t_fast.training import graphs
from m2t_fast.training.engine import Engine
from m2t_fast.training.settings import TrainingSettings
from m2t_fast.training.step import adamw

SETTINGS = TrainingSettings(batch_size=4)


def engine_for(model: Captioner, data, settings: TrainingSettings = SETTINGS, step: int = 0) -> Engine:
    model = copy.deepcopy(model).train()
    return Engine(model, adamw(model, settings), ResidentSplit(data["train"]), settings, step)


def plans(data, epochs: int = 2) -> list[PlannedBatch]:
    buckets = choose_buckets(data["train"], SETTINGS.batch_size)
    return [batch for e in range(epochs) for batch in epoch_plan(data["train"], buckets, SETTINGS.batch_size, 0, e)]


@pytest.fixture
def model(config) -> Captioner:
    torch.manual_seed(0)
    return Captioner(config)


def assert_same(engine: Engine, expected: Engine) -> None:
    for own, other in zip(engine._state(), expected._state(), strict=True):
        assert torch.equal(own, other)


def test_graphed_steps_are_the_plain_ones_to_the_bit(model, data):
    plain, graphed = engine_for(model, data), engine_for(model, data)
    recorder = graphed.recorder = Recorder(graphed)
    plan = plans(data)
    full = [batch for batch in plan if len(batch.samples) == SETTINGS.batch_size]
    shapes = {batch.bucket for batch in full}
    assert len(full) < len(plan) and len(shapes) > 1
    expected, found = list(plain.steps(plan)), list(graphed.steps(plan))
    assert all(map(torch.equal, found, expected))  # read at the end: no replay writes over losses given before
    assert_same(graphed, plain)
    assert recorder.warmed == recorder.captured == len(shapes)
    assert recorder.replayed == len(full) - len(shapes)
    assert graphed.counter.state.tolist() == [SETTINGS.seed, len(plan)]


@pytest.mark.parametrize("failing_at", [1, 2])
def test_a_failed_capture_leaves_no_trace_but_one_warning(failing_at, model, data):
    plain, graphed = engine_for(model, data), engine_for(model, data)
    recorder = graphed.recorder = Recorder(graphed, failing_at)
    plan = plans(data)
    with pytest.warns(UserWarning, match="no CUDA graph .*: operation not permitted when stream is capturing;") as said:
        found = list(graphed.steps(plan))
    assert len(said) == 1 and "advice" not in str(said[0].message)
    assert all(map(torch.equal, found, plain.steps(plan)))
    assert_same(graphed, plain)
    assert recorder.captured == failing_at and graphed.recorder is None and not graphed.graphs


def test_what_a_sum_raises_while_it_is_captured_is_of_the_capture(model, data):
    """Not the end of another process, which such an error is outside a capture."""
    engine = engine_for(model, data)
    engine.recorder = Recorder(engine)

    def capture(step):
        raise JobError("process 0 of 2: another process of this job has ended") from RuntimeError(
            "NCCL: no graphs\nmore"
        )

    engine.recorder.capture = capture
    with pytest.warns(UserWarning, match=r"no CUDA graph of a training step: NCCL: no graphs; training goes on"):
        list(engine.steps(plans(data, 1)))
    assert engine.recorder is None


@pytest.mark.parametrize("rank", [0, 1])
def test_sums_through_the_host_are_not_captured(rank, model, data, monkeypatch):
    """And one process of the job says so, in one line."""
    monkeypatch.setattr(graphs, "recorder_for", lambda device: object())
    monkeypatch.setattr(torch.distributed, "get_backend_config", lambda: "cpu:gloo,cuda:gloo")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = copy.deepcopy(model).train()
        split = ResidentSplit(data["train"])
        engine = Engine(model, adamw(model, SETTINGS), split, SETTINGS, processes=Processes(rank, 2))
    assert engine.recorder is None
    assert [str(line.message) for line in said] == [
        "no CUDA graph of a training step: sums over the processes go through the host, since this build of torch has "
        "no NCCL; training goes on without graphs, slower"
    ] * (rank == 0)


def test_steps_of_several_processes_are_waited_for_so_that_none_waits_for_ever(model, data, monkeypatch):
    monkeypatch.setenv("M2T_FAST_TIMEOUT", "0.02")
    engine = engine_for(model, data)
    engine.recorder = Recorder(engine)
    engine.recorder.done = lambda: lambda: False
    engine.wait()  # a process on its own waits for nobody
    engine.processes = Processes(1, 2)
    with pytest.raises(JobError, match=r"process 1 of 2: .* does not answer \(waited for 0.02 s\)"):
        engine.wait()


def test_another_error_than_of_a_capture_is_not_hidden(model, data):
    engine = engine_for(model, data)
    engine.recorder = Recorder(engine)
    engine.recorder.capture = lambda step: 1 / 0
    with pytest.raises(ZeroDivisionError):
        list(engine.steps(plans(data)))


def test_on_the_cpu_there_are_no_graphs_and_no_warning(model, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = engine_for(model, data)
        assert engine.recorder is None
        assert all(losses.isfinite().all() for losses in engine.steps(plans(data, 1)))
        assert list(engine.steps([])) == []


def test_a_later_engine_goes_on_to_the_bit(model, data):
    whole = engine_for(model, data)
    plan = plans(data)
    expected = list(whole.steps(plan))
    first = engine_for(model, data)
    first.recorder = Recorder(first)
    cut = len(plan) // 2
    list(first.steps(plan[:cut]))
    second = Engine(first.model, first.optimizer, first.split, SETTINGS, step=cut)
    second.recorder = Recorder(second)
    assert all(map(torch.equal, second.steps(plan[cut:]), expected[cut:]))
    assert_same(second, whole)


def test_a_shape_with_more_padding_gives_the_same_losses(model, data):
    samples = torch.arange(4)
    losses = [engine_for(model.double(), data, step=3) for _ in range(2)]
    for engine in losses:
        engine.split.frames = engine.split.frames.double()
    longest = Bucket(int(data["train"].sample_lengths.max()), int(data["train"].token_offsets.diff().max()) - 1)
    exact = losses[0].take(samples, longest)
    padded = losses[1].take(samples, Bucket(longest.frames + 9, longest.words + 5))
    torch.testing.assert_close(padded, exact, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_adamw_in_one_kernel_is_adamw(dtype, model, data):
    model = model.to(dtype)
    ours, theirs = copy.deepcopy(model), copy.deepcopy(model)
    optimizers = [
        adamw(ours, SETTINGS),
        torch.optim.AdamW(theirs.parameters(), lr=SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay),
    ]
    assert optimizers[0].defaults["fused"] and not optimizers[0].defaults["capturable"]
    for _ in range(5):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    tolerance = 1e-6 if dtype == torch.float32 else 1e-14
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
        states = [o.state[p] for o, p in zip(optimizers, (a, b), strict=True)]
        assert states[0].keys() == states[1].keys() and float(states[0]["step"]) == float(states[1]["step"]) == 5


class NoLists(TorchFunctionMode):
    """Nothing makes a tensor of a list, alone or as an index: torch does that below what the other mode sees."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        assert function not in (torch.tensor, torch.as_tensor, Tensor.new_tensor), f"{function} of host values"
        if function in (Tensor.__getitem__, Tensor.__setitem__):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            assert not any(isinstance(i, (list, range)) for i in index), "a list as an index"
        return function(*args, **(kwargs or {}))


class OnDeviceAlone(TorchDispatchMode):
    """Of the device ``meta``, which has no values: every op that is run, and every op inside ours, is on it alone.

    What reads a value fails there by itself; a tensor of the host among the operands is what a GPU would wait for.
    """

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function.namespace == "m2t_fast":
            # Not what the op says of its shapes: what it does, on the backend that any device has.
            with NoLists(), self:
                result = function.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), *args, **kwargs)
        else:
            result = function(*args, **kwargs)
        for x in tree_leaves((args, kwargs, result)):
            assert not isinstance(x, Tensor) or x.is_meta, f"{function}: a tensor {tuple(x.shape)} of the host"
        return result


@contextlib.contextmanager
def nothing_waits() -> Iterator[None]:
    with NoLists(), OnDeviceAlone():
        yield


@pytest.fixture
def fused_anywhere(monkeypatch) -> None:
    """AdamW's kernel is registered for ``meta``, which its list of devices leaves out."""
    adam = importlib.import_module("torch.optim.adam")
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda *_, **__: None)


@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_no_step_waits_for_its_device(scoring, config, data, fused_anywhere):
    model = Captioner(type(config)(**{**config.to_dict(), "scoring": scoring})).to("meta").train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True, capturable=True)
    engine = Engine(model, optimizer, ResidentSplit(data["train"], "meta"), SETTINGS)
    samples = torch.zeros(4, dtype=torch.int64, device="meta")
    with nothing_waits():
        for _ in range(2):  # the first makes the moments
            losses = engine.take(samples, Bucket(30, 9))
    assert losses.is_meta and losses.shape == (4,)
    assert next(iter(optimizer.state.values()))["step"].is_meta


def test_no_fused_step_waits_for_its_device(config, data, monkeypatch, fused_anywhere):
    monkeypatch.setattr(captioner, "has_kernel", lambda op, tensor: True)
    test_no_step_waits_for_its_device("part", config, data, None)


def test_no_shared_step_waits_for_its_device(config, data, monkeypatch, fused_anywhere):
    """What a process does between the sums over the processes."""
    monkeypatch.setattr(Processes, "sum", lambda self, values: values)
    model = Captioner(config).to("meta").train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True, capturable=True)
    engine = Engine(model, optimizer, ResidentSplit(data["train"], "meta"), SETTINGS, processes=Processes(1, 2))
    with nothing_waits():
        for rows in (4, 3, 1):  # the last leaves this process without a row
            losses = engine.take(torch.zeros(rows, dtype=torch.int64, device="meta"), Bucket(30, 9))
    assert losses.is_meta and losses.shape == (4,) and engine.recorder is None


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: x.nonzero(),
        lambda x: x[x > 0],
        lambda x: x.cpu(),
        lambda x: x[:, [0, 2]],
        lambda x: torch.eye(3).to(x.device) @ x,
        lambda x: torch.tensor([1, 2, 3], device=x.device),
        lambda x: x.sum().tolist(),
        lambda x: torch.equal(x, x),
    ],
)
def test_what_waits_is_found(waits):
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError)), nothing_waits():
        waits(torch.ones(3, 3, device="meta"))


def test_the_losses_of_a_step_are_those_of_the_model(model, data):
    """The engine's relative motions and its step count, against the batch as it is in the data set."""
    from m2t_fast.data.batches import batch_of
    from m2t_fast.random import Counter

    engine = engine_for(model, data, step=7)
    samples = torch.tensor([3, 0, 5, 9])
    batch = batch_of(data["train"], samples)
    reference = engine_for(model, data).model
    draws = reference.draw(4, batch.gate_target.shape[1], SETTINGS.teacher_forcing, Counter(0, 7))
    losses = reference.losses(batch, draws, folded=False)
    expected = torch.stack(losses.weighted(SETTINGS.lambda_spat, SETTINGS.lambda_adapt))
    found = engine.take(samples, Bucket(batch.motion.shape[1], batch.gate_target.shape[1]))
    torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-6)
