"""Predicts the time on an H100 of the launches that compute the attention's tanh, from machine code, grids and sizes.

python docs/kernel_times.py

Writes the second table of docs/kernels-counted.md and its roofline, from docs/kernel_counts.json (kernel_counts.py)
and from the launches themselves: Triton's runtime and the emulated device of tests/cuda record them
without running any. Nothing is measured. Needs g++ and the package triton.
"""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import torch  # noqa: E402
from kernel_counts import BASELINE, Count, triton_label  # noqa: E402
from plots import IMAGES, svg  # noqa: E402

DOCUMENT = ROOT / "docs" / "kernels-counted.md"
MARKS = "<!-- times -->", "<!-- end of times -->"
PICTURE = IMAGES / "roofline_h100.svg"


class Device(NamedTuple):
    """What an H100 SXM has (NVIDIA's data sheet): the numbers of one multiprocessor, and the card's."""

    multiprocessors: int = 132
    clock: float = 1.755e9
    """Cycles per second."""
    schedulers: int = 4
    registers: int = 65536
    threads: int = 2048
    blocks: int = 32
    shared: int = 228 * 1024
    """Bytes; a block takes 1 KiB more than it asks for."""
    bandwidth: float = 3.35e12
    """Bytes of device memory per second."""


H100 = Device()


class Launch(NamedTuple):
    """One launch: a kernel as kernel_counts.json names it, its grid, and its work."""

    kernel: str
    blocks: int
    threads: int
    shared: int
    """Bytes of shared memory that a block asks for."""
    tanh: int
    """That count: those of padding in a tile are left out."""
    bytes: int
    """Inputs read once and results written once."""


class Prediction(NamedTuple):
    """What a launch takes."""

    resident: int
    """Blocks that a multiprocessor holds at a time."""
    waves: float
    """How often the device is filled."""
    seconds: float
    bound: str
    """What sets the time: instructions, special functions, or memory."""


def resident(registers: int, threads: int, shared: int, device: Device = H100) -> int:
    """Blocks that a multiprocessor holds at a time; registers are given to a warp 256 at a time."""
    warps = math.ceil(threads / 32)
    per_block = warps * math.ceil(32 * registers / 256) * 256
    return min(
        device.registers // per_block,
        device.threads // (32 * warps),
        device.shared // (shared + 1024),
        device.blocks,
    )


def predict(launch: Launch, count: Count, registers: int, device: Device = H100) -> Prediction:
    """The largest of three floors: a warp's instructions on its scheduler, its special-function operations, memory.

    A multiprocessor works off its share of the blocks; where the last wave is not full, as long as the fullest one.
    """
    held = resident(registers, launch.threads, launch.shared, device)
    most = math.ceil(launch.blocks / device.multiprocessors)  # blocks of the multiprocessor that has most
    per_block = launch.tanh / launch.blocks / 32 / device.schedulers  # cycles for an instruction per tanh
    floors = {
        "instructions": most * per_block * count.instructions / device.clock,
        "special functions": most * per_block * 8 * count.special / device.clock,
        "memory": launch.bytes / device.bandwidth,
    }
    bound = max(floors, key=lambda name: floors[name])
    return Prediction(held, launch.blocks / device.multiprocessors / held, floors[bound], bound)


class Sizes(NamedTuple):
    """What is launched for: every motion has T frames."""

    name: str
    B: int
    T: int
    L: int
    D: int = 256
    P: int = 6


BENCHMARKED = (Sizes("HumanML3D", 128, 100, 23), Sizes("large", 512, 200, 40))
"""Of `m2t_fast/benchmarking/sizes.py`, those whose attention size the counts are of."""


def launches(sizes: Sizes, scoring: str, dtype: torch.dtype, emulated: ModuleType) -> Iterator[Launch]:
    """The temporal scores, the spatial ones and both gradients, as both backends launch them, each kernel once."""
    slots, rows = (sizes.P, 1) if scoring == "part" else (1, sizes.P)
    keys = torch.empty(sizes.B, sizes.T, slots, sizes.D, dtype=dtype, device="meta")
    query = keys.new_empty(sizes.B, sizes.L, sizes.D)
    lengths = torch.empty(sizes.B, dtype=torch.int64, device="meta")
    seen = set()
    for row_count, exact in ((1, True), (rows, False)):
        weight = keys.new_empty(row_count, sizes.D)
        for launch in (
            *_cuda(keys, query, weight, lengths, exact, emulated),
            *_triton(keys, query, weight, lengths, exact),
        ):
            if launch.kernel not in seen:
                seen.add(launch.kernel)
                yield launch


def _work(keys: torch.Tensor, query: torch.Tensor, rows: int, gradient: bool) -> tuple[int, int]:
    """tanh and bytes of one launch."""
    batch, frames, slots, dim = keys.shape
    pairs = batch * frames * slots * query.shape[1]
    moved = (keys.numel() * (2 if gradient else 1) + query.numel()) * keys.element_size() + 4 * pairs * rows
    return pairs * dim, moved


