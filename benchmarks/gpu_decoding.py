"""Times whole captions on a GPU: the decoder in one launch against PyTorch, compiled, graphed, and one by one.

Greedy and beam search for 1 to 4,160 motions of 20 to 100 frames and the data sets' sizes; every caption has 20 words,
so that every way does the same work. `call` is the wall time of a call that waits for the device, `replay` that of its
captured graph: medians with 20th and 80th percentiles. The decoder in one launch also writes the attention behind every
word, the others do not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from gpu_part import Cell, Device, Section, captured, milliseconds_waited, replays, synchronize, warm_up
from torch import Tensor

from m2t_fast import ops, use_backend
from m2t_fast.benchmarking.captioners import plain_pytorch
from m2t_fast.benchmarking.sizes import SIZES, Size, model_of
from m2t_fast.config import EOS, SOS
from m2t_fast.ops.decode import DecoderWeights
from m2t_fast.ops.decoding.decoder import Decoder, Memory, State, select_state
from m2t_fast.ops.registry import why_unavailable

DATA = ("humanml3d", "kit")
BATCHES = (4160, 1, 64, 512)
BEAMS = (2, 1, 5, 10)
KEY = (("humanml3d", 4160, 2), ("humanml3d", 1, 2), ("humanml3d", 1, 1), ("humanml3d", 64, 2), ("kit", 4160, 2))
COMPILED = KEY[:2]
WORDS = 20
WAYS = ("cuda", "cuda bfloat16", "PyTorch", "CUDA graph", "one by one", "torch.compile")
ONE_BY_ONE = (64,)
"""Motions for which one after the other is timed: of one it is PyTorch's own time, and of thousands takes minutes."""
SHARE = 0.9
"""Captions that must be those of PyTorch: near ties may decide the others."""
CHECKED = 64
"""Motions whose captions are compared."""
Found = tuple[Tensor, Tensor]
"""Tokens (B, K, W) and scores (B, K)."""


def cells() -> Iterator[Cell]:
    """The cells of the aims first, all ways of a cell one after the other."""
    every = [(data, batch, beams) for beams in BEAMS for data in DATA for batch in BATCHES]
    for place in sorted(every, key=lambda place: KEY.index(place) if place in KEY else len(KEY)):
        data, batch, beams = place
        row = {"sizes": data, "motions": batch, "beams": beams, "words": WORDS}
        for way in WAYS:
            compiled = way == "torch.compile"
            if (compiled and place not in COMPILED) or (way == "one by one" and batch not in ONE_BY_ONE):
                continue
            yield Cell(row, way, place in KEY, compiled)


