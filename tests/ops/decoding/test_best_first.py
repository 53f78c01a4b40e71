"""Best-first search: the released recordings, an independent search of one motion, and what it returns."""

from __future__ import annotations

import heapq
import itertools
import queue
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from m2t_fast import Captioner, CaptionerConfig, available_backends, released, use_backend
from m2t_fast.config import EOS, PAD, SOS
from m2t_fast.errors import UserError
from m2t_fast.ops.decoding import best_first_search
from m2t_fast.ops.decoding.decoder import Decoder

GOLDEN = Path(__file__).parents[2] / "golden"
WIDTHS, BIASES, SAMPLES = (2, 4), range(5), range(3)


class Recording:
    """A recorded model with its motions; ``beam(...)`` is one recorded search."""

    def __init__(self, skeleton: str, dtype: torch.dtype):
        self.arrays = np.load(GOLDEN / f"golden_{skeleton}_small{'_f64' if dtype == torch.float64 else ''}.npz")
        self.dtype = dtype
        x = torch.from_numpy(self.arrays["x"]).to(dtype).transpose(0, 1)
        self.motion = x.unflatten(2, (-1, 3)).contiguous()
        self.motion[:, :, 1:] += self.motion[:, :, :1]
        self.lengths = torch.from_numpy(self.arrays["src_lens"])

    def model(self, bias: int) -> Captioner:
        state = {k[2:]: torch.from_numpy(self.arrays[k]) for k in self.arrays.files if k.startswith("w/")}
        added = self.arrays["beam/eos_bias_added"][bias]
        state["final_layer.bias"] = state["final_layer.bias"].float()
        state["final_layer.bias"][EOS] += float(added)  # the recordings added it in float32
        return released.load({k: v.to(self.dtype) for k, v in state.items()}).eval()

    def beam(self, width: int, bias: int, sample: int, key: str) -> np.ndarray:
        return self.arrays[f"beam/W{width}/b{bias}/s{sample}/{key}"]


@pytest.fixture(params=list(itertools.product(["kit", "h3d"], [torch.float32, torch.float64])), ids=str)
def recording(request) -> Recording:
    return Recording(*request.param)


@pytest.mark.parametrize("backend", available_backends())
@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_recorded_searches_hypothesis_for_hypothesis(recording, width, bias, backend):
    """All motions in one batch; the recordings searched one at a time."""
    model = recording.model(bias)
    with use_backend(backend):
        found = model.generate(recording.motion, recording.lengths, beam_size=width, search="best_first")
    assert found.scores.dtype == torch.float64 and found.tokens.shape[:2] == (3, width)
    tolerance = 1e-11 if recording.dtype == torch.float64 else 2e-6
    for sample in SAMPLES:
        words, lengths, scores = (recording.beam(width, bias, sample, k) for k in ("hyps", "hyp_lens", "hyp_scores"))
        for k in range(width):
            if k >= len(words):
                assert found.scores[sample, k] == -torch.inf and (found.tokens[sample, k] == PAD).all()
                continue
            caption = words[k, 1 : lengths[k]].tolist()
            assert found.tokens[sample, k, : len(caption)].tolist() == caption
            assert (found.tokens[sample, k, len(caption) :] == PAD).all()
            assert -float(found.scores[sample, k]) == pytest.approx(float(scores[k]), rel=tolerance)


def test_the_recordings_hold_finished_partly_finished_and_unfinished_searches():
    """What the test above relies on."""
    recording = Recording("kit", torch.float32)
    counts = {(w, int(recording.beam(w, b, s, "n_finished"))) for w, b, s in itertools.product(WIDTHS, BIASES, SAMPLES)}
    assert {0, 2} <= {n for w, n in counts if w == 2} and {0, 4} <= {n for w, n in counts if w == 4}


def test_as_many_model_steps_as_recorded(recording, monkeypatch):
    steps: list[int] = []
    original = Decoder.next_word
    monkeypatch.setattr(Decoder, "next_word", lambda *a: steps.append(len(a[1].lengths)) or original(*a))
    for width, bias in itertools.product(WIDTHS, BIASES):
        steps.clear()
        recording.model(bias).generate(recording.motion, recording.lengths, beam_size=width, search="best_first")
        recorded = [int(recording.beam(width, bias, s, "n_expanded")) for s in SAMPLES]
        assert len(steps) == max(recorded), "a batched step a round"
        assert sum(steps) == sum(recorded), "a motion whose search is over takes part in no further step"