def _cuda(
    keys: torch.Tensor, query: torch.Tensor, weight: torch.Tensor, lengths: torch.Tensor, exact: bool, emulated: Any
) -> Iterator[Launch]:
    from m2t_fast.ops.cuda import launch
    from m2t_fast.ops.cuda.attention_call import Call

    (batch, frames, slots, dim), words, rows = keys.shape, query.shape[1], len(weight)
    short = keys.dtype == torch.bfloat16
    kind = "bfloat16" if short else "float"
    at_once, tile = (1, 1) if words <= 4 else (6, 2)  # words of a thread: csrc/cuda/attention_scores.cu
    scores = f"attention_scores<{kind}, {at_once}, 1, {'true' if exact and not short else 'false'}>"
    if rows > 1:
        scores = (
            f"attention_scores_matrix<{kind}, {at_once}>" if short else f"attention_scores<float, {tile}, 6, false>"
        )
    gradient = f"attention_score_gradient<{kind}, {16 if rows == 1 and slots > 1 else 8}, {6 if rows > 1 else 1}>"
    call = Call(keys, lengths, (batch, frames, words, slots * rows, slots, dim, dim))
    d_scores = keys.new_empty(batch, words, frames * slots * rows, dtype=torch.float32)
    with launch.emulating(emulated):
        for name in (scores, gradient):
            emulated.set_planning(True)
            try:
                if name == scores:
                    call.scores(keys, query, weight, exact=exact)
                else:
                    call.score_gradient(keys, query, weight, d_scores)
                ((blocks, threads, shared),) = emulated.planned()
            finally:
                emulated.set_planning(False)
            tanh, moved = _work(keys, query, rows, name == gradient)
            yield Launch(f"cuda {name}", blocks, threads, shared, tanh, moved)


