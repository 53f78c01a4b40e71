"""Times whole captions on a GPU: the decoder in one launch against PyTorch, compiled, graphed, and one by one.

Greedy and beam search for 1 to 4,160 motions of 20 to 100 frames and the data sets' sizes; every caption has 20 words,
so that every way does the same work. Wall time of a call that waits for the device: medians with 20th and 80th
percentiles. The decoder in one launch also writes the attention behind every word, the others do not. A way that fails,
is wrong, or comes after the budget is spent leaves its cell empty and says why.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from gpu_part import Part
from torch import Tensor

from m2t_fast import ops, use_backend
from m2t_fast.benchmarking.captioners import plain_pytorch
from m2t_fast.benchmarking.measure import quantile
from m2t_fast.benchmarking.sizes import SIZES, Size, model_of
from m2t_fast.config import EOS, SOS
from m2t_fast.ops.decode import DecoderWeights
from m2t_fast.ops.decoding.decoder import Decoder, Memory, State, select_state
from m2t_fast.ops.registry import why_unavailable

BATCHES = (1, 64, 512, 4160)
BEAMS = (1, 2, 5, 10)
WORDS = 20
WAYS = ("cuda", "cuda bfloat16", "PyTorch", "CUDA graph", "one by one", "torch.compile")
"""In the order in which they are measured: the slowest to prepare comes last."""
SHARE = 0.9
"""Captions that must be those of our decoder: near ties may decide the others."""
Found = tuple[Tensor, Tensor]
"""Tokens (B, K, W) and scores (B, K)."""


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
    """One empty hypothesis a motion."""
    batch, device, dtype = len(memory.lengths), memory.parts.device, memory.parts.dtype
    word = torch.full((batch, beams), SOS, device=device)
    total = torch.full((batch, beams), -torch.inf, device=device)
    total[:, 0] = 0.0
    h, c, top_h, top_c = (
        torch.zeros(batch * beams, weights.bottom_hidden.shape[1], device=device, dtype=dtype) for _ in range(4)
    )
    return word, total, ((h, c), (top_h, top_c)), torch.zeros(batch, beams, words, dtype=torch.int64, device=device)


def advance(decoder: Decoder, memory: Memory, progress: Progress, place: Tensor) -> Progress:
    """One word of a search that nothing leaves, without a look at the host: what can be compiled and captured."""
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
    """All motions together, one call of ``step`` a word."""
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


def graphed(memory: Memory, weights: DecoderWeights, beams: int, words: int) -> Callable[[], Found]:
    """Step by step, captured in one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step_by_step(memory, weights, beams, words)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step_by_step(memory, weights, beams, words)

    def run() -> Found:
        graph.replay()
        return found

    return run


def prepared(
    way: str, memory: Memory, weights: DecoderWeights, beams: int, words: int, backend: str
) -> Callable[[], Found]:
    """A function that captions all motions in one of WAYS."""
    arguments = (memory, weights, beams, words)
    if way == "cuda":
        return lambda: one_launch(*arguments, backend)
    if way == "cuda bfloat16":
        short = Memory(*(x.bfloat16() if x.is_floating_point() else x for x in memory))
        short_weights = DecoderWeights(*(x.bfloat16() for x in weights))
        return lambda: one_launch(short, short_weights, beams, words, backend)
    if way == "PyTorch":
        return lambda: step_by_step(*arguments)
    if way == "torch.compile":
        step = torch.compile(advance, dynamic=False)
        return lambda: step_by_step(*arguments, step)
    if way == "CUDA graph":
        return graphed(*arguments)
    return lambda: one_by_one(*arguments)


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def milliseconds(
    run: Callable[[], Any], device: str, least: int = 5, most: int = 50, seconds: float = 1.0
) -> list[float]:
    """Median, 20th and 80th percentile of a call: ``least`` calls, and more up to ``most`` within ``seconds``."""
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < least or (len(times) < most and time.perf_counter() - began < seconds):
        wait(device)
        before = time.perf_counter()
        run()
        wait(device)
        times.append(1e3 * (time.perf_counter() - before))
    return [round(quantile(times, q), 4) for q in (0.5, 0.2, 0.8)]


def agree(found: Found, expected: Found, way: str) -> bool:
    """Whether hardly a caption differs; in bfloat16, where every weight does, whether the scores are numbers."""
    tokens, scores = found
    if way == "cuda bfloat16":
        return bool(scores.isfinite().all())
    same = (tokens[:, 0] == expected[0][:, 0]).all(-1)
    close = torch.isclose(scores[:, 0].float(), expected[1][:, 0].float(), rtol=1e-3, atol=1e-3)
    return float((same & close).float().mean()) >= SHARE


