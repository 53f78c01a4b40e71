"""Measures what README.md, docs/benchmarks.md and docs/released.md say of this CPU, and writes tables and plots.

    python benchmarks/cpu.py [PART ...] [--any-state]

Parts, by default all, in this order: ways (step and search beside the other ways), step (floor and memory), ops,
lengths, waiting (how threads wait), drop_in (the released module), train (epochs). Each replaces
benchmarks/results/PART_cpu.json when it is done; earlier results stay until then. Needs an idle machine and
committed files: results name their commit.
--any-state measures all the same.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gpu_results
import tables

from m2t_fast.benchmarking.ratio_tables import checkout, load

ROOT = Path(__file__).resolve().parents[1]
BENCH = [sys.executable, "-m", "m2t_fast", "bench", "--device", "cpu", "--no-compile", "--json"]
STEPS = ["training_step", "greedy", "beam"]


def parts(cores: int) -> dict[str, list[str]]:
    """By name: a command. Those of ``bench`` print their results, the others write them."""
    threads, script = ["--threads", str(cores)], [sys.executable]
    return {
        "ways": [*BENCH, *threads, "--no-memory", "--scoring", "part", "frame", "--ops", *STEPS]
        + ["--ways", "loop", "plain", "cpu"],
        "step": [*BENCH, *threads, "--sizes", "humanml3d", "kit", "--ops", "training_step", "--ways", "plain", "cpu"],
        "ops": [*BENCH, "--threads", "1", "--no-memory", "--ways", "plain", "cpu"],
        "lengths": [*script, str(ROOT / "benchmarks" / "lengths.py")],
        "waiting": [*script, str(ROOT / "benchmarks" / "waiting.py")],
        "drop_in": [*script, str(ROOT / "benchmarks" / "drop_in.py")],
        "train": [*script, str(ROOT / "benchmarks" / "train.py"), "--device", "cpu", "--dtype", "float32,bf16"]
        + ["--ways", "loop,plain", "--budget", "90", "--no-table"],
    }


def why_not() -> str | None:
    """The reason not to measure now, or None."""
    if (state := checkout())["dirty"]:
        return f"files differ from commit {state['commit'][:9]}, which results name: commit them"
    now = load() or 0.0
    return f"the load is {now:.2f}: wait until other work is done" if now > 0.5 else None


def wait_for_idle(limit: float = 120.0) -> None:
    """Wait until the load of the last part has decayed, so that the next one records only the load of others."""
    waited = 0.0
    while (load() or 0.0) > 1.0 and waited < limit:
        time.sleep(5)
        waited += 5


def measure(name: str, command: list[str]) -> bool:
    """Run one part; whether it succeeded."""
    started = time.monotonic()
    if "--json" not in command:
        well = subprocess.run(command, check=False).returncode == 0
    else:
        with tempfile.TemporaryFile("w+") as output:
            well = subprocess.run(command, check=False, stdout=output).returncode == 0
            output.seek(0)
            if well:
                path = gpu_results.folder() / f"{name}_cpu.json"
                path.write_text(output.read(), encoding="utf-8")
    print(f"{name}: {'done' if well else 'FAILED'} in {time.monotonic() - started:.0f} s", flush=True)
    return well


def main() -> int:
    """The command."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    known = parts(cores)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(known))
    parser.add_argument("--any-state", action="store_true", help="measure on a busy machine or changed files, too")
    args = parser.parse_args()
    if unknown := [name for name in args.parts if name not in known]:
        parser.error(f"PART: got {unknown[0]!r}, expected some of {', '.join(known)}")
    if not args.any_state and (reason := why_not()) is not None:
        print(f"benchmarks/cpu.py: {reason}", file=sys.stderr)
        return 2
    failed = []
    for name in [name for name in known if name in (args.parts or known)]:
        wait_for_idle(0.0 if args.any_state else 120.0)
        failed += [] if measure(name, known[name]) else [name]
    tables.write()
    subprocess.run([sys.executable, str(ROOT / "docs" / "plots.py")], check=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
