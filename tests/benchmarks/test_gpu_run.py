"""The driver of `make gpu`: limits, archives and what is left of a call, without a GPU and without torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import gpu_archive
import gpu_plan
import gpu_process
import gpu_run
import pytest
from gpu_plan import Step

ROOT = Path(__file__).resolve().parents[2]
PYTHON = sys.executable


def alive(marker: str) -> bool:
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return any(marker in line for line in found.splitlines())


def test_a_command_that_ends_is_known_by_its_code(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert gpu_process.run([PYTHON, "-c", "print('here'); raise SystemExit(7)"], 30, log).code == 7
    assert gpu_process.run(["/no/such/program"], 30, log).code == 127
    assert log.read_text().startswith("here\n") and "/no/such/program" in log.read_text()


@pytest.mark.parametrize("kind", ["deaf to SIGINT", "a grandchild"])
def test_nothing_outlives_its_limit(tmp_path: Path, kind: str) -> None:
    marker = f"marker-{tmp_path.name}-{kind.replace(' ', '-')}"
    code = f"import ctypes, signal; '{marker}'; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    code += "ctypes.PyDLL(None).sleep(100)"
    command = [PYTHON, "-c", code]
    if kind == "a grandchild":
        command = [PYTHON, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"]
    ended = gpu_process.run(command, 1.0, tmp_path / "log", grace=0.5)
    assert ended.late and ended.seconds < 10
    deadline = time.monotonic() + 5
    while alive(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(marker)


def test_sigint_lets_python_write_what_it_has(tmp_path: Path) -> None:
    code = "import time\ntry: time.sleep(100)\nexcept KeyboardInterrupt: print('saved')"
    ended = gpu_process.run([PYTHON, "-c", code], 4, tmp_path / "log")
    assert ended.late and (tmp_path / "log").read_text() == "saved\n"


def test_an_ended_driver_ends_its_step(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    inner = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch(); time.sleep(100)"
    code = (
        f"import gpu_process, sys; gpu_process.end_with_me(); gpu_process.run([sys.executable, '-c', {inner!r}], 100)"
    )
    driver = subprocess.Popen([PYTHON, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")})
    deadline = time.monotonic() + 20
    while not begun.exists() and time.monotonic() < deadline:  # the driver is one that ends its step by then
        time.sleep(0.05)
    driver.send_signal(signal.SIGTERM)
    assert driver.wait(10) == 143
    assert not alive(f"-c {inner}")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gpu_run.Run:
    monkeypatch.setenv("M2T_FAST_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("M2T_FAST_DEVICES", str(tmp_path / "devices"))
    return gpu_run.Run(tmp_path / "out", tmp_path / "work")


def packed(path: Path) -> dict[str, bytes]:
    with tarfile.open(path / gpu_archive.NAME) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive if m.isfile()}  # type: ignore[union-attr]


def test_after_every_step_all_there_is_lies_in_one_archive(run: gpu_run.Run, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "results").mkdir()
    seen = []
    publish = run.publish

    def watched() -> None:
        publish()
        seen.append(sorted(packed(tmp_path / "out")))

    monkeypatch.setattr(run, "publish", watched)
    result = tmp_path / "results" / "a_device.json"
    write = (f"open({str(result)!r}, 'w').write('{{}}')", "raise SystemExit(3)")
    steps = [[Step(f"step{i}", 30, ("{python}", "-c", code))] for i, code in enumerate(write)]
    steps.append([Step("tool", 30, ("none",), tool="no-such-tool")])
    monkeypatch.setattr(gpu_run, "phase", lambda name: steps)
    assert run.phase("first", 100, []) is False
    assert seen[0] == ["results/a_device.json", "step0.log", "steps.json"]
    assert "step1.log" in seen[1] and len(list((tmp_path / "out").iterdir())) == 1
    ends = {step["step"]: (step["how"].partition(" after")[0], step["ok"]) for step in run.steps}
    assert ends == {
        "step0": ("exit 0", True),
        "step1": ("exit 3", False),
        "tool": ("left out: no no-such-tool here", None),
    }
    assert "step1" in run.summary() and "<-- failed" in run.summary()


def test_a_phase_ends_in_time_and_names_what_it_left_out(run: gpu_run.Run, monkeypatch) -> None:
    steps = [[Step(name, 60, ("{python}", "-c", "import time; time.sleep(60)"))] for name in ("long", "later")]
    monkeypatch.setattr(gpu_run, "phase", lambda name: steps)
    began = time.monotonic()
    assert not run.phase("first", gpu_run.ENDING + 6, [])
    assert time.monotonic() - began < gpu_run.ENDING + 6
    assert ["at its limit" in str(run.steps[0]["how"]), run.steps[1]["how"]] == [True, "left out: no time left"]


@pytest.mark.parametrize("seconds", [0.0, -40.0])
def test_no_time_means_no_step(run: gpu_run.Run, monkeypatch, seconds: float) -> None:
    monkeypatch.setattr(gpu_run, "phase", lambda name: [[Step("one", 60, ("false",))]])
    assert not run.phase("first", seconds, [])
    assert run.steps[0]["how"] == "left out: no time left"


def test_an_archive_stays_below_what_comes_back(tmp_path: Path, monkeypatch) -> None:
    archive = gpu_archive.Archive(tmp_path / "work", tmp_path / "out")
    (tmp_path / "work" / "noise.log").write_bytes(b"begin" + os.urandom(3_000_000) + b"end")
    (tmp_path / "work" / "steps.json").write_text("[]")
    archive.publish()
    found = packed(tmp_path / "out")
    assert found["steps.json"] == b"[]" and len(found["noise.log"]) < gpu_archive.LOG_BYTES + 100
    assert found["noise.log"].startswith(b"begin") and found["noise.log"].endswith(b"end")
    monkeypatch.setattr(gpu_archive, "MOST", 50_000)
    archive.publish()
    assert (tmp_path / "out" / gpu_archive.NAME).stat().st_size < 50_000
    assert packed(tmp_path / "out")["steps.json"] == b"[]"


def test_an_archive_that_cannot_be_written_costs_no_step(tmp_path: Path, capsys) -> None:
    archive = gpu_archive.Archive(tmp_path / "work", tmp_path / "out")
    (tmp_path / "out").rmdir()
    archive.publish()
    assert "not written" in capsys.readouterr().out


@pytest.mark.parametrize("name", gpu_plan.PHASES)
def test_every_step_names_files_that_exist_and_fits_its_phase(name: str) -> None:
    steps = [step for together in gpu_plan.phase(name) for step in together]
    assert len({step.name for step in steps}) == len(steps)
    for step in steps:
        assert 0 < step.least <= step.limit < gpu_plan.PHASE_SECONDS
        assert all(Path(word).exists() for word in step.command if word.startswith(str(ROOT)))
        if "--budget" in step.command:
            assert 0 < float(step.command[step.command.index("--budget") + 1]) < step.limit
    order = [step.name for step in steps]
    assert order[:2] == ["device", "smoke"]


def test_every_test_on_a_gpu_belongs_to_one_step() -> None:
    """What one step leaves out another takes."""
    chosen = {}
    for name in gpu_plan.PHASES:
        for step in (step for together in gpu_plan.phase(name) for step in together if "-k" in step.command):
            chosen[step.name] = step.command[step.command.index("-k") + 1]
    words = ("thousand", "compiled", gpu_plan.ABANDONED, "other")
    for word in words:
        takes = [
            name
            for name, text in chosen.items()
            if eval(text, {}, {w: w == word for w in words})  # a -k expression of these words is Python's
        ]
        assert len(takes) == 1, (word, chosen)


def test_steps_can_be_named(tmp_path: Path) -> None:
    command = [PYTHON, str(ROOT / "benchmarks" / "gpu_run.py"), "first", "--only", "smoke,nothing"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "'nothing'" in ended.stderr and "smoke" in ended.stderr


def test_the_summary_has_a_line_for_each_result(run: gpu_run.Run, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    row = {
        "sizes": "x",
        "ways": {"cuda": {"call": [2.0, 1.0, 3.0], "replay": [1.5, 1.0, 2.0]}, "eager": {"note": "no"}},
    }
    text = json.dumps({"device": "d", "sections": {"attention": [row]}})
    (tmp_path / "results" / "d.json").write_text(text)
    assert "attention x: cuda 1.500 ms" in run.summary()
