"""Rehearses `make gpu` without a GPU: the whole driver, its steps on a stand-in, with faults injected.

    python benchmarks/gpu_rehearsal.py [--keep DIR] [--quick]

The emulated CUDA device, Triton's interpreter and tiny sizes take the GPU's place (gpu_standin.py). Three calls, as on
a machine that is bare each time: both phases, and one whose time is spent. Their archives are merged as a user merges
them. Ends with a table of what was injected and what survived; exit code 1 if a result was lost.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gpu_archive
import gpu_process
import gpu_results
from gpu_plan import BENCHMARKS, ROOT
from gpu_run import ENDING
from gpu_smoke_groups import GROUPS

FAULTS = {
    "hang in a cell": ("hang", "attention HumanML3D part float32: eager"),
    "poisoned process": ("poison", "attention HumanML3D part bfloat16: triton"),
    "killed process": ("kill", "decoding tiny 2 2 2: PyTorch"),
    "killed section": ("section", "guided HumanML3D frame float32: folded"),
    "hang in the smoke": ("hang", "cuda:search sample_words float32"),
    "poison in the smoke": ("poison", "cuda:gate gated_decoder_step plain float32"),
}
"""What is injected, how, and where."""
CALLS: dict[str, tuple[str, ...]] = {
    "first": ("first", "--seconds", "900"),
    "second": ("second", "--only", "compiled,tune,tests-slow,tests-abandoned-capture,rest", "--seconds", "900"),
    "short": ("first", "--only", "attention,decoding,train-kit-float32-plain", "--seconds", "{short}"),
}
"""Arguments of the driver. In the last one the hang in a cell of attention lasts until the call's time is spent."""


QUICK = {
    "first": ("first", "device,smoke,tests-quick"),
    "second": ("second", "compiled,tune,rest"),
    "measured": ("first", "attention,decoding,train-kit-float32-plain"),
}
"""Phases and steps of the calls of the short form: every fault, and a step of each kind."""
QUICK_GROUPS = "cuda:gate,cuda:search,train"


def emulated() -> Path:
    """The emulated CUDA device; its build is kept."""
    if given := os.environ.get("M2T_FAST_EMULATED"):
        return Path(given)
    path = ROOT / "tests" / "cuda" / "emulation" / "build.py"
    spec = importlib.util.spec_from_file_location("emulation_build", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Path(module.built())


def stand_ins(folder: Path) -> None:
    """Programs of a machine with a GPU, one of which hangs, and a package that is missing."""
    tools = {
        "nvidia-smi": "trap '' INT; while true; do sleep 1; done",
        "compute-sanitizer": 'while [ "$1" != "$PYTHON" ]; do shift; done; exec "$@"',
    }
    (folder / "bin").mkdir(parents=True)
    for name, text in tools.items():
        path = folder / "bin" / name
        path.write_text(f"#!/usr/bin/env bash\n{text}\n")
        path.chmod(0o755)
    package = folder / "missing" / "nltk"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'nltk' (injected)\")\n")


def short_seconds(steps: Path) -> float:
    """Of the call whose time is spent: what a step must have left, and some times what loading takes here and now."""
    took = {step["step"]: step["seconds"] for step in json.loads(steps.read_text())}
    return 12 + 6 * took["prepare"] + ENDING


@functools.cache
def loading() -> float:
    """Seconds in which a process loads the package here and now: hangs are told from work by this machine's speed."""
    return gpu_process.run([sys.executable, "-c", "import torch, m2t_fast.ops"], 300).seconds


def arguments_of(name: str, folder: Path, quick: bool) -> list[str]:
    """Of the driver, for one call."""
    if quick and name in QUICK:
        phase, steps = QUICK[name]
        return [phase, "--only", steps, "--seconds", "900"]
    words = list(CALLS[name])
    if words[-1] == "{short}":
        before = "measured" if quick else "second"
        words[-1] = f"{short_seconds(folder / before / 'work' / 'steps.json'):.1f}"
    return words


