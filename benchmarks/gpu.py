"""Times the attention on a GPU against eager, torch.compile and a word-by-word loop, beside ceilings of the same run.

    python benchmarks/gpu.py [--budget SECONDS] [--no-write]

Medians with 20th and 80th percentiles of forward and backward, the L2 cache flushed before every call. A way that does
not fit into memory, is wrong, or comes after the budget is spent leaves its cell empty. Writes
benchmarks/results/DEVICE.json and the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m2t_fast import reference, use_backend
from m2t_fast.ops import attention
from m2t_fast.ops.registry import why_unavailable

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "benchmarks.md"
MARKS = "<!-- gpu table -->", "<!-- end of gpu table -->"
SIZES = {
    "HumanML3D": dict(B=128, T=100, L=23, D=256, H=256),
    "KIT-ML": dict(B=64, T=100, L=23, D=128, H=128),
    "large": dict(B=512, T=200, L=40, D=256, H=256),
}
PARTS = 6
WAYS = ("triton", "cuda", "eager", "torch.compile", "word by word")
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}


def inputs_of(size: dict[str, int], slots: int, dtype: torch.dtype, device: str = "cuda") -> list[Tensor]:
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


def milliseconds(run: Callable[[], Any]) -> list[float]:
    """Median, 20th and 80th percentile of a call."""
    from triton.testing import do_bench

    return [round(x, 5) for x in do_bench(run, warmup=20, rep=150, quantiles=[0.5, 0.2, 0.8])]


def close(found: list[Tensor], expected: list[Tensor], dtype: torch.dtype) -> bool:
    """Whether context and gradients agree, the gradients on one scale: some are 0 by cancellation. NaN does not."""
    pairs = [(a.double(), b.double()) for a, b in zip(found, expected, strict=True) if a is not None]
    sizes = [float(b.norm()) for _, b in pairs]
    scales = [sizes[0]] + [max(sizes[1:])] * (len(sizes) - 1)
    return all(float((a - b).norm()) <= TOLERANCE[dtype] * scale for (a, b), scale in zip(pairs, scales, strict=True))


def ceilings() -> dict[str, float]:
    """What the device can do: tanh a second, exact and approximate, on registers alone, and bytes a second copied."""
    from m2t_fast.kernels.ceilings import repeat_tanh

    programs, block, count = 4096, 1024, 512
    out = torch.empty(programs * block, device="cuda")
    found = {}
    for name, approximate in (("tanh_per_s_exact", False), ("tanh_per_s_approximate", True)):
        run = functools.partial(repeat_tanh[(programs,)], out, count, BLOCK=block, APPROXIMATE=approximate)
        found[name] = programs * block * count / (milliseconds(run)[0] / 1e3)
    source = torch.empty(1 << 28, device="cuda")
    target = torch.empty_like(source)
    found["bytes_per_s"] = 2 * source.nbytes / (milliseconds(lambda: target.copy_(source))[0] / 1e3)
    return found


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


def measure(budget: float) -> dict[str, Any]:
    """Every size, scoring mode and dtype in every way, until ``budget`` seconds are spent."""
    started = time.monotonic()
    device = torch.cuda.get_device_name()
    result: dict[str, Any] = {
        "device": device,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "ceilings": ceilings(),
        "rows": [],
    }
    for dtype in (torch.float32, torch.bfloat16):
        for title, size in SIZES.items():
            for mode, slots in (("part", PARTS), ("frame", 1)):
                inputs = inputs_of(size, slots, dtype)
                row: dict[str, Any] = {"sizes": title, "scoring": mode, "dtype": str(dtype).removeprefix("torch.")}
                row |= work(inputs) | {"forward": {}, "both": {}, "notes": {}}
                result["rows"].append(row)
                expected = training(ours, inputs)[1]()
                for way in WAYS:
                    if way == "cuda" and why_unavailable("cuda") is not None:
                        row["notes"][way] = "not built"
                        continue
                    if time.monotonic() - started > budget:
                        row["notes"][way] = "no time left"
                        continue
                    try:
                        _measure_way(row, way, inputs, expected, dtype)
                    except torch.OutOfMemoryError:
                        row["notes"][way] = "out of memory"
                    except Exception as error:  # one way's failure must not cost the others their numbers
                        row["notes"][way] = type(error).__name__
                    torch.compiler.reset()
                    torch.cuda.empty_cache()
                print(_line(row), flush=True)
    result["seconds"] = round(time.monotonic() - started, 1)
    return result


def _measure_way(
    row: dict[str, Any], way: str, inputs: list[Tensor], expected: list[Tensor], dtype: torch.dtype
) -> None:
    functions: dict[str, Callable] = {
        "triton": ours,
        "cuda": by_cuda,
        "eager": reference.spatio_temporal_attention,
        "torch.compile": torch.compile(reference.spatio_temporal_attention, fullgraph=True, dynamic=False),
        "word by word": word_by_word,
    }
    forward, both = training(functions[way], inputs)
    if not close(both(), expected, dtype):
        row["notes"][way] = "differs"
        return
    row["forward"][way], row["both"][way] = milliseconds(forward), milliseconds(both)


def _line(row: dict[str, Any]) -> str:
    cells = [f"{way} {row['both'][way][0]:.3f} ms" for way in WAYS if way in row["both"]]
    cells += [f"{way}: {why}" for way, why in row["notes"].items()]
    return f"{row['sizes']:10} {row['scoring']:5} {row['dtype']:8} " + ", ".join(cells)


def table(result: dict[str, Any]) -> str:
    """The Markdown table of forward and backward, ratios to ours beside the medians."""
    rate = result["ceilings"]
    lines = [
        f"{result['device']}, torch {result['torch']}, CUDA {result['cuda']}, {result['date']}; measured ceilings: "
        f"{rate['tanh_per_s_exact']:.3g} exact and {rate['tanh_per_s_approximate']:.3g} approximate tanh a second, "
        f"{rate['bytes_per_s'] / 1e9:.0f} GB/s copied.",
        "",
        "| sizes | scoring | dtype | triton ms (p20 to p80) | cuda | eager | torch.compile | word by word "
        "| of the tanh ceiling | of the copy ceiling |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["rows"]:
        mine = row["both"].get("triton")
        cells = [f"{mine[0]:.3f} ({mine[1]:.3f} to {mine[2]:.3f})" if mine else row["notes"].get("triton", "")]
        for way in WAYS[1:]:
            other = row["both"].get(way)
            ratio = f" ({other[0] / mine[0]:.1f}x)" if other and mine else ""
            cells.append(f"{other[0]:.3f}{ratio}" if other else row["notes"].get(way, ""))
        kind = "exact" if row["dtype"] == "float32" else "approximate"
        for done, ceiling in (("tanh", f"tanh_per_s_{kind}"), ("bytes", "bytes_per_s")):
            cells.append(f"{row[done] / (mine[0] / 1e3) / rate[ceiling]:.0%}" if mine else "")
        lines.append("| " + " | ".join([row["sizes"], row["scoring"], row["dtype"], *cells]) + " |")
    return "\n".join(lines)


def write(result: dict[str, Any]) -> None:
    """The numbers to benchmarks/results/, the table into the document."""
    from m2t_fast.kernels.devices import file_name

    path = ROOT / "benchmarks" / "results" / file_name(result["device"])
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    text = DOCUMENT.read_text()
    head, rest = text.split(MARKS[0])
    _, tail = rest.split(MARKS[1])
    DOCUMENT.write_text(f"{head}{MARKS[0]}\n{table(result)}\n{MARKS[1]}{tail}")
    print(f"wrote {path.relative_to(ROOT)} and the table of {DOCUMENT.relative_to(ROOT)}")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=240.0, help="seconds after which cells are left empty")
    parser.add_argument("--no-write", action="store_true", help="print alone")
    arguments = parser.parse_args()
    reason = why_unavailable("triton") or (None if torch.cuda.is_available() else "no CUDA device")
    if reason is not None:
        print(f"benchmarks/gpu.py: {reason}", file=sys.stderr)
        return 2
    result = measure(arguments.budget)
    print(table(result))
    if not arguments.no_write:
        write(result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
