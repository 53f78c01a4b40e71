"""A module of the released structure: names, shapes, calls and attributes as documented, run step by step.

Written for the tests from the description of the released model; ``accelerate`` is compared with its plain forward.
"""

from __future__ import annotations

import queue
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).parents[1] / "golden"
BODY_PARTS = {
    21: [[0], [1, 2, 3, 4], [5, 6, 7], [8, 9, 10], [11, 12, 13, 14, 15], [16, 17, 18, 19, 20]],
    22: [[0], [0, 3, 6, 9, 12, 15], [14, 17, 19, 21], [13, 16, 18, 20], [2, 5, 8, 11], [1, 4, 7, 10]],
}


class Encoder(nn.Module):
    def __init__(self, joints: int, hidden_size: int, hidden_dim: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.hidden_size = hidden_size
        self.body_parts = BODY_PARTS[joints]
        inputs = [3 * len(part) for part in self.body_parts]
        for first, second in (("six_layers", "six_layers_2"), ("six_layers_v", "six_layers_v2")):
            setattr(self, first, nn.ModuleList(nn.Linear(n, hidden_dim) for n in inputs))
            setattr(self, second, nn.ModuleList(nn.Linear(hidden_dim, hidden_size // 2) for _ in inputs))

    def forward(self, x: Tensor) -> Tensor:
        """(T, N, 3J) -> (T, N, H, 6)."""
        position = x.unflatten(2, (-1, 3))
        velocity = torch.diff(position, dim=0, prepend=position[:1])
        parts = []
        for p, joints in enumerate(self.body_parts):
            pose = torch.tanh(self.six_layers[p](position[:, :, joints].flatten(2)))
            speed = torch.tanh(self.six_layers_v[p](velocity[:, :, joints].flatten(2)))
            halves = torch.tanh(self.six_layers_2[p](pose)), torch.tanh(self.six_layers_v2[p](speed))
            parts.append(torch.cat(halves, dim=-1))
        return torch.stack(parts, dim=-1)


class Decoder(nn.Module):
    def __init__(self, vocabulary: int, embedding_dim: int, hidden_size: int, dropout: float):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding_dim)
        self.dropout = nn.Dropout(dropout)
        self.top_lstm = nn.LSTM(hidden_size, hidden_size)
        self.bottom_lstm = nn.LSTM(embedding_dim, hidden_size)

    def forward(self, words: Tensor) -> Tensor:
        return self.dropout(self.embedding(words))


class seq2seq(nn.Module):
    def __init__(
        self, vocabulary, hidden_size, embedding_dim, hidden_dim, joints=21, dropout=0.0, beam_size=1, device="cpu"
    ):
        super().__init__()
        self.device, self.beam_size, self.num_layers, self.K = torch.device(device), beam_size, 1, 6
        self.hidden_size, self.hidden_dim, self.output_dim = hidden_size, hidden_dim, vocabulary
        self.enc_pose = Encoder(joints, hidden_size, hidden_dim, dropout)
        self.dec = Decoder(vocabulary, embedding_dim, hidden_size, dropout)
        mixture = hidden_dim + embedding_dim + hidden_size
        self.mixture_feat = nn.Linear(mixture, mixture)
        self.final_layer = nn.Linear(mixture, vocabulary)
        for name, sizes in {
            "feat_extract_x": (6 * hidden_size, hidden_dim),
            "feat_extract_hdec": (hidden_size, hidden_dim),
            "feat_extract_henc": (hidden_size, hidden_dim),
            "spatial_att": (hidden_dim, 6),
            "gate_var": (hidden_size, 1),
            "adapt_layer": (embedding_dim, 1),
            "ctproject": (hidden_size, hidden_dim),
            "htproject": (hidden_size, hidden_dim),
            "feat_extract_g": (6 * hidden_size, hidden_dim),
            "tempfeat_extract_hdec": (hidden_size, hidden_dim),
            "temporal_att": (hidden_dim, 1),
        }.items():
            setattr(self, name, nn.Linear(*sizes))

    def forward(self, x, y, teacher_force_ratio=0, src_lens=None):
        self.src_lens = src_lens
        frames, batch, _ = x.shape
        valid = torch.arange(frames, device=x.device)[:, None] < torch.as_tensor(src_lens, device=x.device)
        parts = self.enc_pose(x)
        self.attention_weights_list = []
        steps = len(y) - 1
        self.spatial_attentions = x.new_zeros(steps, frames, batch, 6)
        self.temporal_attentions = x.new_zeros(steps, frames, batch)
        self.beta = x.new_zeros(steps, batch)
        if self.beam_size > 1:
            self.x = x
            return [self._search(parts[:, n : n + 1], valid[:, n : n + 1]) for n in range(batch)]
        said = [torch.ones(1, batch, dtype=torch.int, device=x.device)]
        self.output_list = []
        state = None
        for j in range(steps):
            word = y[j : j + 1] if random.random() < teacher_force_ratio else said[j]
            logits, state, (alpha, window, beta) = self._step(word, state, parts, valid)
            self.spatial_attentions[j], self.temporal_attentions[j], self.beta[j] = alpha, window, beta
            self.output_list.append(logits)
            said.append(logits.softmax(-1).argmax(-1))
        self.dec_output, self.dec_next_input = self.output_list[-1], said[-1]
        self.spat_temp = self.spatial_attentions * self.temporal_attentions[..., None]
        self.dec_pred_output = torch.cat(said)
        self.target_and_prediction = [y, self.dec_pred_output]
        return torch.cat(self.output_list)

    def _step(self, word, state, parts, valid):
        """Logits (1, N, V), LSTM states, and (alpha (T, N, 6), window (T, N), beta (N,)) after word (1, N)."""
        bottom, top = state if state is not None else (None, None)
        hidden, bottom = self.dec.bottom_lstm(self.dec(word), bottom)
        above, top = self.dec.top_lstm(hidden, top)
        frame_features = parts.flatten(2)
        alpha = self.spatial_att(torch.tanh(self.feat_extract_hdec(hidden) + self.feat_extract_x(frame_features)))
        alpha = alpha.softmax(-1).masked_fill(~valid[..., None], 0.0)
        score = self.temporal_att(torch.tanh(self.tempfeat_extract_hdec(hidden) + self.feat_extract_g(frame_features)))
        weight = score[..., 0].masked_fill(~valid, -torch.inf).softmax(0)
        frame = torch.arange(len(parts), dtype=parts.dtype, device=parts.device)[:, None]
        mean = (weight * frame).sum(0)
        std = (weight * (frame - mean) ** 2).sum(0).sqrt()
        window = torch.exp(-((mean - frame) ** 2) / (2 * std**2))
        seen = (parts * alpha[:, :, None]).mean(-1) * window[..., None]
        context = seen.masked_fill(~valid[..., None], 0.0).sum(0)
        beta = torch.sigmoid(self.gate_var(hidden) + self.adapt_layer(self.dec.embedding(word)))[0]
        adaptive = beta * torch.tanh(self.ctproject(context)) + (1 - beta) * torch.tanh(self.htproject(above[0]))
        mixed = self.mixture_feat(torch.cat([self.dec(word)[0], adaptive, hidden[0]], dim=-1))
        return self.final_layer(torch.tanh(mixed))[None], (bottom, top), (alpha, window, beta[:, 0])

    def _search(self, parts, valid):
        """The hypotheses of one sample (T, 1, ...)."""
        random.random()
        waiting: queue.PriorityQueue = queue.PriorityQueue()
        waiting.put((-0.0, [1], 0.0, None))
        counter, finished = 1, []
        while counter <= 100:
            cost, words, total, state = waiting.get()
            if words[-1] == 2:
                finished.append((cost, words))
                if len(finished) == self.beam_size:
                    break
                continue
            logits, state, _ = self._step(torch.tensor([[words[-1]]], device=parts.device), state, parts, valid)
            values, nexts = logits[0, 0].log_softmax(-1).topk(self.beam_size)
            for value, word in zip(values.tolist(), nexts.tolist(), strict=True):
                waiting.put((-(total + value) / (len(words) + 1e-6), [*words, word], total + value, state))
            counter += self.beam_size - 1
        finished = finished or [waiting.get()[:2] for _ in range(self.beam_size)]
        return [words for _, words in sorted(finished)]


@pytest.fixture
def stand_in():
    """The class."""
    return seq2seq


class Recorded:
    """The arrays of one recording, in the dtype of its model, and the stand-in with its weights."""

    def __init__(self, skeleton: str, dtype: torch.dtype, edge: bool = False):
        suffix = "_f64" if dtype == torch.float64 else ""
        weights = np.load(GOLDEN / f"golden_{skeleton}_small{suffix}.npz")
        self.arrays = np.load(GOLDEN / f"edge_{skeleton}.npz") if edge else weights
        self.dtype, self.joints = dtype, {"kit": 21, "h3d": 22}[skeleton]
        self.state = {k[2:]: torch.from_numpy(weights[k]).to(dtype) for k in weights.files if k.startswith("w/")}

    def __call__(self, key: str) -> Tensor:
        return torch.from_numpy(np.asarray(self.arrays[key]))

    def model(self) -> seq2seq:
        model = seq2seq(37, 16, 12, 16, self.joints).to(self.dtype)
        model.load_state_dict(self.state)
        return model

    def inputs(self, group: str = "") -> tuple[Tensor, Tensor, list[int]]:
        """x (T, N, 3J), y (L, N), frame counts."""
        return self(f"{group}x").to(self.dtype), self("y"), self(f"{group}src_lens").tolist()


@pytest.fixture(params=[("kit", 32), ("kit", 64), ("h3d", 32), ("h3d", 64)], ids=str)
def recorded(request) -> Recorded:
    skeleton, bits = request.param
    return Recorded(skeleton, {32: torch.float32, 64: torch.float64}[bits])


@pytest.fixture(params=[21, 22], ids=["kit", "h3d"])
def random_model(request):
    """A stand-in in float64 with dropout, and inputs for it."""
    torch.manual_seed(5)
    model = seq2seq(23, 10, 7, 9, request.param, dropout=0.4).double()
    with torch.no_grad():
        model.final_layer.weight *= 4
        model.dec.bottom_lstm.weight_ih_l0 *= 3
        model.temporal_att.weight *= 3
    lengths = [11, 4, 8, 2, 11]
    x = torch.randn(11, 5, 3 * request.param, dtype=torch.float64)
    for n, length in enumerate(lengths):
        x[length:, n] = 0.0
    y = torch.randint(3, 23, (8, 5))
    y[0], y[-1, :2], y[-2, 1] = 1, 2, 2
    y[-1, 1] = 0
    return model, (x, y, lengths)
