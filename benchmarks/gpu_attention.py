"""Times the attention on a GPU against eager, torch.compile and a word-by-word loop.

Forward and backward: the call as training makes it, and its captured graph, in which Python has no part; the L2 cache
flushed before every one. A way that runs out of memory or is wrong gets no time, and the reason is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from gpu_part import Cell, Device, Section, milliseconds, replays, timed
from torch import Tensor

from m2t_fast import reference, use_backend
from m2t_fast.ops import attention
from m2t_fast.ops.registry import why_unavailable

SIZES = {
    "HumanML3D": dict(B=128, T=100, L=23, D=256, H=256),
    "KIT-ML": dict(B=64, T=100, L=23, D=128, H=128),
    "large": dict(B=512, T=200, L=40, D=256, H=256),
}
PARTS = 6
SLOTS = {"part": PARTS, "frame": 1}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
KEY = ("triton", "cuda", "eager")
WAYS = (*KEY, "word by word", "torch.compile")
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}
CHECKED = 4
"""Motions whose results are compared with float64's."""


def cells() -> Iterator[Cell]:
    """The sizes of the aim first; compiled are the cells of the aim and one more."""
    titles = list(SIZES)
    for mode in SLOTS:
        for title in titles:
            for dtype in DTYPES:
                first = title == titles[0] and mode == "part"
                for way in WAYS:
                    compiled = way == "torch.compile"
                    if compiled and not first and (title, mode, dtype) != ("KIT-ML", "part", "float32"):
                        continue
                    row = {"sizes": title, "scoring": mode, "dtype": dtype}
                    yield Cell(row, way, first and way in KEY, compiled)


def inputs_of(size: dict[str, int], slots: int, dtype: torch.dtype, device: str) -> list[Tensor]:
    """The op's inputs: motions of 20 frames to all of them, weights of a trained model's size."""
    g = torch.Generator(device).manual_seed(0)
    batch, frames, words, dim, features = (size[k] for k in "BTLDH")

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, device=device).to(dtype)

    rows = PARTS if slots == 1 else 1
    lengths = torch.randint(min(20, frames), frames + 1, (batch,), generator=g, device=device)
    return [
        torch.tanh(normal(batch, frames, PARTS, features)),
        normal(batch, frames, slots, dim),
        normal(batch, frames, slots, dim),
        normal(batch, words, dim),
        normal(batch, words, dim),
        normal(dim) / dim**0.5,
        normal(rows, dim) / dim**0.5,
        normal(rows),
        lengths,
    ]


def word_by_word(*inputs: Any) -> tuple[Tensor, ...]:
    """One word after the other, as the released model computes it."""
    *head, temporal_query, spatial_query, weight, spatial_weight, bias, lengths = inputs
    steps = [
        reference.spatio_temporal_attention(
            *head, temporal_query[:, i : i + 1], spatial_query[:, i : i + 1], weight, spatial_weight, bias, lengths
        )
        for i in range(temporal_query.shape[1])
    ]
    return tuple(torch.cat(columns, dim=1) for columns in zip(*steps, strict=True))


def by(backend: str) -> Callable[..., tuple[Tensor, ...]]:
    """A backend, without the checks that wait for the device."""

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        with use_backend(backend):
            return attention.spatio_temporal_attention.in_bounds(*inputs)

    return run


def function_of(way: str) -> Callable[..., tuple[Tensor, ...]]:
    """The attention in one of WAYS."""
    plain = reference.spatio_temporal_attention
    if way == "torch.compile":
        return torch.compile(plain, fullgraph=True, dynamic=False)
    return {"eager": plain, "word by word": word_by_word}.get(way) or by(way)


def read_gradients(inputs: list[Tensor]) -> list[Tensor]:
    """Random gradients of what training reads of the attention: context and alpha."""
    batch, frames, parts, features = inputs[0].shape
    words, g = inputs[3].shape[1], torch.Generator().manual_seed(1)
    shapes = ((batch, words, features), (batch, words, frames, parts))
    return [torch.randn(shape, generator=g).to(inputs[0].device, inputs[0].dtype) for shape in shapes]


def training(function: Callable, inputs: list[Tensor]) -> tuple[Callable[[], Any], Callable[[], list[Tensor]]]:
    """Forward alone, and forward with backward."""
    leaves = [x.detach().requires_grad_() if x.is_floating_point() else x for x in inputs]
    wanted, grads = [x for x in leaves if x.requires_grad], read_gradients(inputs)

    def both() -> list[Tensor]:
        outputs = function(*leaves)
        return [outputs[0].detach(), *torch.autograd.grad([outputs[0], outputs[2]], wanted, grads, allow_unused=True)]

    def forward() -> Any:
        with torch.no_grad():
            return function(*leaves)

    return forward, both


def exact(inputs: list[Tensor]) -> list[Tensor]:
    """Context, and gradients of what belongs to a motion, of the first motions, in float64."""
    of_motions = [x[:CHECKED] if i in (0, 1, 2, 3, 4, 8) else x for i, x in enumerate(inputs)]
    leaves = [x.detach().double().requires_grad_() if x.is_floating_point() else x for x in of_motions]
    grads = [x[:CHECKED].double() for x in read_gradients(inputs)]
    outputs = reference.spatio_temporal_attention(*leaves)
    return [outputs[0].detach(), *torch.autograd.grad([outputs[0], outputs[2]], leaves[:5], grads)]


def close(found: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> bool:
    """Whether context and gradients agree, the gradients on one scale: some are 0 by cancellation. NaN does not."""
    pairs = [(a[:CHECKED].double(), b) for a, b in zip(found[:6], expected, strict=True)]
    sizes = [float(b.norm()) for _, b in pairs]
    scales = [sizes[0]] + [max(sizes[1:])] * (len(sizes) - 1)
    return all(float((a - b).norm()) <= TOLERANCE[dtype] * scale for (a, b), scale in zip(pairs, scales, strict=True))


def work(inputs: list[Tensor]) -> dict[str, int]:
    """Tanh of both passes, and the bytes of both if every tensor moved once."""
    parts, keys, queries, lengths = inputs[0], inputs[1], inputs[3], inputs[8]
    once = 2 * int(lengths.sum()) * keys.shape[2] * queries.shape[1] * keys.shape[3]  # temporal and spatial
    batch, frames, count, features = parts.shape
    outputs = batch * queries.shape[1] * (features + frames + frames * count + 2) * parts.element_size()
    # The backward makes the scores again, then every tanh for the queries' and for the keys' gradients.
    return {"tanh": 4 * once, "bytes": 3 * sum(x.nbytes for x in inputs) + 2 * outputs}


def measure(cell: Cell, device: Device) -> dict[str, Any]:
    """Forward with backward (`call`, `replay`) and forward alone."""
    if cell.way in ("triton", "cuda") and (reason := why_unavailable(cell.way)) is not None:
        return {"note": f"not built: {reason}"}
    dtype = DTYPES[cell.row["dtype"]]
    inputs = inputs_of(SIZES[cell.row["sizes"]], SLOTS[cell.row["scoring"]], dtype, device.where)
    try:
        forward, both = training(function_of(cell.way), inputs)
        if not close(both(), exact(inputs), dtype):
            return {"note": "differs from float64"}
        found = timed(both, device.where)
        if "replay" in found:
            replays(found, "replay_forward", forward, device.where)
        return {**found, "forward": milliseconds(forward, device.where), **work(inputs)}
    except torch.OutOfMemoryError:
        return {"note": "out of memory"}


SECTION = Section("attention", cells, measure)
