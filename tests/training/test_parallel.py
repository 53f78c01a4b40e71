"""Training in several processes: the losses and weights of one, whatever their number, and whatever ends them."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from pathlib import Path

import forking
import pytest
import torch

from m2t_fast.captioner import Captioner
from m2t_fast.losses import guided_loss, supervised_counts
from m2t_fast.random import Counter
from m2t_fast.tensor_files import read_tensors
from m2t_fast.training.loop import train
from m2t_fast.training.settings import TrainingSettings

SCRIPT = Path(__file__).with_name("interrupted.py")
SETTINGS = TrainingSettings(epochs=2, batch_size=8, log_interval=2, checkpoint_interval=3)
TIMES = ("seconds", "seconds_validation")


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def finish(processes: list[forking.Forked]) -> list[str]:
    """Waits for all processes; what each said on stderr."""
    return [process.communicate(timeout=120)[1] for process in processes]


def assert_same(folder: Path, expected: Path, tolerance: float) -> None:
    """Losses, weights and moments are equal, and nothing but the run's own files is there."""
    assert {path.name for path in folder.iterdir()} == {path.name for path in expected.iterdir()}
    ours, theirs = lines(folder), lines(expected)
    assert len(ours) == len(theirs) > 4
    for own, other in zip(ours, theirs, strict=True):
        assert own.keys() == other.keys()
        assert own.pop("kind") == other.pop("kind")
        for name in own.keys() - set(TIMES):
            assert own[name] == pytest.approx(other[name], rel=tolerance, abs=tolerance), (name, own["step"])
    for name in ("model.safetensors", "training_state.safetensors"):
        own_tensors, other_tensors = (read_tensors(path / name)[0] for path in (folder, expected))
        assert own_tensors.keys() == other_tensors.keys()
        for key, tensor in own_tensors.items():
            torch.testing.assert_close(tensor, other_tensors[key], rtol=tolerance, atol=tolerance, msg=key)


@pytest.fixture(scope="module")
def alone(data, config, tmp_path_factory) -> Path:
    return train(data, config, SETTINGS, tmp_path_factory.mktemp("runs") / "run", progress=False)


@pytest.mark.parametrize("size", [2, 3])
def test_several_processes_train_what_one_does(size, alone, start_job, tmp_path):
    said = finish(start_job(size, SCRIPT, tmp_path / "run", EPOCHS="2"))
    assert said == [""] * size
    assert_same(tmp_path / "run", alone, 1e-5)


def test_several_processes_guide_time_as_one_does(data, config, start_job, tmp_path):
    settings = dataclasses.replace(SETTINGS, lambda_temp=2.0)
    alone = train(data, config, settings, tmp_path / "alone", progress=False)
    said = finish(start_job(2, SCRIPT, tmp_path / "run", EPOCHS="2", LAMBDA_TEMP="2"))
    assert said == [""] * 2
    assert_same(tmp_path / "run", alone, 1e-5)


@pytest.mark.parametrize("failing", ["0:-1", "2:1"])
def test_processes_that_capture_their_steps_train_what_one_does(failing, data, config, start_job, tmp_path):
    """All of them replay, sums included; where one cannot capture, none does, and the first says why."""
    alone = train(data, config, SETTINGS, tmp_path / "alone", dtype=torch.float64, progress=False)
    said = finish(start_job(2, SCRIPT, tmp_path / "run", "--double", EPOCHS="2", GRAPHS=failing))
    done = [[*map(int, (tmp_path / f"run.graphs.{rank}").read_text().split())] for rank in range(2)]
    assert done[0] == done[1]
    warmed, captured, replayed = done[0]
    assert warmed == captured > 1 and said[1] == ""
    if failing == "0:-1":
        assert replayed > 0 and said[0] == ""
    else:
        reason = "no CUDA graph of a training step: operation not permitted when stream is capturing (process 1 of 2);"
        assert captured == 2 and replayed == 0
        assert said[0].count(reason) == said[0].count("UserWarning") == 1
    assert_same(tmp_path / "run", alone, 1e-10)


def test_processes_without_a_sample_of_a_batch_take_part(data, config, start_job, tmp_path):
    settings = dataclasses.replace(SETTINGS, epochs=1, batch_size=2)
    assert len(data["train"]) % 2 or len(data["train"]) > 2  # two samples, or one, for three processes
    alone = train(data, config, settings, tmp_path / "alone", dtype=torch.float64, progress=False)
    said = finish(start_job(3, SCRIPT, tmp_path / "run", "--double", EPOCHS="1", BATCH_SIZE="2"))
    assert said == [""] * 3
    assert_same(tmp_path / "run", alone, 1e-10)


