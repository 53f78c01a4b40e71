"""Times a guided training step's attention and gated step on a GPU, with the losses folded in and with them apart.

Both ways run on the backend `triton`, forward and backward; apart means the ops, then `spatial_loss` and
`adaptive_loss`, so that alpha is written and read back, and every step of a loss is a launch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from gpu_attention import DTYPES, PARTS, SIZES, SLOTS, inputs_of
from gpu_part import Part, milliseconds, peak_bytes
from torch import Tensor

from m2t_fast import use_backend
from m2t_fast.losses import adaptive_loss, spatial_loss
from m2t_fast.ops import attention
from m2t_fast.ops.cases import GateCase
from m2t_fast.ops.gate import gated_decoder_step
from m2t_fast.ops.guided import guided_attention
from m2t_fast.ops.guided_step import guided_decoder_step
from m2t_fast.reference.loss import spatial_terms_count

WAYS = ("folded", "apart")
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}


def losses(
    way: str, inputs: list[Tensor], step: list[Tensor], gate_target: Tensor, spatial_target: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Features of the gated step over the attention's context, spatial and adaptive loss (eq. 12 and 13)."""
    *_, lengths = inputs
    if way == "folded":
        context, sums = guided_attention(*inputs, spatial_target)
        features, _, _, terms = guided_decoder_step(context, *step[1:], gate_target)
        spatial = sums.sum() / spatial_terms_count(spatial_target, lengths).clamp(min=1)
        return features, spatial, terms.sum() / (gate_target >= 0).sum().clamp(min=1)
    out = attention.unchecked(*inputs, scale=1.0)
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


def measure(part: Part) -> None:
    """Every size, dtype and scoring mode."""
    rows = part.values["rows"] = []
    for title, size in SIZES.items():
        for name, dtype in DTYPES.items():
            for mode, slots in SLOTS.items():
                if part.spent():
                    return
                row: dict[str, Any] = {"sizes": title, "scoring": mode, "dtype": name}
                row |= {"both": {}, "bytes": {}, "notes": {}}
                try:
                    runs = {way: training(way, size, slots, dtype, part.device) for way in WAYS}
                    if agree(runs["folded"](), runs["apart"](), dtype):
                        for way, run in runs.items():
                            row["both"][way], row["bytes"][way] = milliseconds(run), peak_bytes(run, part.device)
                    else:
                        row["notes"]["folded"] = "differs"
                except torch.OutOfMemoryError:
                    row["notes"]["folded"] = "out of memory"
                rows.append(row)
                cells = [f"{way} {row['both'][way][0]:.3f} ms" for way in WAYS if way in row["both"]]
                print(
                    f"{title:10} {mode:5} {name:8} guided: " + ", ".join(cells or row["notes"].values()),
                    flush=True,
                )
                torch.cuda.empty_cache()
                part.save()


def table(results: dict[str, Any]) -> str:
    """The Markdown table: forward and backward, and the most memory either way holds at once."""
    lines = ["| sizes | scoring | dtype | folded ms (p20 to p80) | apart | memory, MiB | apart |", "|" + " --- |" * 7]
    for row in results["sections"]["guided"]["rows"]:
        folded, apart = (row["both"].get(way) for way in WAYS)
        cells = [row["notes"].get("folded", ""), ""]
        if folded and apart:
            cells = [f"{folded[0]:.3f} ({folded[1]:.3f} to {folded[2]:.3f})"]
            cells += [f"{apart[0]:.3f} ({apart[0] / folded[0]:.2f}x)"]
        held = [row["bytes"].get(way) for way in WAYS]
        cells += ["" if x is None else f"{x / 2**20:.0f}" for x in held]
        lines.append("| " + " | ".join([row["sizes"], row["scoring"], row["dtype"], *cells]) + " |")
    return "\n".join(lines)
