"""Times a guided training step's attention and gated step on a GPU, with the losses folded in and with them apart.

Both ways run on the backend `triton`, forward and backward; apart means the ops, then `spatial_loss` and
`adaptive_loss`, so that alpha is written and read back, and every step of a loss is a launch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from gpu_attention import DTYPES, PARTS, SIZES, SLOTS, inputs_of
from gpu_part import Cell, Device, Section, peak_bytes, timed
from torch import Tensor

from m2t_fast import use_backend
from m2t_fast.losses import adaptive_loss, spatial_loss
from m2t_fast.ops import attention
from m2t_fast.ops.attention_with_loss import guided_attention
from m2t_fast.ops.cases import GateCase
from m2t_fast.ops.gate import gated_decoder_step
from m2t_fast.ops.gate_with_loss import guided_decoder_step
from m2t_fast.reference.loss import spatial_terms_count

WAYS = ("folded", "apart")
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}


def losses(
    way: str, inputs: list[Tensor], step: list[Tensor], gate_target: Tensor, spatial_target: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Features of the gated step over the attention's context, spatial and adaptive loss (eq. 12 and 13)."""
    *_, lengths = inputs
    if way == "folded":
        context, sums, _, _ = guided_attention.in_bounds(*inputs, spatial_target)
        features, _, _, terms = guided_decoder_step.in_bounds(context, *step[1:], gate_target)
        spatial = sums.sum() / spatial_terms_count(spatial_target, lengths).clamp(min=1)
        return features, spatial, terms.sum() / (gate_target >= 0).sum().clamp(min=1)
    out = attention.spatio_temporal_attention.in_bounds(*inputs)
    gate = gated_decoder_step(out.context, *step[1:])
    spatial = spatial_loss(out.spatial, spatial_target, lengths)
    return gate.features, spatial, adaptive_loss(gate.gate, gate_target, gate.gate_logit)


def training(way: str, size: dict[str, int], slots: int, dtype: torch.dtype, device: str) -> Callable[[], list[Tensor]]:
    """A call that makes the losses and every gradient, of random inputs that are the same in both ways."""
    batch, words, dim = size["B"], size["L"], size["D"]
    inputs = [x.requires_grad_(x.is_floating_point()) for x in inputs_of(size, slots, dtype, device)]
    case = GateCase(B=batch, L=words, H=size["H"], C=dim, E=dim // 2, D=dim)
    # Weights of a trained model's size: random ones of unit variance would only saturate.
    step = [
        (x / (x.shape[-1] if x.dim() == 2 else 1) ** 0.5).to(device).requires_grad_()
        for x in case.inputs(dtype, seed=1)
    ]
    g = torch.Generator().manual_seed(2)
    gate_target = torch.randint(-1, 2, (batch, words), generator=g).float().to(device)
    spatial_target = torch.randint(-1, 2, (batch, words, PARTS), generator=g).float().to(device)
    wanted = [x for x in (*inputs, *step[1:]) if x.requires_grad]

    def both() -> list[Tensor]:
        with use_backend("triton"):
            features, spatial, adaptive = losses(way, inputs, step, gate_target, spatial_target)
            total = features.float().square().mean() + spatial.float() + adaptive.float()
            return [total.detach(), *torch.autograd.grad(total, wanted)]

    return both


def agree(found: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> bool:
    """Whether the total and all gradients agree, the gradients on the scale of the largest. NaN does not."""
    largest = max(float(b.double().norm()) for b in expected[1:])
    scales = [float(expected[0].abs())] + [largest] * (len(expected) - 1)
    pairs = zip(found, expected, scales, strict=True)
    return all(float((a.double() - b.double()).norm()) <= TOLERANCE[dtype] * scale for a, b, scale in pairs)


def cells() -> Iterator[Cell]:
    """Every size, dtype and scoring mode."""
    for title in SIZES:
        for dtype in DTYPES:
            for mode in SLOTS:
                for way in WAYS:
                    yield Cell({"sizes": title, "scoring": mode, "dtype": dtype}, way, key=False)


def measure(cell: Cell, device: Device) -> dict[str, Any]:
    """Forward and backward of one way, whose losses and gradients are the other's."""
    row, dtype = cell.row, DTYPES[cell.row["dtype"]]
    try:
        runs = {way: training(way, SIZES[row["sizes"]], SLOTS[row["scoring"]], dtype, device.where) for way in WAYS}
        if not agree(runs["folded"](), runs["apart"](), dtype):
            return {"note": "differs"}
        held = peak_bytes(runs[cell.way], device.where)
        return {**timed(runs[cell.way], device.where), "peak_bytes": held}
    except torch.OutOfMemoryError:
        return {"note": "out of memory"}


SECTION = Section("guided", cells, measure)
