"""Data folders for the tests: small ones that are written on the spot, and the real one where it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from m2t_fast.config import EOS, SOS
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.preprocessing import DataSettings, Statistics
from m2t_fast.data.timing import UNTIMED
from m2t_fast.skeleton import KIT

Folder = Callable[..., Path]

CAPTIONS = (
    "a person walks forward.#a/DET person/NOUN walk/VERB forward/ADV#0.0#0.0\n"
    "The man is walking slowly.#the/DET man/NOUN is/AUX walk/VERB slowly/ADV#0.0#0.0\n"
    "a person waves#a/DET person/NOUN wave/VERB#0.0#0.0\n"
)


@pytest.fixture
def make_folder(tmp_path: Path) -> Folder:
    """``make_folder(lengths, joints=22, texts=CAPTIONS, name="data", splits=None)`` writes a data folder: motion
    ``m<i>`` has ``lengths[i]`` random frames and the captions ``texts`` (a string, or one per motion). Without
    ``splits`` the last motion is in val, the one before in test, and the others are in train."""

    def make(
        lengths: list[int],
        joints: int = 22,
        texts: str | list[str] = CAPTIONS,
        name: str = "data",
        splits: dict[str, list[str]] | None = None,
    ) -> Path:
        folder = tmp_path / name
        (folder / "new_joints").mkdir(parents=True)
        (folder / "texts").mkdir()
        generator = np.random.default_rng(0)
        ids = [f"m{number}" for number in range(len(lengths))]
        for number, (motion_id, length) in enumerate(zip(ids, lengths, strict=True)):
            motion = generator.normal(size=(length, joints, 3)).astype(np.float32)
            np.save(folder / "new_joints" / f"{motion_id}.npy", motion)
            text = texts if isinstance(texts, str) else texts[number]
            (folder / "texts" / f"{motion_id}.txt").write_text(text, encoding="utf-8")
        splits = splits or {"train": ids[:-2], "test": ids[-2:-1], "val": ids[-1:]}
        for split, members in splits.items():
            (folder / f"{split}.txt").write_text("".join(f"{m}\n" for m in members), encoding="utf-8")
        return folder

    return make


@pytest.fixture(scope="session")
def make_split() -> Callable[..., MotionDataset]:
    """``make_split(frames, captions)`` is a split of random motions of so many frames, and of samples (motion, words):
    so many tokens behind the first."""

    def make(frames: Sequence[int], captions: Sequence[tuple[int, int]]) -> MotionDataset:
        g = torch.Generator().manual_seed(0)
        motion, words = torch.tensor(captions, dtype=torch.int64).reshape(-1, 2).unbind(1)
        offsets = torch.cat([torch.zeros(1, dtype=torch.int64), (words + 1).cumsum(0)])
        tokens = torch.randint(EOS + 1, 30, (int(offsets[-1]),), generator=g)
        tokens[offsets[:-1]], tokens[offsets[1:] - 1] = SOS, EOS
        lengths = torch.tensor([frames[number] for number in motion], dtype=torch.float32)
        times = torch.rand(len(tokens), 2, generator=g).sort(dim=1).values
        times *= lengths.repeat_interleave(words + 1)[:, None]
        times[torch.rand(len(tokens), generator=g) < 0.5] = UNTIMED
        return MotionDataset(
            split="train",
            frames=torch.randn(sum(frames), 21, 3, generator=g),
            frame_offsets=torch.cat([torch.zeros(1, dtype=torch.int64), torch.tensor(list(frames)).long().cumsum(0)]),
            tokens=tokens,
            token_offsets=offsets,
            gate_targets=torch.randint(-1, 2, tokens.shape, generator=g).to(torch.int8),
            spatial_targets=torch.randint(-1, 2, (len(tokens), 6), generator=g).to(torch.int8),
            caption_motion=motion,
            ids=[f"m{number}" for number in range(len(frames))],
            references=[[] for _ in frames],
            processed=[[] for _ in frames],
            segments=None,
            skeleton=KIT,
            statistics=Statistics((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
            settings=DataSettings(),
            temporal_targets=times,
        )

    return make