def inputs_of(size: Size, batch: int, device: str) -> tuple[Memory, DecoderWeights]:
    """The memory of random motions, and weights whose captions never end."""
    g = torch.Generator(device).manual_seed(0)
    config = size.scored("part")
    parts, dim = len(config.parts), config.attention_dim

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, device=device)

    lengths = torch.randint(size.frames // 5, size.frames + 1, (batch,), generator=g, device=device)
    memory = Memory(
        torch.tanh_(normal(batch, size.frames, parts, config.part_dim)),
        normal(batch, size.frames, parts, dim),
        normal(batch, size.frames, parts, dim),
        lengths,
    )
    with torch.no_grad():
        weights = DecoderWeights(*(x.detach().clone() for x in model_of(size, "part").to(device).decoder_weights()))
        weights.output_bias[EOS] = -1e4
    return memory, weights


def one_launch(memory: Memory, weights: DecoderWeights, beams: int, words: int, backend: str) -> Found:
    """The op ``search``."""
    with use_backend(backend):
        found = ops.search(*memory, weights, beam_size=beams, max_length=words)
    return found.tokens, found.scores


Progress = tuple[Tensor, Tensor, State, Tensor]
"""Last word (B, K), log-probability (B, K), the states of all hypotheses, tokens (B, K, W)."""


def start(memory: Memory, weights: DecoderWeights, beams: int, words: int) -> Progress:
    """One empty hypothesis per motion."""
    batch, device, dtype = len(memory.lengths), memory.parts.device, memory.parts.dtype
    word = torch.full((batch, beams), SOS, device=device)
    total = torch.full((batch, beams), -torch.inf, device=device)
    total[:, 0] = 0.0
    h, c, top_h, top_c = (
        torch.zeros(batch * beams, weights.bottom_hidden.shape[1], device=device, dtype=dtype) for _ in range(4)
    )
    return word, total, ((h, c), (top_h, top_c)), torch.zeros(batch, beams, words, dtype=torch.int64, device=device)


def advance(decoder: Decoder, memory: Memory, progress: Progress, place: Tensor) -> Progress:
    """One word of a search in which no motion finishes, without reading the device: it can be compiled and captured."""
    word, total, state, tokens = progress
    batch, beams = word.shape
    embedded = decoder.embed(word.view(-1, 1))
    hidden, top, state = decoder.run_lstms(embedded, state)
    hidden, top, embedded = (x.view(batch, beams, -1) for x in (hidden, top, embedded))
    logits = decoder.next_word(memory, hidden, top, embedded, embedded)
    candidates = total[..., None] + logits.float().log_softmax(-1)
    total, flat = candidates.flatten(1).topk(beams, dim=-1)
    origin, word = flat // logits.shape[-1], flat % logits.shape[-1]
    rows = torch.arange(batch, device=word.device)[:, None] * beams + origin
    tokens = tokens.gather(1, origin[..., None].expand_as(tokens))
    tokens = torch.where(place == torch.arange(tokens.shape[-1], device=word.device), word[..., None], tokens)
    return word, total, select_state(state, rows.flatten()), tokens


def step_by_step(
    memory: Memory, weights: DecoderWeights, beams: int, words: int, step: Callable[..., Progress] = advance
) -> Found:
    """All motions together, one call of ``step`` per word."""
    decoder, progress = Decoder(weights, 1.0), start(memory, weights, beams, words)
    for place in torch.arange(words, device=memory.parts.device).unbind():
        progress = step(decoder, memory, progress, place)
    return progress[3], progress[1] / words


def one_by_one(memory: Memory, weights: DecoderWeights, beams: int, words: int) -> Found:
    """As the released model captions: one motion after the other."""
    found = [
        step_by_step(Memory(*(x[n : n + 1] for x in memory)), weights, beams, words) for n in range(len(memory.lengths))
    ]
    tokens, scores = (torch.cat(x) for x in zip(*found, strict=True))
    return tokens, scores


def prepared(way: str, memory: Memory, weights: DecoderWeights, beams: int, words: int) -> Callable[[], Found]:
    """A function that captions all motions in one of WAYS."""
    arguments = (memory, weights, beams, words)
    if way == "cuda":
        return lambda: one_launch(*arguments, "cuda")
    if way == "cuda bfloat16":
        short, short_weights = shortened(memory, weights)
        return lambda: one_launch(short, short_weights, beams, words, "cuda")
    if way == "torch.compile":
        step = torch.compile(advance, dynamic=False)
        return lambda: step_by_step(*arguments, step)
    if way == "CUDA graph":
        return captured(lambda: step_by_step(*arguments), memory.parts.device.type)
    return lambda: {"PyTorch": step_by_step, "one by one": one_by_one}[way](*arguments)


def shortened(memory: Memory, weights: DecoderWeights) -> tuple[Memory, DecoderWeights]:
    """The same in bfloat16."""
    floats = (x.bfloat16() if x.is_floating_point() else x for x in memory)
    return Memory(*floats), DecoderWeights(*(x.bfloat16() for x in weights))


def launched(way: str, memory: Memory, weights: DecoderWeights, beams: int, words: int) -> Callable[[], Any]:
    """The op ``search`` without the checks that wait for the device: what a graph can hold."""
    if way == "cuda bfloat16":
        memory, weights = shortened(memory, weights)
    arguments = (*memory, list(weights), beams, words, 1.0, None, 1.0, "cuda")
    return functools.partial(torch.ops.m2t_fast.search, *arguments)


def agree(found: Found, expected: Found, way: str) -> bool:
    """Whether almost all captions are equal; in bfloat16, whose weights are rounded, whether the scores are finite."""
    tokens, scores = (x[: len(expected[0])] for x in found)
    if way == "cuda bfloat16":
        return bool(found[1].isfinite().all())
    same = (tokens[:, 0] == expected[0][:, 0]).all(-1)
    close = torch.isclose(scores[:, 0].float(), expected[1][:, 0].float(), rtol=1e-3, atol=1e-3)
    return float((same & close).float().mean()) >= SHARE


@torch.no_grad()
def measure(cell: Cell, device: Device) -> dict[str, Any]:
    """Times of one way to caption."""
    if cell.way.startswith("cuda") and (reason := why_unavailable("cuda")) is not None:
        return {"note": f"not built: {reason}"}
    row = cell.row
    beams, words = row["beams"], row["words"]
    memory, weights = inputs_of(SIZES[row["sizes"]], row["motions"], device.where)
    try:
        with plain_pytorch():
            expected = step_by_step(Memory(*(x[:CHECKED] for x in memory)), weights, beams, words)
            run = prepared(cell.way, memory, weights, beams, words)
            if not agree(run(), expected, cell.way):
                return {"note": "differs from plain PyTorch"}
            synchronize(device.where)
            warm_up(device.where, 0.2)
            found: dict[str, Any] = {"call": milliseconds_waited(run, device.where, least=3)}
            if cell.way.startswith("cuda"):
                replays(found, "replay", launched(cell.way, memory, weights, beams, words), device.where)
            return found
    except torch.OutOfMemoryError:
        return {"note": "out of memory"}


SECTION = Section("decoding", cells, measure)
