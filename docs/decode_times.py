"""Predicts the time of a word of CUDA's decoding on an H100: from machine code, the launcher's plan, and latencies.

python docs/decode_times.py

Writes the table of decoding in docs/kernels-counted.md, and docs/decode_counts.json, what it counted in the machine
code. Nothing is measured. Needs m2t_fast built with its CUDA kernels, c++filt, the package triton, which carries the
disassembler, and g++ for the emulated device, whose launcher plans.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import cuda_resources  # noqa: E402
import machine_code  # noqa: E402
import torch  # noqa: E402
from kernel_times import DOCUMENT, H100, emulated_device  # noqa: E402

COUNTS = ROOT / "docs" / "decode_counts.json"
MARKS = "<!-- decoding -->", "<!-- end of decoding -->"
COLUMNS, WARPS = 128, 8
"""Of a layer that a block makes at a time; of a block: csrc/cuda/decode_state.h."""
L2_BYTES = 64
"""That a multiprocessor gets from the L2 cache in a cycle."""
L2_SIZE = 50e6
"""Bytes."""
L2_CYCLES, MEMORY_CYCLES, BARRIER_CYCLES, MATRIX_CYCLES = 270, 700, 300, 33
"""Assumed latencies: the L2 cache, device memory, a barrier of a cluster, a product of the matrix units."""
MATRIX_TURN = 8
"""Cycles that a product of the matrix units takes of one of them: half of the rate on NVIDIA's data sheet."""
KEYS, PAIRS = {1: 8, 2: 2, 4: 1}, 8
"""Loads of a thread that are on their way together: of keys by the rows of a motion, of pairs for the context."""
AHEAD = {2: 4, 4: 1}
"""Loads of a layer's input that a thread has on their way together, by the bytes of a weight."""
BARRIERS = 8
"""Of a word."""


class Sizes(NamedTuple):
    """A model's, as DecodeSizes has them, for motions of T frames, `mean` of which are there on average."""

    T: int = 100
    P: int = 6
    H: int = 256
    D: int = 256
    C: int = 256
    E: int = 128
    M: int = 640
    V: int = 3200
    mean: int = 60

    def layers(self) -> list[tuple[int, int]]:
        """Terms and columns of each, as csrc/cuda/decode_scratch.h has them."""
        gates = 4 * self.C
        terms = (self.E + self.C, 2 * self.C, self.C, self.C, self.H, self.E + self.D + self.C, self.M)
        return list(zip(terms, (gates, gates, 2 * self.D, self.D, self.D, self.M, self.V), strict=True))


class Job(NamedTuple):
    """What is decoded, and what was aimed at."""

    name: str
    motions: int
    beams: int
    words: int
    sampling: bool
    aim: str


SIZES = Sizes()
"""HumanML3D's."""
JOBS = (
    Job("scheduled sampling, 128 motions, per word", 128, 1, 1, True, "60 us"),
    Job("4,160 motions, beam 2, 20 words", 4160, 2, 20, False, "40 ms"),
    Job("one caption, beam 2, 20 words", 1, 2, 20, False, "0.5 ms"),
)


class Counted(NamedTuple):
    """Of a decoding kernel's machine code."""

    product: dict[str, float]
    """Instructions for a multiplication and addition in a layer's loop, by the rows that share a weight: 16, 8, 2. On
    the matrix units for 16 columns and 16 terms, by 16 and 8 rows."""
    tanh: float
    """Instructions for a tanh of the scores, in the loop over four keys or rows at a time that takes fewest,"""
    special: float
    """and special-function operations."""


