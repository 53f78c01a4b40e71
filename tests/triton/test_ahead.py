"""Every Triton kernel and listed configuration compiled ahead of time for six GPUs, without one."""

from __future__ import annotations

import importlib.util

import pytest
import torch

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

from triton.backends.compiler import GPUTarget

from m2t_fast.kernels import devices
from m2t_fast.ops.triton import ahead


@pytest.mark.slow
@pytest.mark.parametrize("table", [name for name in devices.tables() if name != "interpreter"])
@pytest.mark.parametrize("capability", ahead.SHARED_MEMORY)
def test_no_kernel_spills_or_wants_more_shared_memory_than_there_is(capability: int, table: str, capsys) -> None:
    # float16 has float32's configurations and arithmetic, and loads of its own: one target shows it. The command
    # compiles it for all.
    dtypes = [torch.float32, torch.bfloat16, *([torch.float16] if capability in (75, 90) else [])]
    rows = list(ahead.compiled([capability], [table], dtypes))
    with capsys.disabled():
        print()
        for row in rows:
            print(ahead.line(row))
    kernels = set(devices.table(table))
    assert kernels == {kernel for kernel in kernels if any(f" {kernel}" in row.label for row in rows)}
    assert not [row for row in rows if row.stack > 0 or row.shared > ahead.SHARED_MEMORY[capability]]
    assert all(row.registers > 0 for row in rows)
    assert any("repeat_tanh" in row.label for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_kernel_compiles_for_amd(dtype: torch.dtype) -> None:
    """With the backend that Triton's package carries (MI300: gfx942, 64 threads per warp); nothing runs."""
    seen = set()
    for launched in ahead.launches(devices.DEFAULT, dtype):
        name = launched.kernel.fn.__name__
        key = (name, *(str(launched.arguments.get(k)) for k in ("S", "R", "EXACT")))
        if (name == "repeat_tanh" and launched.arguments["APPROXIMATE"]) or key in seen:
            continue  # the one kernel with an instruction of NVIDIA's: it measures that instruction
        seen.add(key)
        assert ahead.build(launched, GPUTarget("hip", "gfx942", 64)).asm["hsaco"], launched.label
    assert {name for name, *_ in seen} >= set(devices.table(devices.DEFAULT))


def test_a_table_of_a_device_may_leave_kernels_out(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "default.json").write_text('{"a": {"float32": {"X": 1}, "short": {"X": 2}}, "b": {"short": {"Y": 3}}}')
    (tmp_path / "nvidia_h100_80gb_hbm3.json").write_text('{"a": {"float32": {"X": 9}}}')
    monkeypatch.setattr(devices, "FOLDER", tmp_path)
    found = devices.table("NVIDIA H100 80GB HBM3")
    assert found == {"a": {"float32": {"X": 9}, "short": {"X": 2}}, "b": {"short": {"Y": 3}}}
    assert devices.table("another") == devices.table("default") and devices.tables() == [
        "default",
        "nvidia_h100_80gb_hbm3",
    ]


def test_the_tables_name_the_same_kernels() -> None:
    assert set(devices.table("default")) == set(devices.table("interpreter"))
