"""``m2t-fast info``: the machine, and data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from m2t_fast import native
from m2t_fast._version import __version__
from m2t_fast.ops import registry


def rows(out: str) -> dict[str, str]:
    return {label.strip(): value.strip() for label, _, value in (line.partition("  ") for line in out.splitlines())}


def test_the_machine(call: Callable) -> None:
    result = call("info")
    assert (result.code, result.err) == (0, "")
    shown = rows(result.out)
    assert shown["m2t_fast"] == __version__ and shown["numpy"] == np.__version__
    assert shown["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert shown["backend reference"] == "available"
    for name in registry.BACKENDS:
        assert shown[f"backend {name}"] == (registry.why_unavailable(name) or "available")
    for op in ("part_encoder", "spatio_temporal_attention", "gated_decoder_step"):
        assert shown[f"auto on cpu: {op}"] in registry.available_backends()


def test_the_native_extension(call: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "build_info", lambda: {"compiler": "cc 1", "cpu": ["avx2", "fma"]})
    shown = rows(call("info").out)
    assert shown["native compiler"] == "cc 1" and shown["CPU instructions"] == "avx2 fma"
    monkeypatch.setattr(native, "build_info", dict)
    monkeypatch.setattr(native, "why_unavailable", lambda: "not built")
    shown = rows(call("info").out)
    assert shown["native extension"] == "not built" and "native compiler" not in shown


def test_a_data_folder(call: Callable, data_of: Callable[[int], Path]) -> None:
    result = call("info", "--data", data_of(22))
    assert (result.code, result.err) == (0, "")
    assert "22 joints" in result.out and "HumanML3D in the paper" in result.out and "22,068" in result.out
    counts = next(line.split() for line in result.out.splitlines() if line.startswith("motions"))
    assert counts == ["motions", "4", "2", "3"]


def test_the_filters_of_a_preset(call: Callable, refused: Callable, data_of: Callable, tmp_path: Path) -> None:
    assert "dropped" not in call("info", "--data", data_of(21), "--preset", "kit").out
    with_few = tmp_path / "few"
    for source in data_of(22).rglob("*.*"):
        target = with_few / source.relative_to(data_of(22))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    (with_few / "texts" / "test0.txt").write_text("a person walks#a/DET person/NOUN walk/VERB#0.0#0.0\n")
    shown = call("info", "--data", with_few, "--preset", "humanml3d").out
    dropped = next(line.split() for line in shown.splitlines() if line.startswith("dropped by min_captions"))
    assert dropped[-3:] == ["0", "0", "1"]


def test_bad_data(refused: Callable, data_of: Callable, tmp_path: Path) -> None:
    assert f"{tmp_path / 'none'}: no such folder" in refused("info", "--data", tmp_path / "none")
    assert f"{tmp_path}: no folder new_joints/" in refused("info", "--data", tmp_path)
    assert "--preset" in refused("info", "--data", data_of(22), "--preset", "amass")
