"""The least time that a case's operations need on this processor: a floor that times are compared with.

Measured once, in bare loops on as many threads: multiply-adds, tanh in its cheapest form, and bytes of a copy too large
for the caches. A floor is not a prediction: it counts what the equations need, each once, and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch

from m2t_fast import native
from m2t_fast.benchmarking.sizes import Size
from m2t_fast.ops.cpu import launch

_COPIED = 128 << 20
"""Bytes of the array that is copied."""


class Rates(NamedTuple):
    """Per second, all threads together."""

    flops: float
    """Floating-point operations of a bare multiply-add loop in float32, two for each."""
    tanh: float
    """tanh of a sum, weighted and added up, from exponentials that are ready."""
    bytes: float
    """Read and written by a copy."""


class Work(NamedTuple):
    """What a computation needs: floating-point operations of its products, tanh, and bytes of inputs and results."""

    flops: float = 0.0
    tanh: float = 0.0
    bytes: float = 0.0

    def plus(self, other: Work) -> Work:
        """Both."""
        return Work(*(a + b for a, b in zip(self, other, strict=True)))

    def seconds(self, rates: Rates) -> float:
        """The least time: products and tanh use the same units, memory works beside them."""
        return max(self.flops / rates.flops + self.tanh / rates.tanh, self.bytes / rates.bytes)


def measure(device: torch.device) -> Rates | None:
    """The rates of this processor now; None where there is no native extension, and on other devices."""
    if device.type != "cpu" or launch.why_unavailable() is not None:
        return None
    which = launch.instruction_set_number()
    source = torch.ones(_COPIED // 4)
    target = torch.empty_like(source)
    return Rates(
        2 * _rate(lambda count: native._native.multiply_adds_float32(count, which), 1 << 28),
        _rate(lambda count: native._native.tanh_sums_float32(count, which), 1 << 26),
        2 * _COPIED / min(_time(lambda: target.copy_(source)) for _ in range(4)),
    )


def _rate(loop: Callable[[int], int], count: int) -> float:
    """The rate of all threads together, each by its own processor time: other work on the cores does not lower it."""

    def one(_: int) -> float:
        start = time.thread_time()
        made = loop(count)
        return made / max(time.thread_time() - start, 1e-9)

    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        return max(sum(pool.map(one, range(threads))) for _ in range(4))


def _time(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def work_of(case: str, size: Size, scoring: str, frames: int, words: int, backward: bool) -> Work | None:
    """What a case needs; None for those that are not counted (searches end when they end).

    Args:
        frames: valid frames of all motions. words: words that count, of all captions.
    """
    c = size.scored(scoring)
    parts, dim, hidden, word = len(c.parts), c.attention_dim, c.hidden_size, c.embedding_dim
    rows = frames * c.key_slots
    part, mixture = c.part_dim, c.mixture_dim
    padded, pairs = size.batch * size.words, frames * size.words  # a word's row, and each frame with each word
    tanh = 2 * pairs * c.key_slots * dim
    passes = 3 if backward else 1  # forward, and the gradients of input and weight
    per_frame = 2 * 3 * sum(map(len, c.parts)) * dim, 2 * parts * dim * part // 2
    works: dict[str, Callable[[], Work]] = {
        # The gradient of the first layer's input is not needed.
        "part_encoder": lambda: Work(
            2 * 2 * frames * ((passes - backward) * per_frame[0] + passes * per_frame[1]),
            2 * frames * parts * (dim + part // 2),
            4 * frames * parts * part * passes,
        ),
        "attention_keys": lambda: Work(
            2 * 2 * passes * rows * dim * part * parts // c.key_slots,
            0,
            4 * frames * (parts * part + 2 * c.key_slots * dim) * (2 if backward else 1),
        ),
        # The tanh again for the gradient, with three multiply-adds each, and the products with the parts.
        "spatio_temporal_attention": lambda: Work(
            2 * passes * parts * part * pairs + 6 * backward * tanh,
            tanh * (2 if backward else 1),
            4 * frames * (parts * part + 2 * c.key_slots * dim) * (2 if backward else 1),
        ),
        "gated_decoder_step": lambda: Work(
            2 * passes * padded * (dim * part + dim * hidden + mixture * mixture),
            padded * (2 * dim + mixture),
        ),
        "spatial_loss": lambda: Work(bytes=4 * pairs * parts * (2 if backward else 1)),
    }
    if case in works:
        return works[case]()
    if case == "additive_attention":
        return Work(
            2 * passes * part * pairs + 3 * backward * 2 * pairs * dim,
            pairs * dim * (2 if backward else 1),
            4 * frames * (part + dim) * (2 if backward else 1),
        )
    if case != "training_step":
        return None
    # Beside the ops: LSTMs and queries of every word, the vocabulary layer of those that count, and to learn the input
    # words of scheduled sampling the LSTMs once more.
    lstms = 2 * 4 * hidden * (word + hidden + hidden + hidden)
    total = Work(
        3 * (padded * (lstms + 2 * 2 * dim * hidden) + 2 * words * mixture * c.vocab_size) + padded * lstms,
        2 * 5 * padded * hidden,
    )
    for name in works:
        total = total.plus(works[name]())
    return total
