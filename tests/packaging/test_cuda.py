"""How setup.py finds nvcc, what it says when it finds none that will do, and that it is asked to build once."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
EVERYTHING = "sm_75 sm_80 sm_90 sm_100 sm_120"


@pytest.fixture
def setup() -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_of_m2t_fast", ROOT / "setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def toolkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like CUDA's, whose nvcc notes what it was asked and writes empty objects; it is CUDA_HOME."""
    home = tmp_path / "cuda 1"
    (home / "bin").mkdir(parents=True)
    (home / "lib").mkdir()
    (home / "lib" / "libcudart_static.a").touch()
    (home / "targets").write_text(EVERYTHING)
    nvcc = home / "bin" / "nvcc"
    nvcc.write_text(
        f"""#!/bin/sh
echo "$*" >> '{home}/asked'
case "$1" in
    --list-gpu-code) tr ' ' '\\n' < '{home}/targets';;
    --version) echo 'Cuda compilation tools, release 12.9, V12.9.41';;
    --dryrun) echo '#$ LIBRARIES=  "-L/nowhere" "-L{home}/lib"' >&2;;
    *) while [ "$1" != -o ]; do shift; done; : > "$2";;
esac
"""
    )
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(home))
    monkeypatch.delenv("M2T_FAST_CUDA", raising=False)
    monkeypatch.chdir(ROOT)
    return home


def extension() -> SimpleNamespace:
    return SimpleNamespace(sources=[], extra_objects=[], define_macros=[], extra_link_args=[])


def test_the_kernels_join_the_extension(setup: ModuleType, toolkit: Path, tmp_path: Path) -> None:
    made = extension()
    setup.add_cuda(made, tmp_path / "build")
    kernels = [path.stem for path in sorted((ROOT / "csrc" / "cuda").glob("*.cu"))]
    assert kernels and [Path(name).stem for name in made.extra_objects] == kernels
    assert "csrc/cuda/functions.cpp" in made.sources
    assert ("M2T_CUDA_RELEASE", '"12.9"') in made.define_macros
    assert made.extra_link_args[0] == str(toolkit / "lib" / "libcudart_static.a")
    asked = (toolkit / "asked").read_text()
    for flag in ("arch=compute_80,code=sm_80", "arch=compute_90,code=sm_90", "code=[sm_120,compute_120]"):
        assert asked.count(flag) == len(kernels)

    setup.add_cuda(extension(), tmp_path / "build")
    assert (toolkit / "asked").read_text().count("-gencode") == asked.count("-gencode"), "compiled again, unchanged"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda home: (home / "targets").write_text("sm_75 sm_80 sm_90 sm_120"), "nvcc does not compile for sm_100"),
        (lambda home: (home / "lib" / "libcudart_static.a").unlink(), "comes without libcudart_static.a"),
        (lambda home: (home / "bin" / "nvcc").unlink(), "no nvcc in CUDA_HOME"),
    ],
    ids=["old", "no runtime", "no nvcc"],
)
def test_one_line_says_why_there_are_none(
    setup: ModuleType, toolkit: Path, tmp_path: Path, spoil, reason: str, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    spoil(toolkit)
    made = extension()
    setup.add_cuda(made, tmp_path / "build")
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("m2t_fast: installing without the CUDA kernels: ") and reason in line
    assert made == extension()

    monkeypatch.setenv("M2T_FAST_CUDA", "1")
    with pytest.raises(SystemExit, match=f"M2T_FAST_CUDA=1, but the CUDA kernels cannot be built: .*{reason}"):
        setup.add_cuda(made, tmp_path / "build")


def test_zero_leaves_them_out(
    setup: ModuleType, toolkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("M2T_FAST_CUDA", "0")
    made = extension()
    setup.add_cuda(made, tmp_path / "build")
    assert made == extension() and not (toolkit / "asked").exists()
    assert capfd.readouterr().err == "m2t_fast: installing without the CUDA kernels: M2T_FAST_CUDA=0\n"
    monkeypatch.setenv("M2T_FAST_CUDA", "yes")
    with pytest.raises(SystemExit, match="M2T_FAST_CUDA: got 'yes', expected 0 or 1"):
        setup.add_cuda(made, tmp_path / "build")


def test_without_cuda_home_the_path_is_searched(
    setup: ModuleType, toolkit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.setenv("PATH", str(toolkit / "bin") + os.pathsep + "/usr/bin" + os.pathsep + "/bin")
    reason, found = setup.find_cuda()
    assert (reason, found) == ("", (str(toolkit / "bin" / "nvcc"), "12.9", toolkit / "lib"))
    monkeypatch.setenv("PATH", "/nowhere")
    assert setup.find_cuda() == ("no nvcc on the PATH, and CUDA_HOME is not set", None)