def wait_for_lines(process: forking.Forked, folder: Path, count: int) -> None:
    metrics = folder / "metrics.jsonl"
    while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < count):
        time.sleep(0.002)


@pytest.mark.parametrize(("killed", "again"), [pytest.param(1, 3, marks=pytest.mark.slow), (0, 1)])
def test_a_killed_process_ends_the_job_which_resumes_with_another_number(killed, again, alone, start_job, tmp_path):
    folder = tmp_path / "run"
    processes = start_job(2, SCRIPT, folder, EPOCHS="2")
    wait_for_lines(processes[0], folder, 4)
    processes[killed].send_signal(signal.SIGKILL)
    said = finish(processes)
    assert processes[1 - killed].returncode == 1
    assert f"process {1 - killed} of 2: another process of this job has ended" in said[1 - killed]
    assert len(lines(folder)) < len(lines(alone))
    assert finish(start_job(again, SCRIPT, folder, "--resume", EPOCHS="2")) == [""] * again
    assert_same(folder, alone, 1e-5)


def test_a_process_asked_to_stop_stops_all_at_the_same_step(alone, data, config, start_job, tmp_path):
    folder = tmp_path / "run"
    processes = start_job(2, SCRIPT, folder, EPOCHS="2")
    wait_for_lines(processes[0], folder, 2)
    processes[1].send_signal(signal.SIGTERM)
    assert finish(processes) == ["", ""]
    assert [process.returncode for process in processes] == [130, 130]
    train(data, config, SETTINGS, folder, resume=True, progress=False)
    assert_same(folder, alone, 1e-5)


def test_a_silent_process_is_given_up_in_time(start_job, tmp_path):
    folder = tmp_path / "run"
    processes = start_job(2, SCRIPT, folder, EPOCHS="200", M2T_FAST_TIMEOUT="3")
    wait_for_lines(processes[0], folder, 2)
    processes[1].send_signal(signal.SIGSTOP)
    _, said = processes[0].communicate(timeout=60)
    assert processes[0].returncode == 1 and "does not answer" in said


def test_counts_weight_the_means_of_parts_to_the_mean_of_all(data):
    """A batch cut in two: each term's means, weighted by counts, are the whole's; also where a part has none."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(4, 20, (5, 8), generator=generator)
    tokens[3, 4:] = 0
    lengths = torch.tensor([9, 4, 1, 7, 9])
    gate, spatial = (torch.randint(-1, 2, shape, generator=generator).float() for shape in ((5, 7), (5, 7, 6)))
    gate[3:], spatial[:3] = -1, -1

    class Out:
        logits = torch.randn(5, 7, 20, generator=generator)
        gate_logit = torch.randn(5, 7, generator=generator)
        gate = gate_logit.sigmoid()
        spatial = torch.randn(5, 7, 9, 6, generator=generator).softmax(-1)

    def cut(rows: slice) -> tuple:
        out = type("Cut", (), {n: getattr(Out, n)[rows] for n in ("logits", "gate", "gate_logit", "spatial")})
        targets = (tokens[rows], lengths[rows], gate[rows], spatial[rows])
        return torch.stack(guided_loss(out, *targets)[1:]), supervised_counts(*targets)

    whole, count = cut(slice(0, 5))
    parts = [cut(slice(0, 3)), cut(slice(3, 5))]
    assert torch.equal(count, sum(own for _, own in parts))
    assert parts[0][1][1] == 0 and parts[1][1][2] == 0
    torch.testing.assert_close(sum(means * own / count for means, own in parts), whole)


def test_the_random_numbers_of_a_share_are_its_rows_of_the_whole(config):
    """A process draws for its own rows and longest caption alone; what they read does not depend on it."""
    model = Captioner(config).train()
    counter, rows = Counter(0, 5), torch.arange(7)[1::3]
    whole, own = model.draw(7, 9, 0.5, counter), model.draw(2, 6, 0.5, counter.of_rows(rows))
    assert torch.equal(own.coins, whole.coins[:6])
    for mine, everybodys in zip(own.dropout, whole.dropout, strict=True):
        assert torch.equal(mine, everybodys[[1, 4], :6])
    assert model.eval().draw(2, 6, 1.0, counter.of_rows(rows)) == (None, None)
