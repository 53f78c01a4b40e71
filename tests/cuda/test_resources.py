"""CUDA kernels compile for every target without a warning or a spill; docs/kernels-counted.md says what they take."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_registers_and_spills() -> None:
    reason, compiler = load(ROOT / "setup.py").find_cuda()
    if compiler is None or shutil.which("c++filt") is None:
        pytest.skip(f"the kernels cannot be compiled here: {reason or 'no c++filt'}")
    nvcc, release, _ = compiler
    resources = load(ROOT / "docs" / "cuda_resources.py")
    found = resources.measure(nvcc)
    assert {target for _, target in found} == {"sm_80", "sm_90", "sm_100"}
    for (kernel, target), taken in found.items():
        print(f"{kernel} {target}: {taken}")
        assert taken.spill_stores == taken.spill_loads == 0, (kernel, target, taken)
        assert taken.stack == 0, (kernel, target, taken)
    documented = resources.in_document()
    if f"nvcc {release} |" in documented:
        assert resources.table(found, release) == documented, "run `python docs/cuda_resources.py`"
    else:  # another compiler has other figures of the same kernels
        names = {line.split("`")[1] for line in documented.splitlines() if "`" in line}
        made = resources.table(found, release)
        assert {line.split("`")[1] for line in made.splitlines() if "`" in line} == names
