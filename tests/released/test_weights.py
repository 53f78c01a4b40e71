"""Released checkpoints: files in every wrapping, sizes, the order of limbs, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from m2t_fast.errors import UserError
from m2t_fast.released import from_released, load, to_released
from m2t_fast.released.weights import UNUSED

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(params=["kit", "h3d"])
def state(request) -> dict[str, torch.Tensor]:
    arrays = np.load(GOLDEN / f"golden_{request.param}_small.npz")
    return {key[2:]: torch.from_numpy(arrays[key]) for key in arrays.files if key.startswith("w/")}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"model": s, "epoch": 3},
        lambda s: {"state_dict": s},
        lambda s: {f"module.{k}": v for k, v in s.items()},
        lambda s: {k: v for k, v in s.items() if k not in UNUSED},
    ],
    ids=["plain", "model", "state_dict", "DataParallel", "without-unused"],
)
def test_files_in_every_wrapping(wrap, state, tmp_path):
    torch.save(wrap(state), tmp_path / "checkpoint.pt")
    loaded = load(tmp_path / "checkpoint.pt")
    for name, tensor in load(state).state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_sizes_are_read_off_the_tensors(state):
    config = load(state).config
    assert config.scoring == "frame" and config.context_scale == pytest.approx(1 / 6)
    assert (config.part_dim, config.attention_dim, config.hidden_size, config.embedding_dim) == (16, 16, 16, 12)
    assert config.vocab_size == 37 and config.joints in (21, 22)


def test_there_and_back(state):
    joints = load(state).config.joints
    back = to_released(from_released(state, joints), joints)
    assert set(back) == set(state) - set(UNUSED)
    for key, tensor in back.items():
        assert torch.equal(tensor, state[key]), key


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("mixture_feat.bias"), "tensor mixture_feat.bias is missing"),
        (lambda s: s.pop("dec.embedding.weight"), "not a released checkpoint"),
        (lambda s: s.update(extra=torch.zeros(1)), "unknown tensor extra"),
        (lambda s: s.update({"ctproject.weight": torch.zeros(3, 3)}), "ctproject.weight has shape"),
        (lambda s: s.update({"enc_pose.six_layers.1.weight": torch.zeros(16, 15)}), "15 coordinates"),
        (lambda s: s.update({"enc_pose.six_layers.2.weight": torch.zeros(16)}), "six_layers.2.weight"),
        (lambda s: s.update({"dec.embedding.weight": torch.zeros(3)}), "dec.embedding.weight has shape"),
        (lambda s: s.clear(), "not a released checkpoint"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message, state, tmp_path):
    change(state)
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(UserError, match=f"bad.pt: .*{message}"):
        load(tmp_path / "bad.pt")


class Evil:
    """Would write a file if a loader ran it."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_nothing_in_a_pickle_is_run(tmp_path):
    marker = tmp_path / "ran"
    torch.save({"model": Evil(marker)}, tmp_path / "evil.pt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil(marker)))
    for name in ("evil.pt", "evil.pkl"):
        with pytest.raises(UserError, match=name):
            load(tmp_path / name)
    assert not marker.exists()


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"hello", lambda b: b[:50] + b"\0" * 200 + b[250:]]
)
def test_damaged_files_are_one_clear_error(damage, state, tmp_path):
    torch.save(state, tmp_path / "bad.pt")
    (tmp_path / "bad.pt").write_bytes(damage((tmp_path / "bad.pt").read_bytes()))
    with pytest.raises(UserError, match="bad.pt"):
        load(tmp_path / "bad.pt")


def test_missing_file_folder_and_foreign_content(tmp_path):
    with pytest.raises(UserError, match="no such checkpoint file"):
        load(tmp_path / "none.pt")
    with pytest.raises(UserError, match="no such checkpoint file"):
        load(tmp_path)
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    with pytest.raises(UserError, match="holds a Tensor, expected a state dict"):
        load(tmp_path / "tensor.pt")
    with pytest.raises(TypeError, match="source must be a path or a state dict, got int"):
        load(3)