def test_nodes_are_taken_in_the_recorded_order(recording, monkeypatch):
    taken: list[tuple[float, int, int]] = []

    def heappop(heap):
        cost, number, node = heapq.heappop(heap)
        taken.append((cost, node.word, node.length))
        return cost, number, node

    spy = SimpleNamespace(heappop=heappop, heappush=heapq.heappush, nsmallest=heapq.nsmallest)
    monkeypatch.setattr("m2t_fast.ops.decoding.best_first.heapq", spy)
    tolerance = 1e-11 if recording.dtype == torch.float64 else 2e-6
    for width, bias, sample in itertools.product(WIDTHS, BIASES, SAMPLES):
        taken.clear()
        one = slice(sample, sample + 1)
        found = recording.model(bias).generate(
            recording.motion[one], recording.lengths[one], beam_size=width, search="best_first"
        )
        trace, rest = np.split(recording.beam(width, bias, sample, "trace"), [len(taken)])
        assert [node[1:] for node in taken] == [(word, length) for _, word, length in trace.tolist()]
        np.testing.assert_allclose([node[0] for node in taken], trace[:, 0], rtol=tolerance)
        # Where nothing was finished, the recording goes on to take the best unfinished ones.
        assert len(rest) in (0, width)
        if len(rest):
            np.testing.assert_allclose(-found.scores[0].numpy(), rest[:, 0], rtol=tolerance)


def tiny(seed: int, vocab_size: int = 7, scoring="frame", sharpness: float = 3.0, ending: float = 0.0) -> Captioner:
    torch.manual_seed(seed)
    config = CaptionerConfig(
        vocab_size=vocab_size, joints=21, part_dim=4, attention_dim=5, hidden_size=6, embedding_dim=3, scoring=scoring
    )
    model = Captioner(config).double().eval()
    with torch.no_grad():
        model.output.weight *= sharpness
        model.output.bias[EOS] += ending
        model.bottom_lstm.weight_ih *= 3
    return model


def motions(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, 21, 3, generator=g, dtype=torch.float64), torch.randint(1, 7, (count,), generator=g)


def one_at_a_time(model, motion, length, width, force_gate=None) -> list[tuple[list[int], float]]:
    """The documented search of one motion, written from its description: every hypothesis is run from <sos> again."""
    waiting: queue.PriorityQueue = queue.PriorityQueue()
    waiting.put((-0.0, [SOS], 0.0))
    counter, finished = 1, []
    while counter <= 100 and len(finished) < width:
        cost, words, total = waiting.get()
        if words[-1] == EOS:
            finished.append((cost, words))
            continue
        memory = model.encode(motion[None, :length], torch.tensor([length]))
        logits = model.decode(memory, torch.tensor([words]), force_gate=force_gate).logits[0, -1]
        each = logits - logits.exp().sum().log()
        for word in each.argsort(descending=True)[:width].tolist():
            longer = total + float(each[word])
            waiting.put((-longer / (len(words) + 1e-6), [*words, word], longer))
        counter += width - 1
    if not finished:
        finished = [waiting.get()[:2] for _ in range(width)]
    return [(words, -cost) for cost, words in sorted(finished)]


