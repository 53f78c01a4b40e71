"""The emulated CUDA device: the kernels' own sources compiled as plain C++, once for all tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pybind11
import pytest

from m2t_fast.ops import registry
from m2t_fast.ops.cuda import launch

ROOT = Path(__file__).resolve().parents[2]
EMULATION = ROOT / "tests" / "cuda" / "emulation"


def _build(folder: Path) -> Path:
    """Compiles the extension ``_emulated`` into ``folder``."""
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

    def compile_one(source: Path) -> str:
        made = folder / f"{source.parent.name}_{source.name}.o"
        subprocess.run([compiler, *flags, "-x", "c++", "-c", str(source), "-o", str(made)], check=True)
        return str(made)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))
    made = folder / f"_emulated{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run([compiler, "-shared", *objects, "-o", str(made)], check=True)
    return made


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The extension ``_emulated``. M2T_FAST_EMULATED names one that is already built."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("no C++ compiler to build the emulated device with")
    given = os.environ.get("M2T_FAST_EMULATED")
    path = Path(given) if given else _build(tmp_path_factory.mktemp("emulated"))
    spec = importlib.util.spec_from_file_location("_emulated", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def device(emulated: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The backend ``cuda`` runs on CPU tensors, on the emulated device; as it is, an H200 in its limits."""

    def forget() -> None:
        registry.why_unavailable.cache_clear()
        registry.resolve.cache_clear()

    monkeypatch.setattr(launch, "emulated", emulated)
    monkeypatch.setitem(registry.DEVICE_TYPES, "cuda", ("cuda", "cpu"))
    emulated.set_order("forward")
    emulated.set_device(132, 232448, 90)
    forget()
    yield emulated
    monkeypatch.undo()
    forget()