def counted(kind: str) -> Counted:
    """What the extension's kernel for ``float`` or ``bfloat16`` has on sm_90."""
    built = cuda_resources.extension()
    if built is None:
        raise SystemExit("m2t_fast was built without its CUDA kernels")
    names = cuda_resources.readable(machine_code.resources(built.path, 90))
    wanted = [symbol for symbol, name in names.items() if name == f"decode_kernel<{kind}>"]
    (made,) = machine_code.disassemble(built.path, 90, wanted)
    product: dict[str, float] = {}
    tanh = math.inf, 0.0
    for loop in made.loops():
        weights, sums, units = loop.count("global"), loop.named("FFMA"), loop.count("matrix")
        exponentials, special = loop.named("MUFU.EX2"), loop.count("special")
        if weights and units >= 16:
            rows, each = str(4 * units // weights), round(len(loop.own) / weights, 3)
            product[rows] = min(each, product.get(rows, each))
        elif weights and sums in (8 * weights, 32 * weights, 64 * weights) and sums >= 128 and not special:
            rows, each = str(sums // weights // 4), round(len(loop.own) / sums, 3)
            product[rows] = min(each, product.get(rows, each))
        elif exponentials >= 32 and exponentials == 2 * loop.named("MUFU.RCP"):
            tanh = min(tanh, (round(len(loop.own) / exponentials, 2), special / exponentials))
    return Counted(product, *tanh)


class Phase(NamedTuple):
    """A part of a word, between two barriers: cycles of each thing that may bound it."""

    name: str
    instructions: float
    special: float
    memory: float
    latency: float
    matrix: float = 0.0

    @property
    def cycles(self) -> float:
        """The largest: what takes turns on a scheduler and what is waited for meanwhile overlap."""
        return max(self[1:])


def all_layers(sizes: Sizes, rows: int, cluster: int, beside: int, found: Counted, size: int) -> Phase:
    """The layers of a word for the rows of a team, with ``beside`` blocks on a multiprocessor."""
    warps = beside * WARPS / H100.schedulers  # of a scheduler
    instructions = memory = latency = matrix = 0.0
    for terms, columns in sizes.layers():
        chunks, eights = math.ceil(columns / COLUMNS), math.ceil(rows / 8)
        # Blocks that make the same columns share the rows by eights.
        mine = min(rows, 8 * math.ceil(eights / (cluster // chunks))) if chunks < cluster else rows
        chunks = math.ceil(chunks / cluster)
        at_once = min(mine, WARPS)
        shared = 16 if mine > 8 else 8 if mine > 2 or size == 2 else 2
        ahead = {16: 1, 8: 2, 2: 4}[shared]  # groups of four terms that are fetched together
        if size == 2:
            units, tiles = chunks * math.ceil(terms / 16), shared // 8  # of a warp, for 16 columns
            instructions += units * found.product[str(shared)] * warps
            matrix += units * 2 * tiles * MATRIX_TURN * warps
            latency += units / 8 * (8 * MATRIX_CYCLES + L2_CYCLES)
            # 16 x 16 weights from the L2 cache, and these and the input through the multiprocessor's own.
            memory += beside * WARPS * units * max(512 / L2_BYTES, 512 * (1 + tiles) / 128)
        else:
            turns = chunks * terms / WARPS / 4 / ahead  # of a warp
            turn = 16 * ahead * 4 * shared / 4 * found.product[str(shared)]
            instructions += turns * turn * warps
            latency += turns * (turn + L2_CYCLES)
            memory += beside * chunks * terms * COLUMNS * size / L2_BYTES
        staged = math.ceil(mine / at_once) * math.ceil(terms / 4 / 32 / (WARPS // at_once) / AHEAD[size])
        latency += (staged + 1) * L2_CYCLES
    return Phase("layers", instructions, 0.0, memory, latency, matrix)


def word(sizes: Sizes, job: Job, plan: dict[str, int], found: Counted, size: int) -> list[Phase]:
    """The phases of a word, for tensors of ``size`` bytes a number, where every team has its fill of motions."""
    cluster, slots = plan["cluster"], min(plan["slots"], job.motions)
    teams = min(plan["teams"], math.ceil(job.motions / slots))
    beside = math.ceil(teams * cluster / H100.multiprocessors)  # blocks of a multiprocessor
    rows = slots * job.beams
    layers = all_layers(sizes, rows, cluster, beside, found, size)

    motions = teams * slots
    keys = sizes.mean * sizes.P
    held = motions * keys * (2 * sizes.D + sizes.H) * size
    far = MEMORY_CYCLES if held > L2_SIZE else L2_CYCLES
    rate = H100.bandwidth / H100.clock if held > L2_SIZE else L2_BYTES * min(H100.multiprocessors, teams * cluster)
    tanh = rows * keys * 2 * sizes.D / cluster / 32  # of a block's lane
    turns = slots * keys * 2 * sizes.D / cluster / WARPS / 32 / 4 / KEYS[min(4, job.beams)]
    scores = Phase(
        "scores",
        beside * tanh / H100.schedulers * found.tanh,
        beside * tanh / H100.schedulers * 8 * found.special,
        motions * keys * 2 * sizes.D * size / rate,
        turns * far + tanh / WARPS * 8 * found.special,
    )
    groups = 2 ** int(math.log2(min(slots, cluster)))  # of blocks, with motions of their own
    pairs = slots / groups * keys * sizes.H / (cluster / groups)
    units = math.ceil(sizes.H / 16 / (cluster / groups))  # of 16 columns
    context = Phase(
        "context",
        beside * job.beams * pairs / 32 / H100.schedulers * 2,
        0.0,
        motions * keys * sizes.H * size / rate,
        slots / groups * (math.ceil(keys / 64 / PAIRS) * units * far + 3 * math.ceil(keys / 32 / 4) * L2_CYCLES),
    )
    return [layers, scores, context, Phase("barriers", 0.0, 0.0, 0.0, BARRIERS * BARRIER_CYCLES)]


def plans(emulated: ModuleType, sizes: Sizes, job: Job, dtype: torch.dtype) -> dict[str, Any]:
    """How the launcher shares the job among the device's multiprocessors."""
    from m2t_fast.extension import record
    from m2t_fast.ops.cuda import launch

    given = dict(
        batch=job.motions, frames=sizes.T, parts=sizes.P, slots=sizes.P, part_dim=sizes.H, attention_dim=sizes.D,
        hidden=sizes.C, word=sizes.E, mixture=sizes.M, vocabulary=sizes.V,
    )  # fmt: skip
    like = torch.empty(0, dtype=dtype, device="meta")
    with launch.emulating(emulated):
        made = launch.run(
            "search", "plan_decode", like, {}, sizes=given, beams=job.beams, max_length=20, sampling=job.sampling
        )
        return dict(record(emulated, "DecodePlan").unpacked(made))


class Predicted(NamedTuple):
    """A job in one dtype."""

    job: Job
    dtype: str
    plan: dict[str, Any]
    phases: list[Phase]
    seconds: float


def predictions(emulated: ModuleType, sizes: Sizes = SIZES) -> Iterator[Predicted]:
    """Every job in both dtypes."""
    known = json.loads(COUNTS.read_text(encoding="utf-8"))
    for job in JOBS:
        for dtype, kind in ((torch.float32, "float"), (torch.bfloat16, "bfloat16")):
            plan = plans(emulated, sizes, job, dtype)
            phases = word(sizes, job, plan, Counted(**known[kind]), dtype.itemsize)
            rounds = max(1.0, job.motions / (plan["teams"] * plan["slots"]))
            seconds = sum(phase.cycles for phase in phases) / H100.clock * job.words * rounds
            yield Predicted(job, str(dtype).removeprefix("torch."), plan, phases, seconds)


def table(every: list[Predicted]) -> str:
    """The table of the docs."""
    lines = [
        "| decoding, predicted for an H100 | teams x blocks x motions | layers | scores | context | barriers | takes "
        "| aim | bound |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for job, dtype, plan, phases, seconds in every:
        cycles = sum(phase.cycles for phase in phases)
        unit, factor = ("us", 1e6) if job.aim.endswith("us") else ("ms", 1e3)
        shares = " | ".join(f"{100 * phase.cycles / cycles:.0f}%" for phase in phases)
        largest = max(phases, key=lambda phase: phase.cycles)
        bounds = ("instructions", "special", "memory", "latency", "matrix")
        bound = max(bounds, key=lambda name: getattr(largest, name))
        bound = {"special": "special functions", "matrix": "matrix units"}.get(bound, bound)
        taken = f"{factor * seconds:.0f}" if factor * seconds >= 10 else f"{factor * seconds:.2f}"
        lines.append(
            f"| {job.name}, {dtype} | {plan['teams']} x {plan['cluster']} x {plan['slots']} | {shares} | "
            f"{taken} {unit} | {job.aim} | {largest.name}: {bound} |"
        )
    return "\n".join(lines) + "\n"


def in_document() -> str:
    """The table that stands in the docs."""
    return DOCUMENT.read_text(encoding="utf-8").split(MARKS[0] + "\n")[1].split(MARKS[1])[0]


def main() -> int:
    """Counts, predicts, prints, writes."""
    found: dict[str, Any] = {kind: counted(kind)._asdict() for kind in ("float", "bfloat16")}
    found["nvcc"] = cuda_resources.extension().release
    COUNTS.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    made = table(list(predictions(emulated_device())))
    print(made)
    head, rest = DOCUMENT.read_text(encoding="utf-8").split(MARKS[0] + "\n")
    DOCUMENT.write_text(head + MARKS[0] + "\n" + made + MARKS[1] + rest.split(MARKS[1])[1], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
