"""What README.md and docs/benchmarks.md say of a CPU's speed, made of benchmarks/results/*_cpu.json.

tables.py puts it into the documents. Every figure comes from a file; what no file holds is left out. It needs the
standard library alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

import gpu_results

NONE = "Not measured yet: `python benchmarks/cpu.py`."
NAMES = {"loop": "word-by-word loop, as released", "plain": "plain PyTorch", "compile": "`torch.compile`"}
SIZES = {"kit": "KIT-ML", "humanml3d": "HumanML3D"}
RELEASED = {
    "train": "training step, 16 words, forward and backward",
    "greedy": "greedy search, 40 words",
    "search": "released search of 16 motions, K = 2",
}
CASES = ("training_step", "greedy", "beam")
"""What the front page shows; ops have a plot."""


def read(name: str) -> dict[str, Any] | None:
    """A file of results, None where it is not there."""
    found = gpu_results.read(gpu_results.folder() / f"{name}_cpu.json")
    return found if found.get("rows") else None


def machine_line(found: dict[str, Any]) -> str:
    """Processor, threads, software, date, and the load before, to which the measurement itself adds."""
    vectors = (
        "AVX-512" if "avx512f" in found["instruction_sets"] else "AVX2" if "avx2" in found["instruction_sets"] else ""
    )
    processor = found["processor"] + (f" with {vectors}" if vectors else "")
    threads = f"{found['threads']} thread{'s' * (found['threads'] > 1)}"
    load = "" if found.get("load") is None else f", load {found['load']:g} before"
    day, torch = found["date"].partition("T")[0], found["torch"].partition("+")[0]
    return f"{processor}, {threads}, torch {torch}, float32, {day}{load}"


def ways_table(results: str = "benchmarks/results", front: bool = True) -> str:
    """Milliseconds, and how many times slower the other ways are. ``results`` is their folder as the document sees it;
    ``front``: as README.md has it, with searches in the first scoring mode alone."""
    ways = read("ways") or read("ops")
    if ways is None:
        return NONE
    file = "ways_cpu.json" if read("ways") else "ops_cpu.json"
    lines = [f"{machine_line(ways['machine'])}, KIT-ML's sizes ([{file}]({results}/{file})):", ""]
    first = ways["rows"][0]["scoring"]
    shown = [row for row in ways["rows"] if row["case"] == CASES[0] or row["case"] in CASES and row["scoring"] == first]
    lines += ratio_table(shown if front else [row for row in ways["rows"] if row["case"] in CASES], "m2t_fast")
    if (memory := memory_line(results)) is not None:
        lines += ["", memory]
    return "\n".join(lines)


def ratio_table(rows: list[dict[str, Any]], ours: str) -> list[str]:
    """A line for each case: our milliseconds, and each other way's as a multiple of them."""
    timed = [row for row in rows if row["status"] == "ok" and row["median"] is not None]
    others = [way for way in NAMES if any(row["way"] == way for row in timed)]
    lines = [_line(["work", ours, *(NAMES[way] for way in others)]), _line(["---", *["---:"] * (1 + len(others))])]
    for row in timed:
        if row["way"] != "cpu":
            continue
        ratios = [row["ratios"].get(way) for way in others]
        cells = ["" if ratio is None else f"{ratio:.1f}x slower" for ratio in ratios]
        lines.append(_line([title(row), f"{_digits(1e3 * row['median'])} ms", *cells]))
    return lines


def title(row: dict[str, Any]) -> str:
    """What a row computes, in words."""
    if row["case"] == "training_step":
        return f"training step, {row['scoring']} scoring"
    if row["case"] in ("greedy", "beam"):
        search = "greedy" if row["case"] == "greedy" else "beam 2"
        return f"64 captions of 40 words, {search}, {row['scoring']} scoring"
    return str(row["title"])


def memory_line(results: str) -> str | None:
    """The most that a training step holds at HumanML3D's sizes, ours and plain PyTorch's."""
    rows = (read("step") or {"rows": []})["rows"]
    held = {row["way"]: row["peak_bytes"] for row in rows if row["size"] == "humanml3d" and row["peak_bytes"]}
    if not {"cpu", "plain"} <= set(held):
        return None
    ours, plain = (f"{held[way] / 2**20:,.0f} MiB" for way in ("cpu", "plain"))
    return (
        f"A training step at HumanML3D's sizes takes {ours} of memory, in plain PyTorch {plain} "
        f"([step_cpu.json]({results}/step_cpu.json))."
    )


