"""Times the attention on a GPU against eager, torch.compile and a word-by-word loop, beside ceilings of the same run.

Medians with 20th and 80th percentiles of forward and backward, the L2 cache flushed before every call. A way that does
not fit into memory, is wrong, or comes after the budget is spent leaves its cell empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from gpu_part import Part, milliseconds
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
WAYS = ("triton", "cuda", "eager", "torch.compile", "word by word")
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}


def inputs_of(size: dict[str, int], slots: int, dtype: torch.dtype, device: str) -> list[Tensor]:
    """The op's inputs: motions of 20 frames to all of them, weights of a trained model's size."""
    g = torch.Generator(device).manual_seed(0)
    batch, frames, words, dim, features = (size[k] for k in "BTLDH")

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=g, device=device).to(dtype)

    rows = PARTS if slots == 1 else 1
    lengths = torch.randint(20, frames + 1, (batch,), generator=g, device=device)
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
    """As the released model does it: one word after the other."""
    *head, temporal_query, spatial_query, weight, spatial_weight, bias, lengths = inputs
    steps = [
        reference.spatio_temporal_attention(
            *head, temporal_query[:, i : i + 1], spatial_query[:, i : i + 1], weight, spatial_weight, bias, lengths
        )
        for i in range(temporal_query.shape[1])
    ]
    return tuple(torch.cat(columns, dim=1) for columns in zip(*steps, strict=True))


def ours(*inputs: Tensor) -> tuple[Tensor, ...]:
    """The backend triton, without the checks that wait for the device."""
    with use_backend("triton"):
        return attention.unchecked(*inputs, scale=1.0)


def by_cuda(*inputs: Tensor) -> tuple[Tensor, ...]:
    """The backend cuda, likewise."""
    with use_backend("cuda"):
        return attention.unchecked(*inputs, scale=1.0)


def training(function: Callable, inputs: list[Tensor]) -> tuple[Callable[[], Any], Callable[[], list[Tensor]]]:
    """Forward alone, and forward with backward through context and alpha, what training reads."""
    leaves = [x.detach().requires_grad_() if x.is_floating_point() else x for x in inputs]
    wanted = [x for x in leaves if x.requires_grad]
    with torch.no_grad():
        shapes = [x.shape for x in ours(*leaves)]
    device = inputs[0].device
    g = torch.Generator(device).manual_seed(1)
    grads = [torch.randn(shapes[i], generator=g, device=device).to(inputs[0].dtype) for i in (0, 2)]

    def both() -> list[Tensor]:
        outputs = function(*leaves)
        return [outputs[0].detach(), *torch.autograd.grad([outputs[0], outputs[2]], wanted, grads, allow_unused=True)]

    def forward() -> Any:
        with torch.no_grad():
            return function(*leaves)

    return forward, both


def close(found: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> bool:
    """Whether context and gradients agree, the gradients on one scale: some are 0 by cancellation. NaN does not."""
    pairs = [(a.double(), b.double()) for a, b in zip(found, expected, strict=True) if a is not None]
    sizes = [float(b.norm()) for _, b in pairs]
    scales = [sizes[0]] + [max(sizes[1:])] * (len(sizes) - 1)
    return all(float((a - b).norm()) <= TOLERANCE[dtype] * scale for (a, b), scale in zip(pairs, scales, strict=True))


def work(inputs: list[Tensor]) -> dict[str, int]:
    """Tanh of the forward and of both passes, and the bytes of both if every tensor moved once."""
    keys, queries, lengths = inputs[1], inputs[3], inputs[8]
    once = 2 * int(lengths.sum()) * keys.shape[2] * queries.shape[1] * keys.shape[3]  # temporal and spatial
    tensors = sum(x.nbytes for x in inputs)
    with torch.no_grad():
        outputs = sum(x.nbytes for x in ours(*inputs))
    # The backward makes the scores again, then every tanh for the queries' and for the keys' gradients.
    return {
        "tanh_forward": once,
        "tanh": 4 * once,
        "bytes_forward": tensors + outputs,
        "bytes": 3 * tensors + 2 * outputs,
    }


def measure(part: Part) -> None:
    """Every size, scoring mode and dtype in every way: ours everywhere first, and the sizes of the aim first."""
    rows: list[dict[str, Any]] = []
    for title in SIZES:
        for dtype in DTYPES:
            for mode in SLOTS:
                rows.append({"sizes": title, "scoring": mode, "dtype": dtype, "forward": {}, "both": {}, "notes": {}})
    part.values["rows"] = rows
    for way in WAYS:
        for row in rows:
            if part.spent():
                row["notes"][way] = "no time left"
                continue
            if way == "cuda" and why_unavailable("cuda") is not None:
                row["notes"][way] = "not built"
                continue
            try:
                _measure_way(row, way, part.device)
            except torch.OutOfMemoryError:
                row["notes"][way] = "out of memory"
            except Exception as error:  # one cell's failure must not cost the others their numbers
                row["notes"][way] = type(error).__name__
            torch.compiler.reset()
            torch.cuda.empty_cache()
            found = f"{row['both'][way][0]:.3f} ms" if way in row["both"] else row["notes"][way]
            print(f"{row['sizes']:10} {row['scoring']:5} {row['dtype']:8} {way}: {found}", flush=True)
            part.save()


def _measure_way(row: dict[str, Any], way: str, device: str) -> None:
    dtype = DTYPES[row["dtype"]]
    inputs = inputs_of(SIZES[row["sizes"]], SLOTS[row["scoring"]], dtype, device)
    row |= work(inputs)
    functions: dict[str, Callable] = {
        "triton": ours,
        "cuda": by_cuda,
        "eager": reference.spatio_temporal_attention,
        "torch.compile": torch.compile(reference.spatio_temporal_attention, fullgraph=True, dynamic=False),
        "word by word": word_by_word,
    }
    expected = training(ours, inputs)[1]()
    forward, both = training(functions[way], inputs)
    if close(both(), expected, dtype):
        row["forward"][way], row["both"][way] = milliseconds(forward), milliseconds(both)
    else:
        row["notes"][way] = "differs"


def table(results: dict[str, Any]) -> str:
    """The Markdown table of forward and backward, ratios to ours beside the medians."""
    rate = results["sections"].get("ceilings", {})
    lines = [
        "| sizes | scoring | dtype | triton ms (p20 to p80) | cuda | eager | torch.compile | word by word "
        "| of the tanh ceiling | of the copy ceiling |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in results["sections"]["attention"]["rows"]:
        mine = row["both"].get("triton")
        cells = [f"{mine[0]:.3f} ({mine[1]:.3f} to {mine[2]:.3f})" if mine else row["notes"].get("triton", "")]
        for way in WAYS[1:]:
            other = row["both"].get(way)
            ratio = f" ({other[0] / mine[0]:.1f}x)" if other and mine else ""
            cells.append(f"{other[0]:.3f}{ratio}" if other else row["notes"].get(way, ""))
        kind = "exact" if row["dtype"] == "float32" else "approximate"
        for done, ceiling in (("tanh", f"tanh_per_s_{kind}"), ("bytes", "bytes_per_s")):
            known = mine and ceiling in rate
            cells.append(f"{row[done] / (mine[0] / 1e3) / rate[ceiling]:.0%}" if known else "")
        lines.append("| " + " | ".join([row["sizes"], row["scoring"], row["dtype"], *cells]) + " |")
    return "\n".join(lines)
