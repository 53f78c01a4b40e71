"""The emulated CUDA device: the kernels' own sources compiled as plain C++, once for all tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from m2t_fast.ops import registry
from m2t_fast.ops.cuda import launch

EMULATION = Path(__file__).parent / "emulation"


def _loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def emulated() -> ModuleType:
    """The extension ``_emulated``. M2T_FAST_EMULATED names one that is already built."""
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("no C++ compiler to build the emulated device with")
    given = os.environ.get("M2T_FAST_EMULATED")
    return _loaded("_emulated", Path(given) if given else _loaded("build", EMULATION / "build.py").built())


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
    emulated.set_exponential_error(2.0**-22)
    forget()
    yield emulated
    monkeypatch.undo()
    forget()