def _triton(
    keys: torch.Tensor, query: torch.Tensor, weight: torch.Tensor, lengths: torch.Tensor, exact: bool
) -> Iterator[Launch]:
    from triton.runtime.jit import JITFunction

    from m2t_fast.kernels import devices
    from m2t_fast.ops.triton import ahead, attention, launch

    found: list[tuple[str, int, int]] = []

    def record(self: JITFunction, *args: Any, grid: tuple[int, ...], warmup: bool, **kwargs: Any) -> None:
        label = triton_label(self.fn.__name__, kwargs, str(keys.dtype).removeprefix("torch."))
        found.append((label, math.prod(grid), 32 * kwargs["num_warps"]))

    d_scores = keys.new_empty(keys.shape[0], query.shape[1], keys.shape[1] * keys.shape[2] * len(weight))
    with ahead.recorded(record), launch.assuming(devices.DEFAULT):
        attention.scores(keys, query, weight, lengths, exact=exact)
        attention.score_gradient(keys, query, weight, lengths, d_scores.float())
    short = keys.dtype == torch.bfloat16
    for label, blocks, threads in found:
        tanh, moved = _work(keys, query, len(weight), "gradient" in label)
        # Three rows of weights share a tanh, but for those on the matrix units and those that a key's gradient sums.
        again = -(-len(weight) // 3) if "query_gradient_rows" in label or ("score_rows" in label and not short) else 1
        yield Launch(label, blocks, threads, 0, again * tanh, moved)


def emulated_device() -> ModuleType:
    """The extension of tests/cuda/emulation, whose launchers plan what they would launch on a device."""
    spec = importlib.util.spec_from_file_location("build", ROOT / "tests" / "cuda" / "emulation" / "build.py")
    assert spec is not None and spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    spec = importlib.util.spec_from_file_location("_emulated", build.built())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.set_device(H100.multiprocessors, 227 * 1024, 90)
    return module


class Predicted(NamedTuple):
    """A launch of a benchmarked size, and what it takes."""

    sizes: str
    scoring: str
    launch: Launch
    takes: Prediction


def predictions(emulated: ModuleType) -> Iterator[Predicted]:
    """Every launch of the benchmarked sizes."""
    known = json.loads(BASELINE.read_text(encoding="utf-8"))
    for sizes in BENCHMARKED:
        for scoring in ("part", "frame"):
            for dtype in (torch.float32, torch.bfloat16):
                for launch in launches(sizes, scoring, dtype, emulated):
                    entry = known[launch.kernel]["sm_90"]
                    launch = launch._replace(shared=max(launch.shared, entry["shared"]))
                    takes = predict(launch, Count(*entry["pairs"]), entry["registers"])
                    yield Predicted(sizes.name, scoring, launch, takes)


def table(every: Sequence[Predicted]) -> str:
    """The table of the docs."""
    rows: dict[tuple[str, str], set[str]] = {}
    for name, scoring, launch, takes in every:
        rows.setdefault((name, scoring), set()).add(
            f"| `{launch.kernel}`, {name}, {scoring} | {launch.blocks:,} x {launch.threads} | {takes.resident} | "
            f"{takes.waves:.1f} | {launch.bytes / 1e6:.0f} | {1e3 * takes.seconds:.3f} | {takes.bound} |"
        )
    head = [
        "| launch, predicted for an H100 | blocks x threads | blocks per multiprocessor | waves | MB | ms | bound |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    return "\n".join([*head, *(row for group in rows.values() for row in sorted(group))]) + "\n"


def roofline(every: Sequence[Predicted], sizes: str = "large", device: Device = H100) -> str:
    """A picture of the launches of one size under the device's ceilings: tanh per second against tanh per byte."""
    lanes = device.multiprocessors * device.schedulers * 32 * device.clock
    ceilings = {"one special-function operation per two tanh": lanes / 4, "one per tanh": lanes / 8}
    points = sorted({(p.launch, p.takes, p.scoring) for p in every if p.sizes == sizes})
    left, right, top, bottom = 70, 560, 50, 400
    (x0, x1), (y0, y1) = (1.0, 100.0), (lanes / 64, lanes / 2.5)

    def x(value: float) -> float:
        return left + (right - left) * math.log(value / x0) / math.log(x1 / x0)

    def y(value: float) -> float:
        return bottom - (bottom - top) * math.log(value / y0) / math.log(y1 / y0)

    roof = max(ceilings.values())
    meets = roof / device.bandwidth
    body = f'<path d="M{left} {y(x0 * device.bandwidth):.1f}L{x(meets):.1f} {y(roof):.1f}H{right}" fill="none" '
    body += 'stroke="#000" stroke-width="1.5"/>\n'
    for words, rate in ceilings.items():
        body += f'<path d="M{x(rate / device.bandwidth):.1f} {y(rate):.1f}H{right}" stroke="#000" '
        body += f'stroke-dasharray="5 4"/>\n<text x="{right}" y="{y(rate) - 6:.1f}" text-anchor="end">{words}</text>\n'
    for launch, takes, scoring in points:
        rate, own = launch.tanh / takes.seconds, launch.tanh / launch.bytes
        colour = "#0072b2" if launch.kernel.startswith("cuda") else "#d55e00"
        fill = colour if "float," in launch.kernel or "float32" in launch.kernel else "#fff"
        title = f"{launch.kernel}, {scoring}: {rate / 1e12:.2f} T tanh/s, {takes.bound}"
        mark = f'cx="{x(own):.1f}" cy="{y(rate):.1f}" r="4.5" fill="{fill}" stroke="{colour}" stroke-width="1.5"'
        body += f"<circle {mark}><title>{escape(title)}</title></circle>\n"
    for each in (1, 2, 5, 10, 20, 50, 100):
        body += f'<text x="{x(each):.1f}" y="{bottom + 18}" text-anchor="middle">{each}</text>\n'
    for rate in (0.5e12, 1e12, 2e12, 4e12, 8e12):
        body += f'<text x="{left - 8}" y="{y(rate) + 4:.1f}" text-anchor="end">{rate / 1e12:g}</text>\n'
    body += f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#000"/>\n'
    body += (
        f'<text x="{(left + right) / 2:.0f}" y="{bottom + 38}" text-anchor="middle">tanh per byte of memory</text>\n'
    )
    body += f'<text x="{left}" y="{top - 10}" text-anchor="middle">10\u00b9\u00b2 tanh/s</text>\n'
    legend = (("#0072b2", "#0072b2", "CUDA, float32"), ("#fff", "#0072b2", "CUDA, bfloat16"))
    legend += (("#d55e00", "#d55e00", "Triton, float32"), ("#fff", "#d55e00", "Triton, bfloat16"))
    for row, (fill, colour, words) in enumerate(legend):
        at = top + 20 + 22 * row
        body += f'<circle cx="{right + 40}" cy="{at}" r="4.5" fill="{fill}" stroke="{colour}" stroke-width="1.5"/>\n'
        body += f'<text x="{right + 52}" y="{at + 4}">{words}</text>\n'
    return svg(460, "Predicted for an H100, nothing measured: kernels that make tanh, size \u201clarge\u201d", body)


def in_document() -> str:
    """The table that stands in the docs."""
    return DOCUMENT.read_text(encoding="utf-8").split(MARKS[0] + "\n")[1].split(MARKS[1])[0]


def main() -> int:
    """Predicts, prints, writes."""
    every = list(predictions(emulated_device()))
    made = table(every)
    print(made)
    head, rest = DOCUMENT.read_text(encoding="utf-8").split(MARKS[0] + "\n")
    DOCUMENT.write_text(head + MARKS[0] + "\n" + made + MARKS[1] + rest.split(MARKS[1])[1], encoding="utf-8")
    PICTURE.write_text(roofline(every), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
