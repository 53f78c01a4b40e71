"""Default devices, meta tensors, copies and files of a model, and what native code is given."""

from __future__ import annotations

import copy
import functools
import io
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import m2t_fast
from m2t_fast import Captioner, native, ops
from m2t_fast.data import load_data, motion_batches, training_batches
from m2t_fast.ops.registry import has_kernel
from m2t_fast.training.loop import train
from m2t_fast.training.settings import TrainingSettings

Said = Callable[..., list[Tensor]]
Triple = tuple[Tensor, Tensor, Tensor]
COUNT = {"train": 24, "val": 4, "test": 2}


@pytest.fixture
def default_meta() -> Iterator[None]:
    """Whoever makes a tensor without a device gets one on meta, which has no memory: what a GPU would be elsewhere."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps on the built-in data."""
    data = load_data("synthetic", synthetic_count=COUNT, joints=21)
    config = m2t_fast.CaptionerConfig.kit(vocab_size=len(data.vocabulary))
    settings = TrainingSettings(epochs=1, batch_size=8)
    return train(data, config, settings, tmp_path_factory.mktemp("runs") / "run", progress=False)


def test_ragged_arrays(default_meta: None) -> None:
    values, offsets = torch.arange(12.0, device="cpu").view(6, 2), torch.tensor([0, 1, 6], device="cpu")
    out = native.pack_ragged(values, offsets, torch.tensor([1, 0], device="cpu"), 5, -1.0)
    assert out.device.type == "cpu" and out[0].equal(values[1:]) and out[1, 1:].eq(-1.0).all()


def test_data_run_and_captions(default_meta: None, run_folder: Path) -> None:
    data = load_data("synthetic", synthetic_count=COUNT, joints=21)
    motions = next(motion_batches(data["val"], 4))
    samples = next(training_batches(data["train"], 4, seed=0, epoch=0))
    made = [x for x in (*motions, *samples) if isinstance(x, torch.Tensor)]
    assert len(made) >= 8 and {x.device.type for x in made} == {"cpu"}
    run = m2t_fast.load_run(run_folder)
    assert {x.device.type for x in run.model.state_dict().values()} == {"cpu"}
    caption = run.caption(np.random.default_rng(0).normal(size=(30, 21, 3)).astype(np.float32), fps=20)
    assert caption.text
    for options in (dict(beam_size=1), dict(), dict(search="best_first")):
        assert run.model.generate(motions.motion, motions.lengths, **options).tokens.device.type == "cpu"
    for backend in ("reference", "cpu"):
        with m2t_fast.use_backend(backend):
            batch = samples.motion, samples.lengths, samples.tokens
            counter = m2t_fast.random.Counter(1)
            out = run.model.train()(*batch, teacher_forcing=0.5, generator=counter)
            m2t_fast.losses.guided_loss(out, samples.tokens, samples.lengths, *samples[3:5]).total.backward()
            assert out.logits.device.type == "cpu"


def test_a_model_is_made_on_the_default_device() -> None:
    with torch.device("meta"):
        model = Captioner(m2t_fast.CaptionerConfig.kit(vocab_size=20))
    assert {x.device.type for x in (*model.parameters(), *model.buffers())} == {"meta"}


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("materialise", [False, True])
def test_from_meta(model: Captioner, batch: Triple, said: Said, assign: bool, materialise: bool) -> None:
    """Made on meta, filled from a state: every tensor that the model uses is in the state, none is left to chance."""
    if not (assign or materialise):
        pytest.skip("torch copies nothing into meta tensors, with a warning of its own")
    with torch.device("meta"):
        made = Captioner(model.config)
    if materialise:
        made.to_empty(device="cpu")
        for tensor in (*made.parameters(), *made.buffers()):
            tensor.data.fill_(torch.nan)  # what memory may hold
    made.load_state_dict(model.state_dict(), assign=assign)
    for found, expected in zip(said(made.eval(), batch), said(model, batch), strict=True):
        assert torch.equal(found, expected)


def _torch_saved(model: Captioner) -> Captioner:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), _torch_saved])
def test_copies(model: Captioner, batch: Triple, said: Said, copied: Callable[[Captioner], Captioner]) -> None:
    before = said(model, batch)
    other = copied(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    for found, expected in zip(said(other, batch), before, strict=True):
        assert torch.equal(found, expected)


def test_saved_outputs(model: Captioner, batch: Triple) -> None:
    """Outputs are tuples of tensors: they are pickled, saved and copied."""
    out = model(*batch)
    found = model.generate(*batch[:2])
    for value in (out, found):
        file = io.BytesIO()
        torch.save(value, file)
        file.seek(0)
        again = torch.load(file, weights_only=False)
        assert type(again) is type(value)
    assert torch.equal(pickle.loads(pickle.dumps(found)).tokens, found.tokens)


@pytest.mark.parametrize(
    ("tensor", "dtype", "error"),
    [
        (torch.empty(3, device="meta"), None, ValueError),
        (torch.zeros(3, 4).T, None, ValueError),
        (torch.zeros(3, dtype=torch.int32), torch.int64, TypeError),
    ],
)
def test_what_native_code_is_given(tensor: Tensor, dtype: torch.dtype | None, error: type[Exception]) -> None:
    with pytest.raises(error, match="expected"):
        native.address(tensor, dtype)


@pytest.mark.skipif(not native.available(), reason="the extension is not built")
@pytest.mark.parametrize("disk", [False, True])
def test_offloaded_weights(model: Captioner, batch: Triple, said: Said, disk: bool, tmp_path: Path) -> None:
    """accelerate keeps weights on meta outside of forward."""
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed (pip install accelerate)")
    expected = said(model, batch)
    offload = functools.partial(accelerate.disk_offload, offload_dir=str(tmp_path)) if disk else accelerate.cpu_offload
    offloaded = offload(model, execution_device="cpu")
    assert offloaded.output.weight.is_meta
    torch.testing.assert_close(said(offloaded, batch), expected)


def test_a_registered_op_checks_what_it_is_given() -> None:
    """Called by its registered name, where nothing of the public function runs."""
    parts = torch.zeros(2, 5, 6, 8)
    assert has_kernel("attention_keys", parts)
    weight, bias = torch.zeros(4, 8), torch.zeros(4)
    call = torch.ops.m2t_fast.attention_keys
    good = (parts, torch.tensor([5, 3]), weight, bias, weight, bias)
    assert call(*good, "cpu")[0].shape == (2, 5, 6, 4)
    for place, wrong in [
        (1, torch.tensor([5, 3], dtype=torch.int32)),
        (1, torch.tensor([5])),
        (2, torch.zeros(4, 9)),
        (3, torch.zeros(2)),
        (4, weight.double()),
        (0, parts[:, :, 0]),
    ]:
        given = [*good]
        given[place] = wrong
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            call(*given, "cpu")
    assert ops.attention_keys(*good)[0].shape == (2, 5, 6, 4)
