"""Compiles the kernels' own sources as plain C++: the extension ``_emulated``, once for all processes and runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pybind11

ROOT = Path(__file__).resolve().parents[3]
EMULATION = ROOT / "tests" / "cuda" / "emulation"
BUILT = ROOT / "build" / "emulated"


def built() -> Path:
    """The extension; made where no other process or run has made it of the same sources with the same compiler."""
    compiler = os.environ.get("CXX", "g++")
    includes = [ROOT / "csrc", EMULATION, pybind11.get_include(), sysconfig.get_path("include")]
    flags = [
        "-std=c++17", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", "-Wno-clobbered",
        "-DM2T_EMULATED", *(f"-I{path}" for path in includes),
    ]  # fmt: skip
    sources = [
        *EMULATION.glob("*.cpp"),
        *(ROOT / "csrc" / "cuda").glob("*.cpp"),
        *(ROOT / "csrc" / "cuda").glob("*.cu"),
    ]
    read = sorted({*sources, *EMULATION.glob("*.h"), *(ROOT / "csrc").rglob("*.h")})
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
    key = hashlib.sha256(version + " ".join(flags).encode() + b"".join(path.read_bytes() for path in read)).hexdigest()
    folder = BUILT / key[:16]
    made = folder / f"_emulated{sysconfig.get_config_var('EXT_SUFFIX')}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _compile(compiler, flags, sources, made)
    return made


def _compile(compiler: str, flags: list[str], sources: list[Path], made: Path) -> None:
    def compile_one(source: Path) -> str:
        target = made.parent / f"{source.parent.name}_{source.name}.o"
        subprocess.run([compiler, *flags, "-x", "c++", "-c", str(source), "-o", str(target)], check=True)
        return str(target)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))
    unfinished = made.with_suffix(".part")
    subprocess.run([compiler, "-shared", *objects, "-o", str(unfinished)], check=True)
    for name in objects:
        Path(name).unlink()
    os.replace(unfinished, made)


if __name__ == "__main__":
    print(built())
