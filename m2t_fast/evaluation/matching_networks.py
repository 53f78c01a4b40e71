"""The public text-motion matching networks (Guo et al. 2022), by which the field measures R-precision and MM-Dist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from m2t_fast.errors import UserError

UNIT = 4
"""Frames that become one movement."""

MAX_FRAMES = 196
"""Frames that motions are padded to, with zeros, before the convolutions."""

_SLOPE = 0.2  # of LeakyReLU below 0
_PARTS = ("movement_encoder", "motion_encoder", "text_encoder")


class _Summary(nn.Module):
    """A bidirectional GRU over a sequence, its two last states in one vector."""

    def __init__(self, size: int, hidden: int, output: int) -> None:
        super().__init__()
        self.input_emb = nn.Linear(size, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.output_net = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.LayerNorm(hidden), nn.LeakyReLU(_SLOPE), nn.Linear(hidden, output)
        )
        self.hidden = nn.Parameter(torch.zeros(2, 1, hidden))

    def summarise(self, values: Tensor, lengths: Tensor) -> Tensor:
        """(B, output) of values (B, L, size) with lengths (B,)."""
        packed = pack_padded_sequence(self.input_emb(values), lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, last = self.gru(packed, self.hidden.repeat(1, len(values), 1))
        embedding: Tensor = self.output_net(torch.cat([last[0], last[1]], dim=-1))
        return embedding


class _TextEncoder(_Summary):
    """Words and their parts of speech; ``pos_emb`` brings the latter to the size of the former."""

    def __init__(self, size: int, tags: int, hidden: int, output: int) -> None:
        super().__init__(size, hidden, output)
        self.pos_emb = nn.Linear(tags, size)


class _MovementEncoder(nn.Module):
    """Two convolutions, each of which halves the frames."""

    def __init__(self, size: int, hidden: int, output: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *(nn.Conv1d(size, hidden, 4, 2, 1), nn.Dropout(_SLOPE), nn.LeakyReLU(_SLOPE)),
            *(nn.Conv1d(hidden, output, 4, 2, 1), nn.Dropout(_SLOPE), nn.LeakyReLU(_SLOPE)),
        )
        self.out_net = nn.Linear(output, output)


class MatchingNetworks(nn.Module):
    """Text and motion in one space, where a motion lies near its descriptions.

    Args:
        checkpoint: the content of ``finest.tar``: state dictionaries ``movement_encoder``, ``motion_encoder`` and
            ``text_encoder``, whose shapes give all sizes.

    Raises:
        UserError: it holds something else.
    """

    def __init__(self, checkpoint: Mapping[str, Any]) -> None:
        super().__init__()
        try:
            weights: dict[str, dict[str, Tensor]] = {part: dict(checkpoint[part]) for part in _PARTS}
            movement, motion, text = (weights[part] for part in _PARTS)
            hidden, features, _ = movement["main.0.weight"].shape
            self.movement_encoder = _MovementEncoder(features, hidden, len(movement["main.3.weight"]))
            self.motion_encoder = _Summary(
                motion["input_emb.weight"].shape[1],
                len(motion["input_emb.weight"]),
                len(motion["output_net.3.weight"]),
            )
            size, tags = text["pos_emb.weight"].shape
            self.text_encoder = _TextEncoder(
                size, tags, len(text["input_emb.weight"]), len(text["output_net.3.weight"])
            )
            for part in _PARTS:
                getattr(self, part).load_state_dict(weights[part])
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"no text-motion matching networks ({type(error).__name__}: {reason})") from None
        self.features, self.tags, self.word_size = features, tags, size
        self.eval()

    @torch.no_grad()
    def embed_motions(self, motions: Tensor, lengths: Tensor) -> Tensor:
        """(B, D) of normalised feature vectors without foot contacts (B, 196, features), zeros beyond ``lengths`` (B,),
        which are multiples of four."""
        movements = self.movement_encoder.main(motions.transpose(1, 2)).transpose(1, 2)
        return self.motion_encoder.summarise(self.movement_encoder.out_net(movements), lengths // UNIT)

    @torch.no_grad()
    def embed_texts(self, words: Tensor, tags: Tensor, lengths: Tensor) -> Tensor:
        """(B, D) of word vectors (B, L, word_size) and parts of speech (B, L, tags), one-hot, with lengths (B,)."""
        return self.text_encoder.summarise(words + self.text_encoder.pos_emb(tags), lengths)