def call(name: str, folder: Path, device: Path, quick: bool) -> tuple[Path, float]:
    """One call of the driver on a bare machine: what its archive holds, and seconds."""
    machine = folder / name
    machine.mkdir()
    paths = [str(folder / "missing"), os.environ.get("PYTHONPATH", "")]
    environment = {
        "M2T_FAST_REHEARSAL": "1",
        "TRITON_INTERPRET": "1",
        "OMP_NUM_THREADS": "1",
        "M2T_FAST_LIMIT_SCALE": "5",
        "M2T_FAST_EMULATED": str(device),
        "M2T_FAST_RESULTS": str(machine / "results"),
        "M2T_FAST_DEVICES": str(machine / "devices"),
        "M2T_FAST_BUNDLE": str(machine / "none"),
        "M2T_FAST_GPU_TESTS": str(ROOT / "tests" / "gpu" / "rehearsed.py"),
        "M2T_FAST_TEST_FAULTS": "1",
        "M2T_FAST_TEST_LIMIT": f"{4 + loading():.0f}",
        "M2T_FAST_CELL_LIMIT": "900" if name == "short" else f"{6 + 4 * loading():.0f}",
        "M2T_FAST_FAULTS": json.dumps(list(FAULTS.values())),
        "PYTHON": sys.executable,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    if quick:
        environment["M2T_FAST_SMOKE_GROUPS"] = QUICK_GROUPS
    words = arguments_of(name, folder, quick)
    command = [sys.executable, str(BENCHMARKS / "gpu_run.py"), *words, "--out", str(machine / "out")]
    ended = gpu_process.run([*command, "--work", str(machine / "work")], 900, folder / f"{name}.txt", environment)
    made = machine / "unpacked"
    made.mkdir()
    try:
        gpu_archive.unpack(machine / "out" / gpu_archive.NAME, made)
    except OSError as error:
        print(f"call {name}: {error}; {ended.describe()}", flush=True)
    return made, ended.seconds


class Found:
    """What the archives of the calls hold."""

    def __init__(self, made: dict[str, Path], merged: Path, quick: bool = False):
        self.quick, self.groups = quick, len(QUICK_GROUPS.split(",")) if quick else len(GROUPS)
        self.made, self.merged = made, gpu_results.read(merged / "stand_in.json")
        self.trained = gpu_results.read(merged / "train_stand_in.json")
        self.steps = {name: self._steps(path / "steps.json") for name, path in made.items()}
        self.log = {path.name: path.read_text(errors="replace") for path in made["first"].glob("*.log")}
        self.failures = self._lines("failures.jsonl")
        self.smoke = self._lines("smoke.jsonl")

    def _steps(self, path: Path) -> dict[str, dict[str, Any]]:
        return {step["step"]: step for step in json.loads(path.read_text())} if path.exists() else {}

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.made["first"] / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def cells(self, section: str) -> dict[str, dict[str, Any]]:
        """Values by the name of the cell."""
        rows = self.merged.get("sections", {}).get(section, [])
        return {
            f"{section} {' '.join(map(str, gpu_results.identity(row).values()))}: {way}": values
            for row in rows
            for way, values in row["ways"].items()
        }


def injected(found: Found, name: str, word: str) -> tuple[bool, str]:
    """A faulty cell says what became of it, and every other of its section has a number."""
    _, cell = FAULTS[name]
    cells = found.cells(cell.split()[0])
    own = cells.pop(cell, {})
    faulty = {place for _, place in FAULTS.values()}
    lost = [other for other, values in cells.items() if "note" in values and other not in faulty]
    good = sum("note" not in values for values in cells.values())
    well = word in str(own.get("note", "")) and not lost and good > 0
    return well, f"{good} other cells; {own.get('note', 'no note')[:70]}" + (f"; lost: {lost}" if lost else "")


def section_killed(found: Found) -> tuple[bool, str]:
    """What a killed section had measured is there, and so are the sections of the other calls."""
    step = found.steps["second"].get("rest", {})
    tried = found.cells("attention")
    good = sum("note" not in values for values in tried.values())
    guided = [name for name, values in found.cells("guided").items() if "note" not in values]
    well = "exit -9" in str(step.get("how")) and good >= 15 and len(guided) == 2
    return well, f"{good} cells of attention and {len(guided)} of the section that was killed; {step.get('how')}"


def in_smoke(found: Found, name: str, word: str) -> tuple[bool, str]:
    """A faulty row says why, and its group goes on behind it."""
    _, place = FAULTS[name]
    group, _, row = place.partition(" ")
    rows = [line for line in found.smoke if line["group"] == group and "name" in line]
    own = next((line for line in rows if line["name"] == row), {})
    good = sum(line["ok"] for line in rows)
    return word in own.get("why", "") and good >= 1, f"{good} of {len(rows)} rows of {group}; {own.get('why', '')[:60]}"


def smoke_whole(found: Found) -> tuple[bool, str]:
    """Every group of the smoke has come to its end, and no row failed but those injected."""
    groups = [line for line in found.smoke if "finished" in line]
    wrong = [f"{x['group']} {x['name']}" for x in found.smoke if x.get("ok") is False]
    expected = {FAULTS["hang in the smoke"][1], FAULTS["poison in the smoke"][1], "train validation"}
    good = sum(bool(line.get("ok")) for line in found.smoke)
    return len(groups) == found.groups and set(
        wrong
    ) <= expected, f"{len(groups)} groups, {good} rows; wrong: {len(wrong)}"


def tests_go_on(found: Found) -> tuple[bool, str]:
    """Failures are named with their texts, and every other test has passed."""
    named = {line["test"].rpartition("::")[2] for line in found.failures}
    text = found.log.get("tests-quick.log", "")
    passed = text.count(" PASSED ")
    well = named == {"test_a_cuda_error", "test_a_hang"} and passed == 12
    return well, f"{passed} passed; failed: {', '.join(sorted(named))}"


def no_package(found: Found) -> tuple[bool, str]:
    """Training without nltk keeps its numbers."""
    data = {entry["dtype"]: entry for entry in found.trained.get("data", [])}
    well = bool(data) and all("nltk" in x["notes"].get("validation", "") and x["ways"] for x in data.values())
    return well, f"training in {', '.join(data)}: all but the validation"


def step_hung(found: Found) -> tuple[bool, str]:
    """A program that ignores SIGINT is killed, and the steps behind it run."""
    steps = found.steps["first"]
    how = str(steps.get("device", {}).get("how"))
    fewest = 4 if found.quick else 7
    return "at its limit" in how and len(steps) >= fewest, f"{how}; {len(steps)} steps of the first call are named"


def time_spent(found: Found) -> tuple[bool, str]:
    """Steps that had no time are named, and what was measured before is there."""
    steps = found.steps["short"]
    out = [
        name for name, step in steps.items() if "no time left" in str(step["how"]) or "at its limit" in str(step["how"])
    ]
    results = gpu_results.read(found.made["short"] / "results" / "stand_in.json")
    rows = sum(len(rows) for rows in results.get("sections", {}).values())
    return len(steps) == 4 and len(out) >= 2 and rows > 0, f"{rows} rows; cut short: {', '.join(out)}"


def merged_whole(found: Found) -> tuple[bool, str]:
    """Numbers of all calls are in the merged file, and the tuned table is there."""
    cells = {name: found.cells(name) for name in ("ceilings", "attention", "decoding")}
    numbers = {name: sum("note" not in v for v in values.values()) for name, values in cells.items()}
    tuned = (found.made["second"] / "devices" / "stand_in.json").exists()
    compiled = any(name.endswith("torch.compile") for name in cells["attention"])
    well = tuned and compiled and min(numbers.values()) >= 3
    return well, f"{', '.join(f'{n} {count}' for n, count in numbers.items())}, tuned: {tuned}"


CHECKS: dict[str, Callable[[Found], tuple[bool, str]]] = {
    "a program that hangs, deaf to SIGINT": step_hung,
    "a cell that hangs in C": lambda found: injected(found, "hang in a cell", "a hang"),
    "a CUDA error that poisons its process": lambda found: injected(found, "poisoned process", "illegal memory"),
    "a process that is killed": lambda found: injected(found, "killed process", "exit -9"),
    "a section that is killed": section_killed,
    "a hang in the smoke": lambda found: in_smoke(found, "hang in the smoke", "a hang"),
    "a CUDA error in the smoke": lambda found: in_smoke(found, "poison in the smoke", "illegal memory"),
    "(the rest of the smoke)": smoke_whole,
    "a hang and a CUDA error in the tests": tests_go_on,
    "a package that is missing": no_package,
    "a time budget that is spent": time_spent,
    "(all calls merged)": merged_whole,
}
"""What is injected, and what must have survived it."""


def rehearse(folder: Path, quick: bool = False) -> int:
    """All calls, their merged results and the table."""
    started = time.monotonic()
    device = emulated()
    print(f"the emulated device is built: {time.monotonic() - started:.0f} s", flush=True)
    print(f"a process loads the package in {loading():.0f} s", flush=True)
    stand_ins(folder)
    made: dict[str, Path] = {}

    def make(*names: str) -> None:
        for name in names:
            made[name], seconds = call(name, folder, device, quick)
            print(f"call {name}: {seconds:.0f} s", flush=True)

    machines = [["first", "second"], ["measured", "short"]] if quick else [["first"], ["second", "short"]]
    with ThreadPoolExecutor(len(machines)) as pool:  # two at a time: most steps keep one core busy
        for job in [pool.submit(make, *names) for names in machines]:
            job.result()
    merged = folder / "merged"
    command = [sys.executable, str(BENCHMARKS / "tables.py"), "--merge"]
    archives = [str(folder / name / "out" / gpu_archive.NAME) for name in sorted(made)]
    places = {
        "M2T_FAST_RESULTS": merged,
        "M2T_FAST_DEVICES": merged / "devices",
        "M2T_FAST_DOCUMENT": folder / "tables.md",
    }
    shutil.copy(ROOT / "docs" / "benchmarks.md", folder / "tables.md")
    (merged / "devices").mkdir(parents=True)
    log = folder / "merge.txt"
    ended = gpu_process.run([*command, *archives], 60, log, {k: str(v) for k, v in places.items()})
    if ended.code:
        print(log.read_text(), flush=True)
    found, lost = Found(made, merged, quick), ended.code != 0
    print(f"{'injected':40} {'':5} what survived")
    for name, check in CHECKS.items():
        well, text = check(found)
        lost |= not well
        print(f"{name:40} {'ok' if well else 'LOST':5} {text}")
    print(f"{time.monotonic() - started:.0f} s: {'a result was lost' if lost else 'no result was lost'}", flush=True)
    return int(lost)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder for everything that is made (default: one that is removed)")
    parser.add_argument("--quick", action="store_true", help="every fault, and a step of each kind, once")
    arguments = parser.parse_args()
    gpu_process.end_with_me()
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True)
        return rehearse(arguments.keep.absolute(), arguments.quick)
    with tempfile.TemporaryDirectory() as folder:
        return rehearse(Path(folder), arguments.quick)


if __name__ == "__main__":
    raise SystemExit(main())