def step_table() -> str:
    """A training step beside its floor, with time and memory of the others."""
    found = read("step")
    if found is None:
        return NONE
    names = ("sizes", "way", "ms, wall", "ms of processor", "to floor (processor)", "peak memory", "ours is faster")
    lines = [machine_line(found["machine"]) + ".", "", _line(names), _line(["---"] * len(names))]
    threads = found["machine"]["threads"]
    ours = {row["size"]: row["median"] for row in found["rows"] if row["way"] == "cpu"}
    for row in found["rows"]:
        if row["status"] != "ok" or row["median"] is None:
            continue
        floor = "" if row["floor"] is None else f"{row['processor'] / threads / row['floor']:.2f}x"
        held = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 2**20:,.0f} MiB"
        slower = "" if row["way"] == "cpu" else f"{row['median'] / ours[row['size']]:.1f}x"
        times = (_digits(1e3 * row[name]) for name in ("median", "processor"))
        lines.append(_line([SIZES.get(row["size"], row["size"]), row["way"], *times, floor, held, slower]))
    return "\n".join(lines)


def first_caption() -> str:
    """How long it takes from `git clone` to a caption, step by step."""
    found = gpu_results.read(gpu_results.folder() / "first_caption.json")
    if not found:
        return ""
    seconds, machine = found["seconds"], found["machine"]
    build = "package with CUDA kernels" if found["cuda_kernels"] else "package"
    steps = [("torch", seconds["torch"]), (build, seconds["package"]), ("training", seconds["train"])]
    told = ", ".join(f"{name} {value:.0f}" for name, value in steps)
    return (
        f"From `git clone` to the caption of a `.bvh` of one's own: {found['total']:.0f} s ({told}; "
        f"{machine['processor']}, {len(machine['cores'])} cores, load {machine['load']:g} before)."
    )


def ops_line() -> str:
    """Where the plot of ops was measured."""
    found = read("ops")
    return NONE if found is None else f"{machine_line(found['machine'])}."


def drop_in_table() -> str:
    """The released module as it is, and on the fused ops; every row has both data sets' sizes."""
    found = read("drop_in")
    if found is None:
        return NONE
    head = ["seconds", "KIT-ML plain", "accelerated", "", "HumanML3D plain", "accelerated", ""]
    lines = [machine_line(found["machine"]) + ".", "", _line(head), _line(["---", *["---:"] * 6])]
    for work, name in RELEASED.items():
        cells = [name]
        for size in SIZES:
            row = next(row for row in found["rows"] if (row["work"], row["size"]) == (work, size))
            ratio = row["plain"] / row["accelerated"]
            cells += [f"{row['plain']:.3g}", f"{row['accelerated']:.2g}", f"{ratio:.0f}x"]
        lines.append(_line(cells))
    return "\n".join(lines)


def waiting_table() -> str:
    """Steps per second by how threads wait: medians, and the share of the best setting's."""
    found = read("waiting")
    if found is None:
        return NONE
    medians = {(row["setting"], row["beside"]): statistics.median(row["steps_per_second"]) for row in found["rows"]}
    best = {others: max(value for (_, beside), value in medians.items() if beside == others) for others in (0, 1)}
    head = ["steps per second", "alone", "of the best", "beside a busy process", "of the best"]
    lines = [machine_line(found["machine"]) + ".", "", _line(head), _line(["---", *["---:"] * 4])]
    for setting in dict.fromkeys(row["setting"] for row in found["rows"]):
        cells = [(medians[setting, others], medians[setting, others] / best[others]) for others in best]
        lines.append(_line([setting, *(text for value, share in cells for text in (f"{value:.1f}", f"{share:.0%}"))]))
    return "\n".join(lines)


def lengths_line() -> str:
    """Where the plot of lengths was measured."""
    found = read("lengths")
    return NONE if found is None else f"{machine_line(found['machine'])}."


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
