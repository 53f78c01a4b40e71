"""What `make gpu` runs: steps with limits on a machine with one NVIDIA GPU, the results packed after every one.

    python benchmarks/gpu_run.py [first|second|all] [--out DIR] [--seconds SECONDS]

Every step is a process of its own with a limit that it cannot outlive (gpu_process.py); the steps are in gpu_plan.py.
After each, all there is lies in DIR/gpu-results.tar.gz (DIR: the variable OUT, else build/gpu): logs, results, smoke,
tests, and how every step ended. Nothing is downloaded: what the machine lacks comes from build/gpu-bundle, where
`make gpu-bundle` has made it. Ends with a short table; exit code 1 if a step failed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gpu_bundle
import gpu_process
import gpu_results
from gpu_archive import NAME, Archive
from gpu_plan import PHASE_SECONDS, PHASES, ROOT, Step, phase

REHEARSAL = "M2T_FAST_REHEARSAL"
ENDING = gpu_process.GRACE + 6
"""Seconds of a phase that no step may have: for SIGKILL, the archive and the table."""

PROBE = """
import importlib.metadata, json, platform, re, sys, sysconfig
found = {"python": platform.python_version(), "suffix": sysconfig.get_config_var("EXT_SUFFIX")}
names = (found.metadata["Name"] or "" for found in importlib.metadata.distributions())
found["packages"] = sorted({re.sub("[-_.]+", "_", name).lower() for name in names})
try:
    import torch
    found["torch"] = torch.__version__
    from m2t_fast import native
    found["cuda kernels"] = hasattr(native._native, "cuda")
    found["why"] = native.why_unavailable() or "it was built without them"
    import m2t_fast.kernels
    found["triton kernels"] = True
finally:
    with open(sys.argv[1], "w") as file:
        json.dump(found, file)
"""
"""What a Python has, asked of it in one process: loading torch takes seconds."""


def _project(wheel: Path) -> str:
    """The project's name of a wheel, as PROBE has names."""
    return re.sub("[-_.]+", "_", wheel.name.partition("-")[0]).lower()