def cells(sizes: Sequence[str], batches: Sequence[int], beams: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    for size in sizes:
        for batch in batches:
            for width in beams:
                yield size, batch, width


@torch.no_grad()
def measure_decoding(
    budget: float,
    device: str = "cuda",
    backend: str = "cuda",
    sizes: Sequence[str] = ("kit", "humanml3d"),
    batches: Sequence[int] = BATCHES,
    beams: Sequence[int] = BEAMS,
    words: int = WORDS,
    save: Callable[[list[dict[str, Any]]], None] = lambda rows: None,
) -> list[dict[str, Any]]:
    """A row for every size, number of motions and beam width: times in milliseconds by way, or a note why not.

    Way after way, until ``budget`` seconds are spent: ours first, so that it is there whatever the others take. After
    every cell ``save`` is given the rows.
    """
    began = time.monotonic()
    rows = {
        cell: {"sizes": cell[0], "motions": cell[1], "beams": cell[2], "words": words, "ms": {}, "notes": {}}
        for cell in cells(sizes, batches, beams)
    }
    for way in WAYS:
        made: tuple[str, int] | None = None
        for (size, batch, width), row in rows.items():
            left = budget - (time.monotonic() - began)
            alone = rows[size, batches[0], width]["ms"].get("PyTorch") if batches[0] == 1 else None
            if left <= 0 or (way == "one by one" and (alone is None or 7 * batch * alone[0] / 1e3 > left / 8)):
                row["notes"][way] = "no time left" if left <= 0 else "too long"
                continue
            if made != (size, batch):
                memory = weights = None
                memory, weights = inputs_of(SIZES[size], batch, device)
                made = size, batch
            try:
                with plain_pytorch():
                    run = prepared(way, memory, weights, width, words, backend)
                    found = run()
                    wait(device)
                    expected = one_launch(memory, weights, width, words, backend)
                    if agree(found, expected, way):
                        row["ms"][way] = milliseconds(run, device)
                    else:
                        row["notes"][way] = "differs"
            except torch.OutOfMemoryError:
                row["notes"][way] = "out of memory"
            except Exception as error:  # one way's failure must not cost the others their numbers
                row["notes"][way] = type(error).__name__
                print(f"{way}, {size}, {batch} motions, beam {width}: {error}", file=sys.stderr)
            run = found = expected = None
            torch.compiler.reset()
            if device != "cpu":
                torch.cuda.empty_cache()
            print(line(row, way), flush=True)
            save(list(rows.values()))
    return list(rows.values())


def line(row: dict[str, Any], way: str) -> str:
    """What was just measured, for whoever waits."""
    name = f"{row['sizes']:10} {row['motions']:5} motions, beam {row['beams']:2}, {way}: "
    if way not in row["ms"]:
        return name + row["notes"][way]
    middle = row["ms"][way][0]
    return name + f"{middle:.3f} ms, {1e3 * row['motions'] * row['words'] / middle:.0f} words/s"


def measure(part: Part) -> None:
    """The section of the GPU benchmarks."""
    if (reason := why_unavailable("cuda")) is not None:
        part.values["note"] = reason
        return

    def save(rows: list[dict[str, Any]]) -> None:
        part.values["rows"] = rows
        part.save()

    measure_decoding(part.until - time.monotonic(), part.device, save=save)


def table(results: dict[str, Any]) -> str:
    """Markdown: milliseconds (p20 to p80) of ours with words a second, of the others with their ratio to ours."""
    lines = [
        "| sizes | motions | beam | cuda ms (p20 to p80) | words/s | " + " | ".join(WAYS[1:]) + " |",
        "| --- " * (5 + len(WAYS[1:])) + "|",
    ]
    for row in results["sections"]["decoding"]["rows"]:
        mine = row["ms"].get("cuda")
        texts = [row["sizes"], str(row["motions"]), "greedy" if row["beams"] == 1 else str(row["beams"])]
        texts.append(f"{mine[0]:.3f} ({mine[1]:.3f} to {mine[2]:.3f})" if mine else row["notes"].get("cuda", ""))
        texts.append(f"{1e3 * row['motions'] * row['words'] / mine[0]:,.0f}" if mine else "")
        for way in WAYS[1:]:
            other = row["ms"].get(way)
            ratio = f" ({other[0] / mine[0]:.1f}x)" if other and mine else ""
            texts.append(f"{other[0]:.3f}{ratio}" if other else row["notes"].get(way, ""))
        lines.append("| " + " | ".join(texts) + " |")
    return "\n".join(lines)