@given(
    seed=st.integers(0, 10_000),
    vocab_size=st.integers(5, 12),
    width=st.integers(2, 5),
    ending=st.sampled_from([-6.0, -1.0, 0.0, 1.0, 3.0]),
    sharpness=st.sampled_from([1.0, 4.0, 12.0]),
    scoring=st.sampled_from(["part", "frame"]),
    force_gate=st.sampled_from([None, 1.0]),
)
@example(seed=0, vocab_size=6, width=2, ending=-30.0, sharpness=1.0, scoring="frame", force_gate=None)
def test_equal_to_the_search_of_one_motion_at_a_time(seed, vocab_size, width, ending, sharpness, scoring, force_gate):
    model = tiny(seed, vocab_size, scoring, sharpness, ending)
    motion, lengths = motions(3, seed)
    found = model.generate(motion, lengths, beam_size=width, search="best_first", force_gate=force_gate)
    with torch.no_grad():
        for row in range(3):
            expected = one_at_a_time(model, motion[row], int(lengths[row]), width, force_gate)
            for k, (words, score) in enumerate(expected):
                caption = words[1:]
                assert found.tokens[row, k, : len(caption)].tolist() == caption
                assert float(found.scores[row, k]) == pytest.approx(score, rel=1e-9)
            assert (found.scores[row, len(expected) :] == -torch.inf).all()


def test_attention_is_that_of_the_best_hypothesis():
    model = tiny(3, ending=-1.0)
    motion, lengths = motions(4)
    found = model.generate(motion, lengths, beam_size=3, search="best_first")
    searched = best_first_search(
        Decoder(model.decoder_weights(), model.attention.scale), model.encode(motion, lengths), 3
    )
    for row in range(4):
        words = searched[row][0].words
        count = len(words) - 1
        memory = model.encode(motion[row : row + 1], lengths[row : row + 1])
        out = model.decode(memory, torch.tensor([words[:-1]]))
        for name, expected in (("gate", out.gate), ("window", out.window), ("spatial", out.spatial), ("std", out.std)):
            actual = getattr(found.attention, name)[row]
            torch.testing.assert_close(actual[:count], expected[0])
            assert (actual[count:] == 0).all() and len(actual) == found.tokens.shape[2]


def test_a_maximum_length_cuts_what_is_returned_and_not_the_search():
    model = tiny(0, ending=-30.0, sharpness=1.0)
    motion, lengths = motions(2)
    whole = model.generate(motion, lengths, beam_size=2, search="best_first")
    cut = model.generate(motion, lengths, beam_size=2, search="best_first", max_length=3)
    assert whole.tokens.shape[2] > 5 and cut.tokens.shape[2] == 3
    assert torch.equal(cut.tokens, whole.tokens[..., :3]) and torch.equal(cut.scores, whole.scores)
    assert torch.equal(cut.attention.gate, whole.attention.gate[:, :3])


def test_beam_one_is_greedy_search_as_in_the_released_code():
    model, (motion, lengths) = tiny(1), motions(3)
    best_first = model.generate(motion, lengths, beam_size=1, search="best_first")
    greedy = model.generate(motion, lengths, beam_size=1)
    assert torch.equal(best_first.tokens, greedy.tokens) and torch.equal(best_first.scores, greedy.scores)


def test_no_motion_no_caption():
    model, (motion, lengths) = tiny(1), motions(3)
    found = model.generate(motion[:0], lengths[:0], beam_size=2, search="best_first")
    assert found.tokens.shape[:2] == (0, 2) and found.scores.shape == (0, 2) and len(found.attention.gate) == 0


def test_logits_that_are_not_numbers_end_the_search():
    model, (motion, lengths) = tiny(1), motions(2)
    with torch.no_grad():
        model.output.bias.fill_(torch.nan)
    found = model.generate(motion, lengths, beam_size=3, search="best_first")
    assert found.scores.isnan().all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"search": "best"}, ValueError, "search: got 'best', expected one of beam, best_first"),
        ({"length_penalty": 0.5}, ValueError, "length_penalty: got 0.5, expected 1 with search='best_first'"),
        ({"beam_size": 8}, UserError, "beam_size: got 8, expected 2 to 7, the words of the vocabulary"),
        ({"beam_size": 0}, ValueError, "beam_size: got 0, expected at least 1"),
        ({"max_length": 0}, ValueError, "max_length: got 0, expected at least 1"),
        ({"beam_size": 2.0}, TypeError, "beam_size must be an int"),
        ({"force_gate": 2.0}, ValueError, "force_gate"),
    ],
)
def test_options_that_do_not_fit_are_named(options, error, message):
    with pytest.raises(error, match=message):
        tiny(0).generate(*motions(1), **{"search": "best_first", **options})
