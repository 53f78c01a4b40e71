"""A split packed once on the training device, and its batches gathered there in fixed shapes."""

from __future__ import annotations

import torch
from torch import Tensor

from m2t_fast.config import PAD
from m2t_fast.data.batches import Batch
from m2t_fast.data.dataset import MotionDataset
from m2t_fast.data.supervision import UNSUPERVISED
from m2t_fast.ops import gather_motions
from m2t_fast.wording import counted


class ResidentSplit:
    """A split on a device: ragged motions, tokens and targets, and offsets that locate each sample.

    HumanML3D takes about 0.4 GB in float32. Nothing is padded until a batch asks for it.

    Args:
        dataset: the split; its motions are standardised.
        device: where it is to lie.
        dtype: of the motions, that of the model's weights.
        timed: its batches have temporal targets, if the data set does.

    Raises:
        ValueError: offsets or motions of samples that do not fit the split's arrays.
    """

    def __init__(
        self,
        dataset: MotionDataset,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        timed: bool = False,
    ) -> None:
        _check(dataset)
        self.device = torch.device(device)
        self.samples = len(dataset)
        self.frames = dataset.frames.to(device=device, dtype=dtype)
        self.frame_offsets = dataset.frame_offsets.to(device)
        self.lengths = dataset.sample_lengths.to(device)
        self.caption_motion = dataset.caption_motion.to(device)
        self.first_token = dataset.token_offsets[:-1].to(device)
        self.token_count = dataset.token_offsets.diff().to(device)
        # A row more, for what lies behind the end of a caption.
        parts = dataset.spatial_targets.shape[1]
        self.tokens = torch.cat([dataset.tokens, torch.tensor([PAD], device="cpu")]).to(device)
        self.gate_targets = _with_end(dataset.gate_targets, ()).to(device)
        self.spatial_targets = _with_end(dataset.spatial_targets, (parts,)).to(device)
        self.temporal_targets: Tensor | None = None
        if timed and dataset.temporal_targets is not None:
            self.temporal_targets = _with_end(dataset.temporal_targets, (2,)).to(device)

    def __len__(self) -> int:
        return self.samples

    def batch(self, samples: Tensor, frames: int, words: int) -> Batch:
        """The samples of these numbers (B,) int64, on the split's device, in one shape.

        Nothing waits for the device and nothing depends on values, so that a CUDA graph may hold it; then ``samples``
        is a buffer that is filled before each replay. Nothing is checked: :func:`~m2t_fast.data.buckets.epoch_plan`
        names samples that are there, in buckets that hold them. Beyond the bucket a sample would be cut.

        Returns:
            As :func:`~m2t_fast.data.batches.batch_of`, with T = ``frames`` and L = ``words``, but for ``motion``
            (B, T, J, 3): of the split's dtype, and every joint but the root relative to the root
            (``relative`` tells the model).
        """
        motion = gather_motions.in_bounds(self.frames, self.frame_offsets, self.caption_motion[samples], frames)
        step = torch.arange(words + 1, device=self.device)
        inside = step < self.token_count[samples][:, None]
        at = torch.where(inside, self.first_token[samples][:, None] + step, self.tokens.numel() - 1)
        return Batch(
            motion,
            self.lengths[samples],
            self.tokens[at],
            self.gate_targets[at[:, 1:]],
            self.spatial_targets[at[:, 1:]],
            samples,
            relative=True,
            temporal_target=None if self.temporal_targets is None else self.temporal_targets[at[:, 1:]],
        )


def _with_end(targets: Tensor, shape: tuple[int, ...]) -> Tensor:
    return torch.cat([targets.float(), torch.full((1, *shape), float(UNSUPERVISED), device=targets.device)])


def _check(dataset: MotionDataset) -> None:
    """What no batch checks again."""
    for name, offsets, count in (
        ("frame_offsets", dataset.frame_offsets, len(dataset.frames)),
        ("token_offsets", dataset.token_offsets, len(dataset.tokens)),
    ):
        lengths = offsets.diff()
        if int(offsets[0]) != 0 or int(offsets[-1]) != count or bool((lengths < 1).any()):
            raise ValueError(f"{name}: expected to ascend from 0 to {count}")
    wrong = (dataset.caption_motion < 0) | (dataset.caption_motion >= dataset.motions)
    if bool(wrong.any()):
        got = int(dataset.caption_motion[wrong][0])
        raise ValueError(
            f"caption_motion: got {got}, expected 0 to {dataset.motions - 1} ({counted(dataset.motions, 'motion')})"
        )
