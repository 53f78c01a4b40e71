"""The steps of a run on a GPU, in two phases: what matters most first, so that a run that is cut short has it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"
PHASES = ("first", "second")
PHASE_SECONDS = 330.0
"""Of a phase, all that it prints and packs included."""
SLOW = "thousand or compiled"
"""Tests that are left to the second phase; with ``ABANDONED``."""
ABANDONED = "what_cannot_be_captured"
"""A test after which torch may believe that a capture still runs: last, in a process of its own."""


SCALE = float(os.environ.get("M2T_FAST_LIMIT_SCALE") or 1)
"""Of the limits: the rehearsal runs where cores are few and shared."""


class Step(NamedTuple):
    """One command; ``{name}`` in its words is filled in by the driver."""

    name: str
    limit: float
    """Seconds it cannot outlive."""
    command: tuple[str, ...]
    tool: str | None = None
    """A program without which the step is left out."""
    least: float = 5.0
    """Seconds below which it is not begun."""


def benchmark(name: str, limit: float, *sections: str, cells: str, ways: str = "") -> Step:
    """Cells of sections; the worker ends before its limit does."""
    limit *= SCALE
    words = [word for section in sections for word in ("--section", section)]
    budget = f"{max(limit - 10, limit / 2):g}"
    more = ("--ways", ways) if ways else ()
    command = ("{python}", str(BENCHMARKS / "gpu.py"), *words, "--cells", cells, "--budget", budget, *more)
    return Step(name, limit, command, least=10.0)


def training(data: str, ways: str, limit: float, dtype: str = "float32") -> Step:
    """Training steps of one data set; what is timed is written before anything else is tried."""
    limit *= SCALE
    return Step(
        f"train-{data}-{dtype}-{ways.replace(',', '-')}",
        limit,
        (
            "{python}", str(BENCHMARKS / "train.py"), "--device", "cuda", "--data", data, "--dtype", dtype,
            "--ways", ways, "--budget", f"{limit / 4:g}", "--no-table",
        ),
        least=15.0,
    )  # fmt: skip


def smoke(limit: float) -> Step:
    """Every op, backend and dtype against float64."""
    limit *= SCALE
    command = (
        "{python}",
        str(BENCHMARKS / "gpu_smoke.py"),
        "--budget",
        f"{limit - 8:g}",
        "--out",
        "{work}/smoke.jsonl",
    )
    return Step("smoke", limit, command)


def sanitized(tool: str, group: str, limit: float) -> Step:
    """A smoke's group under compute-sanitizer: our kernels alone are instrumented, torch's run at full speed."""
    return Step(
        f"{tool}-{group.replace(':', '-')}",
        limit * SCALE,
        (
            "compute-sanitizer", "--tool", tool, "--kernel-name", "kns=m2t4cuda", "--target-processes",
            "application-only", "--error-exitcode", "9", "--print-limit", "20", "{python}", "-W", "ignore",
            str(BENCHMARKS / "gpu_smoke.py"), "--journal", f"{{work}}/{tool}.journal", "--out",
            f"{{work}}/{tool}.jsonl", group,
        ),
        tool="compute-sanitizer",
    )  # fmt: skip


def tests(name: str, chosen: str, limit: float, workers: int = 6) -> Step:
    """Tests of ``tests/gpu``; tests/gpu/conftest.py keeps every failure's text and ends workers that are of no use."""
    spread = ("-n", f"{{workers:{workers}}}", "--dist", "worksteal") if workers else ("-p", "no:xdist")
    command = ("{python}", "-m", "pytest", "-vv", *spread, "-p", "no:cacheprovider", "{tests}")
    return Step(name, limit * SCALE, (*command, *(("-k", chosen) if chosen else ())), least=15.0)


def phase(name: str) -> list[list[Step]]:
    """The steps of a phase; those of one list run beside one another."""
    device = Step("device", 10, ("nvidia-smi",), tool="nvidia-smi")
    if name == "first":
        return [
            [device],
            [smoke(75)],
            [benchmark("attention", 55, "ceilings", "attention", cells="key")],
            [benchmark("decoding", 55, "decoding", cells="key")],
            [training("humanml3d", "plain", 45)],
            [training("humanml3d", "plain", 35, "bf16")],
            [training("kit", "plain", 30)],
            [sanitized("memcheck", "cuda:search", 45), sanitized("racecheck", "cuda:search", 45)],
            [tests("tests-quick", f"not {SLOW.replace(' or ', ' and not ')} and not {ABANDONED}", 110)],
        ]
    tune = ("{python}", str(BENCHMARKS / "gpu_tune.py"), "--budget", "32", "--folder", "{devices}")
    return [
        [device],
        [smoke(45)],
        [tests("tests-slow", SLOW, 85)],
        [benchmark("compiled", 80, "attention", "decoding", cells="compiled")],
        [training("humanml3d", "loop,compile", 65)],
        [Step("tune", 45 * SCALE, tune, least=15.0)],
        [tests("tests-abandoned-capture", ABANDONED, 25, workers=0)],
        [benchmark("rest", 90, "attention", "decoding", "guided", cells="rest")],
    ]
