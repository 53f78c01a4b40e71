"""A wheel: what it holds, that it imports outside the checkout, and what a missing or failing compiler does to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("csrc", "kernels", "m2t_fast", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")

needs_compiler = pytest.mark.skipif(
    shutil.which("c++") is None and shutil.which("g++") is None, reason="no C++ compiler on this machine"
)


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Copies the sources to a folder and builds a wheel from them in tmp_path/"dist"; keywords: environment variables.

    Uses the setuptools and pybind11 of this environment, and compiles quickly; the isolated build, as users get it and
    with the CUDA kernels, is .ci/run's.
    """
    copy = tmp_path / "sources"
    copy.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "*.egg-info")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, copy / name)

    def run(**environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pip", "-v", "wheel", "--no-deps", "--no-build-isolation", "-w", "dist"]
        return subprocess.run(
            [*command, str(copy)],
            cwd=tmp_path,
            env={**os.environ, "M2T_FAST_CUDA": "0", "CXXFLAGS": "-O0", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def unpacked(folder: Path) -> Path:
    """The only wheel of folder/dist, unpacked: as pip installs it."""
    (wheel,) = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def imported(site: Path, code: str) -> str:
    """What the code prints, run outside the checkout with the wheel's modules in front of all others.

    -I and -S: no PYTHONPATH, and no .pth file, by which an installation in place would offer the checkout's modules.
    """
    path = [str(site), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {path!r}; {code}"],
        cwd=site.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_compiler
def test_a_wheel_holds_the_package_and_imports_elsewhere(
    build: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = build()
    assert done.returncode == 0, done.stdout
    site = unpacked(tmp_path)
    assert {path.name for path in site.iterdir() if path.suffix != ".dist-info"} == {"m2t_fast"}
    modules = {path.relative_to(ROOT / "m2t_fast") for path in (ROOT / "m2t_fast").rglob("*.py")}
    modules |= {"kernels" / path.relative_to(ROOT / "kernels") for path in (ROOT / "kernels").rglob("*.py")}
    assert {path.relative_to(site / "m2t_fast") for path in site.rglob("*.py")} == modules
    page = {path.name for path in (ROOT / "m2t_fast" / "interpretation" / "page").iterdir() if path.is_file()}
    assert {path.name for path in (site / "m2t_fast" / "interpretation" / "page").iterdir()} == page
    assert {"page.html", "page.css", "main.js"} < page
    printed = imported(
        site,
        "import m2t_fast.kernels; from m2t_fast import native, _native; "
        "print(m2t_fast.kernels.__file__); print(_native.__file__); print(native.why_unavailable())",
    )
    kernels, extension, reason = printed.split("\n")[:3]
    assert Path(kernels).is_relative_to(site) and Path(extension).is_relative_to(site) and reason == "None"


def test_without_a_compiler_the_package_is_built_without_the_extension_and_says_so(
    build: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = build(CC="no-such-cc", CXX="no-such-c++")
    assert done.returncode == 0, done.stdout
    (line,) = (line for line in done.stdout.split("\n") if "no-such-c++" in line)
    assert "m2t_fast: no C++ compiler (no-such-c++): installing without the native extension" in line
    printed = imported(unpacked(tmp_path), "from m2t_fast import native; print(native.why_unavailable())")
    assert printed.startswith("m2t_fast._native is not built: install a C++ compiler")


@needs_compiler
def test_an_error_in_a_kernel_fails_the_build(
    build: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "sources" / "csrc" / "cpu" / "added_later.cpp").write_text("#error this kernel does not compile\n")
    done = build()
    assert done.returncode != 0
    assert "this kernel does not compile" in done.stdout
