"""No CUDA kernel spills on any target, in the machine code as built; docs/kernels-counted.md says what they take."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def docs_tools(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/cuda_resources.py, where what it needs is."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import cuda_resources
    import machine_code

    if machine_code.tool() is None or shutil.which("c++filt") is None:
        pytest.skip("no cuobjdump, which comes with the package triton, or no c++filt")
    return cuda_resources


def test_registers_and_spills(docs_tools: ModuleType) -> None:
    built = docs_tools.extension()
    if built is None:
        pytest.skip("m2t_fast._native was built without CUDA")
    assert built.targets == tuple(map(int, targets_of_the_build()))
    found = docs_tools.measure(built)
    assert {target for _, target in found} == set(built.targets)
    assert not {key: taken for key, taken in found.items() if taken.spilled}
    documented, made = docs_tools.in_document(), docs_tools.table(found, built.release)
    if f"nvcc {built.release} |" in documented:
        assert made == documented, "run `python docs/cuda_resources.py`"
    else:  # another compiler has other figures of the same kernels
        assert kernels(made) == kernels(documented)


def targets_of_the_build() -> tuple[str, ...]:
    spec = importlib.util.spec_from_file_location("setup", ROOT / "setup.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CUDA_TARGETS


def kernels(table: str) -> set[str]:
    return {line.split("`")[1] for line in table.splitlines() if "`" in line}


def test_what_cuobjdump_prints_is_read(docs_tools: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_code = sys.modules["machine_code"]
    printed = " Function _Zk:\n  REG:40 STACK:8 SHARED:1024 LOCAL:0 CONSTANT[0]:440 TEXTURE:0\n"
    monkeypatch.setattr(machine_code, "_run", lambda command: printed)
    (taken,) = machine_code.resources(Path("x"), 90).values()
    assert taken == machine_code.Resources(40, 8, 1024, 0) and taken.spilled
    assert not taken._replace(stack=0).spilled
