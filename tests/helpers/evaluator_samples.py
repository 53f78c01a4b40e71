"""The public text-to-motion networks in small, and a data folder for them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SIZE, HIDDEN, OUTPUT = 10, 6, 5
GRU = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
GRU += [f"{name}_reverse" for name in GRU]
SUMMARY = [
    f"{layer}.{kind}"
    for layer in ("input_emb", "output_net.0", "output_net.1", "output_net.3")
    for kind in ("weight", "bias")
]
SUMMARY += [*(f"gru.{name}" for name in GRU), "hidden"]


def state(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def summary(size: int, more: dict[str, tuple[int, ...]] | None = None, seed: int = 0) -> dict[str, Tensor]:
    h = HIDDEN
    shapes: dict[str, tuple[int, ...]] = {
        **{"input_emb.weight": (h, size), "input_emb.bias": (h,), "hidden": (2, 1, h)},
        **{"output_net.0.weight": (h, 2 * h), "output_net.0.bias": (h,)},
        **{"output_net.1.weight": (h,), "output_net.1.bias": (h,)},
        **{"output_net.3.weight": (OUTPUT, h), "output_net.3.bias": (OUTPUT,)},
        **{f"gru.{name}": (3 * h, h) if "weight" in name else (3 * h,) for name in GRU},
    }
    assert set(shapes) == set(SUMMARY)  # the names of the public checkpoints
    return state({**shapes, **(more or {})}, seed)


def checkpoint(features: int = 259) -> dict:
    movement = {
        **{"main.0.weight": (7, features, 4), "main.0.bias": (7,), "main.3.weight": (8, 7, 4), "main.3.bias": (8,)},
        **{"out_net.weight": (8, 8), "out_net.bias": (8,)},
    }
    return {
        "movement_encoder": state(movement, 1),
        "motion_encoder": summary(8, seed=2),
        "text_encoder": summary(SIZE, {"pos_emb.weight": (SIZE, 15), "pos_emb.bias": (SIZE,)}, seed=3),
        "epoch": 7,
        "opt_text_encoder": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
    }


def write_evaluator(root: Path) -> None:
    """The public layout, with small networks and a few words."""
    for name in ("t2m/text_mot_match/model", "t2m/Comp_v6_KLD01/meta", "kit/text_mot_match/model", "glove"):
        (root / name).mkdir(parents=True)
    torch.save(checkpoint(), root / "t2m/text_mot_match/model/finest.tar")
    (root / "kit/text_mot_match/model/finest.tar").write_bytes(b"another data set's")
    generator = np.random.default_rng(0)
    np.save(root / "t2m/Comp_v6_KLD01/meta/mean.npy", generator.normal(size=263))
    np.save(root / "t2m/Comp_v6_KLD01/meta/std.npy", generator.uniform(0.5, 2, size=263))
    words = ["unk", "sos", "eos", "person", "walk", "wave", "left", "a"]
    np.save(root / "glove/our_vab_data.npy", generator.normal(size=(len(words), SIZE)))
    (root / "glove/our_vab_words.pkl").write_bytes(pickle.dumps(words))
    (root / "glove/our_vab_idx.pkl").write_bytes(pickle.dumps({word: i for i, word in enumerate(words)}))


def write_features(folder: Path) -> None:
    """A data folder of feature vectors: 40 test motions."""
    (folder / "new_joint_vecs").mkdir(parents=True)
    (folder / "texts").mkdir()
    lengths = [50, 45, *(40 + n % 30 for n in range(39)), 30]
    ids = [f"m{n}" for n in range(len(lengths))]
    for number, (motion_id, length) in enumerate(zip(ids, lengths, strict=True)):
        features = np.random.default_rng(number).normal(size=(length, 263)).astype(np.float32)
        np.save(folder / "new_joint_vecs" / f"{motion_id}.npy", features)
        (folder / "texts" / f"{motion_id}.txt").write_text("A person walks.#a/DET person/NOUN walk/VERB#0.0#0.0\n")
    for split, members in (("train", ids[:1]), ("val", ids[1:2]), ("test", ids[2:])):
        (folder / f"{split}.txt").write_text("".join(f"{m}\n" for m in members))
