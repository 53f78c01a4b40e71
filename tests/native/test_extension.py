"""Calls of the native extension: layouts from the text of its records, and what is refused before any address."""

from __future__ import annotations

import struct
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from m2t_fast import extension, native
from m2t_fast.extension import Kernel, Layout, declared, why_stale
from m2t_fast.ops.cpu import launch

needs_extension = pytest.mark.skipif(not native.available(), reason=f"{native.why_unavailable()}")

TEXT = "const T *x, *y; const std::int64_t* lengths; int rows; bool tanh; double scale;"


def module(size: int, text: str = TEXT, **more: Any) -> Any:
    """An extension of one function of one record, which gives back the bytes that reach it."""
    signature = (("task", text, size), ("threads", "", 0))
    return SimpleNamespace(
        signatures={"add_float32": signature}, records=more, add_float32=lambda task, threads: (task, threads)
    )


def made(size: int = 40, **more: Any) -> Kernel:
    return Kernel(module(size, **more), "add_float32", torch.float32, launch.address)


def test_fields_are_read_from_the_declaration() -> None:
    assert list(declared("std::int64_t batch, frames; const T *a, *b; T* out; GradientRows<T> rows;")) == [
        ("std::int64_t", "batch", False),
        ("std::int64_t", "frames", False),
        ("T", "a", True),
        ("T", "b", True),
        ("T", "out", True),
        ("GradientRows", "rows", False),
    ]


def test_values_lie_where_a_compiler_puts_them() -> None:
    x, lengths = torch.ones(3), torch.ones(2, dtype=torch.int64)
    task, threads = made()(task=dict(scale=0.5, x=x, y=None, lengths=lengths, rows=7, tanh=True), threads=2)
    assert threads == 2
    assert struct.unpack("@PPPi?d", task) == (x.data_ptr(), 0, lengths.data_ptr(), 7, True, 0.5)


def test_a_record_in_a_record() -> None:
    layout = Layout("Inner inner; float scale;", torch.float32, {"Inner": "std::int64_t rows; std::int64_t columns;"})
    given = dict(inner=dict(rows=1, columns=2), scale=0.25)
    assert layout.size == 24 and struct.unpack("@qqf", layout.packed(given, launch.address)[:20]) == (1, 2, 0.25)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(x=torch.ones(3, dtype=torch.float64)), TypeError, "x has dtype torch.float64, expected torch.float32"),
        (dict(lengths=torch.ones(2)), TypeError, "lengths has dtype torch.float32, expected torch.int64"),
        (dict(x=torch.ones(3, 3).T), ValueError, r"strides \(1, 3\), expected a contiguous one on cpu"),
        (dict(x=torch.ones(3, device="meta")), ValueError, "a tensor on meta"),
    ],
)
def test_a_tensor_that_a_kernel_cannot_read_is_refused_by_name(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = dict(x=torch.ones(3), y=None, lengths=None, rows=7, tanh=True, scale=0.5)
    with pytest.raises(error, match=f"^add_float32: task: .*{message}"):
        made()(task={**given, **change}, threads=1)


def test_a_field_or_parameter_that_is_not_given_is_named() -> None:
    with pytest.raises(TypeError, match="^add_float32: task lacks 'x'"):
        made()(task={}, threads=1)
    with pytest.raises(TypeError, match="^add_float32: task lacks 'task'"):
        made()(threads=1)


def test_a_record_of_another_size_is_refused() -> None:
    with pytest.raises(RuntimeError, match="task takes 48 bytes, and its fields 40: m2t_fast._native was built from"):
        made(48)
    with pytest.raises(RuntimeError, match="no function subtract: m2t_fast._native was built from other sources"):
        Kernel(module(40), "subtract", torch.float32, launch.address)


@needs_extension
def test_the_records_of_the_extension_are_those_of_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: ModuleType = native._native
    if not extension.SOURCES.is_dir():
        pytest.skip("no csrc/ beside the package: it is no checkout")
    assert why_stale(built, "cpu") is None
    for path in (extension.SOURCES / "cpu").iterdir():
        (tmp_path / "cpu").mkdir(exist_ok=True)
        text = path.read_text().replace("double scale;", "double scale; double more;").replace("// Eq", "// Equation")
        (tmp_path / "cpu" / path.name).write_text(text)
    monkeypatch.setattr(extension, "SOURCES", tmp_path)
    assert why_stale(built, "cpu") == extension.REBUILD
    assert launch.why_unavailable() == extension.REBUILD
    monkeypatch.setattr(extension, "SOURCES", tmp_path / "nowhere")
    assert why_stale(built, "cpu") is None
    assert why_stale(ModuleType("old"), "cpu") == extension.REBUILD


@needs_extension
def test_every_function_of_the_extension_can_be_called() -> None:
    modules = [native._native, *([native._native.cuda] if hasattr(native._native, "cuda") else [])]
    for built in modules:
        for name in built.signatures:
            suffix = name.rpartition("_")[2]
            kernel = Kernel(built, name, getattr(torch, suffix, None), launch.address)
            assert len(kernel.parameters) == len(built.signatures[name])