class Run:
    """One run of one or both phases."""

    def __init__(self, out: Path, work: Path | None = None, python: str = sys.executable):
        self.python = python
        self.work = ROOT / "build" / "gpu-work" if work is None else work
        self.bundle = Path(os.environ.get("M2T_FAST_BUNDLE") or ROOT / "build" / "gpu-bundle")
        self.site = self.bundle / "site"
        self.results = gpu_results.folder()
        self.devices = gpu_results.tuned()
        shutil.rmtree(self.work, ignore_errors=True)
        self.archive = Archive(self.work, out)
        self.steps: list[dict[str, object]] = []
        self.started = time.time()
        self.environment = {
            "PYTHONPATH": os.pathsep.join(
                [str(self.site), str(ROOT), str(ROOT / "benchmarks"), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "PYTHONUNBUFFERED": "1",
            "M2T_FAST_TEST_LOG": str(self.work / "failures.jsonl"),
        }

    def step(self, step: Step, until: float) -> bool:
        """Run one step, as far as the phase's time goes; whether it ended well."""
        left = until - time.monotonic()
        began = time.monotonic()
        if step.tool is not None and shutil.which(step.tool) is None:
            return self._ended(step.name, f"left out: no {step.tool} here", 0.0, None)
        if left < step.least:
            return self._ended(step.name, "left out: no time left", 0.0, False)
        log = self.work / f"{step.name}.log"
        ended = gpu_process.run(self.words(step), min(step.limit, left), log, self.environment)
        self._ended(step.name, ended.describe(), time.monotonic() - began, ended.code == 0 and not ended.late)
        self._show(log)
        return ended.code == 0 and not ended.late

    def words(self, step: Step) -> list[str]:
        """The command as it is run."""
        places = {
            "{python}": self.python,
            "{tests}": os.environ.get("M2T_FAST_GPU_TESTS") or str(ROOT / "tests" / "gpu"),
            "{devices}": str(self.devices),
        }
        found = []
        for word in step.command:
            if word.startswith("{workers:"):
                word = str(min(int(word[9:-1]), max(1, (os.cpu_count() or 1) - 1)))
            found.append(places.get(word, word).replace("{work}", str(self.work)))
        return found

    def _ended(self, name: str, how: str, seconds: float, well: bool | None) -> bool:
        self.steps.append({"step": name, "how": how, "seconds": round(seconds, 1), "ok": well})
        print(f"== {name}: {how}; {time.time() - self.started:.0f} s", flush=True)
        (self.work / "steps.json").write_text(json.dumps(self.steps, indent=1) + "\n")
        return bool(well)

    def _show(self, log: Path) -> None:
        """The end of a step's log: who waits wants to see something."""
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        print("\n".join(f"   {line[:160]}" for line in lines[-6:]), flush=True)

    def publish(self) -> None:
        """Pack what there is: files that this run has changed, and everything in its work folder."""
        for source, name in ((self.results, "results"), (self.devices, "devices")):
            target = self.work / name
            for path in source.glob("*.json"):
                if path.stat().st_mtime >= self.started - 1:
                    target.mkdir(exist_ok=True)
                    shutil.copy(path, target / path.name)
        self.archive.publish()

    def phase(self, name: str, seconds: float, only: list[str]) -> bool:
        """All steps of a phase, or those named, within ``seconds``; whether none failed."""
        print(f"== phase {name}: {seconds:.0f} s", flush=True)
        until = time.monotonic() + seconds - ENDING
        for together in phase(name):
            steps = [step for step in together if not only or step.name in only]
            if not steps:
                continue
            with ThreadPoolExecutor(len(steps)) as pool:
                list(pool.map(lambda step: self.step(step, until), steps))
            self.publish()
        return all(step["ok"] is not False for step in self.steps)

    def prepare(self) -> bool:
        """Packages and extension from the bundle, or the extension built here; whether the package can be imported."""
        began = time.monotonic()
        found = self.probe()
        missing = [
            wheel for wheel in sorted(self.bundle.glob("*.whl")) if _project(wheel) not in found.get("packages", [])
        ]
        if missing:
            command = [
                self.python,
                "-m",
                "pip",
                "install",
                "-q",
                "--no-index",
                "--no-deps",
                "--no-compile",
                "--upgrade",
            ]
            self._prepared("packages", [*command, "--target", str(self.site), *map(str, missing)], 40)
        lacking = not os.environ.get(REHEARSAL) and not found.get("cuda kernels")
        if lacking:
            self._extension(str(found.get("suffix", "")))
        if missing or lacking:
            found = self.probe()
        well = bool(found.get("triton kernels"))
        self._ended(
            "prepare", f"python {found.get('python')}, torch {found.get('torch')}", time.monotonic() - began, well
        )
        if not found.get("cuda kernels") and not os.environ.get(REHEARSAL):
            self._ended("extension", f"no CUDA kernels: {found.get('why', 'see prepare.log')}", 0.0, False)
        return well

    def _extension(self, suffix: str) -> None:
        """The extension of the bundle, where it is of these sources; else one that is built here."""
        made = self.bundle / f"_native{suffix}"
        fresh = gpu_results.read(self.bundle / gpu_bundle.MANIFEST).get("sources") == gpu_bundle.source_hash()
        builder = shutil.which("nvcc")
        if suffix and made.exists() and (fresh or builder is None):
            shutil.copy(made, ROOT / "m2t_fast" / made.name)
            print(f"== extension: {made}{'' if fresh else ', of other sources: make gpu-bundle again'}", flush=True)
        elif builder is not None:
            self.environment["M2T_FAST_CUDA"] = "1"
            self._prepared("build", [self.python, "setup.py", "-q", "build_ext", "--inplace"], 150)

    def probe(self) -> dict[str, object]:
        """What the other Python has; empty where it does not even start."""
        answer = self.work / "probe.json"
        answer.unlink(missing_ok=True)
        log = self.work / "prepare.log"
        gpu_process.run([self.python, "-c", PROBE, str(answer)], 90, log, self.environment)
        return gpu_results.read(answer)

    def _prepared(self, name: str, command: list[str], limit: float) -> None:
        log = self.work / f"{name}.log"
        ended = gpu_process.run(command, limit, log, self.environment)
        self._ended(name, ended.describe(), ended.seconds, ended.code == 0)
        if ended.code:
            self._show(log)

    def summary(self) -> str:
        """The short table."""
        lines = [f"{'step':34} {'seconds':>7}  how it ended"]
        for step in self.steps:
            mark = {True: "", False: "  <-- failed", None: ""}[step["ok"]]  # type: ignore[index]
            lines.append(f"{step['step']!s:34} {step['seconds']:>7}  {step['how']}{mark}")
        for path in sorted(self.results.glob("*.json")):
            if path.stat().st_mtime >= self.started - 1:
                lines += gpu_results.short_lines(gpu_results.read(path))
        return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phase", nargs="?", choices=(*PHASES, "all"), default="all")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT") or ROOT / "build" / "gpu"))
    parser.add_argument("--work", type=Path, help="folder for what is packed (default: build/gpu-work)")
    parser.add_argument("--seconds", type=float, default=PHASE_SECONDS, help="of each phase")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="these steps alone: NAME,...")
    arguments = parser.parse_args()
    known = {step.name for name in PHASES for together in phase(name) for step in together}
    if unknown := [name for name in arguments.only if name not in known]:
        parser.error(f"--only: got {unknown[0]!r}, expected some of {', '.join(sorted(known))}")
    gpu_process.end_with_me()
    began = time.monotonic()
    os.chdir(ROOT)
    run = Run(arguments.out.absolute(), arguments.work and arguments.work.absolute())
    well = run.prepare()
    run.publish()
    if well:
        for name in PHASES if arguments.phase == "all" else (arguments.phase,):
            left = arguments.seconds - (time.monotonic() - began)
            well &= run.phase(name, left, arguments.only)
            began = time.monotonic()
    print(run.summary())
    print(f"== {time.time() - run.started:.0f} s; results in {arguments.out / NAME}", flush=True)
    run.publish()
    return 0 if well else 1


if __name__ == "__main__":
    raise SystemExit(main())
