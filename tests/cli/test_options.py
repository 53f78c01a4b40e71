"""Shared options: what they accept, and what they refuse with which words."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
import torch

from m2t_fast.cli import main, options
from m2t_fast.errors import UserError
from m2t_fast.ops import registry


def test_whole_number() -> None:
    assert options.positive_int("3") == 3 and options.whole_number(0)("0") == 0
    for text in ("0", "-1", "1.5", "many", ""):
        with pytest.raises(argparse.ArgumentTypeError, match=f"got '{text}', expected a whole number of at least 1"):
            options.positive_int(text)


def test_number() -> None:
    assert options.number(0.0, 1.0)("1") == 1.0 and options.number(0.0)("1e-3") == 1e-3
    for text in ("-0.1", "1.1", "nan", "inf", "half"):
        with pytest.raises(
            argparse.ArgumentTypeError, match=f"got '{text}', expected a number of at least 0 and at mo"
        ):
            options.number(0.0, 1.0)(text)
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number above 0"):
        options.number(0.0, above=True)("0")


def test_device_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert options.device("cpu") == options.device("auto") == torch.device("cpu")
    for text in ("gpu", "cuda:", "cuda:x", "CPU", "cpu:0", ""):
        with pytest.raises(UserError, match=f"--device: got '{text}', expected auto, cpu, cuda or cuda:N"):
            options.device(text)
    with pytest.raises(UserError, match="--device cuda: not available here"):
        options.device("cuda")


def test_device_with_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert options.device("auto") == options.device("cuda") == torch.device("cuda", 0)
    assert options.device("cuda:1") == torch.device("cuda", 1) and options.device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match="--device cuda:2: no such device, there are 2 CUDA devices"):
        options.device("cuda:2")


def test_backend_is_used_inside_the_block() -> None:
    before = registry.chosen_backend()
    with options.backend("reference", torch.device("cpu")):
        assert registry.chosen_backend() == "reference"
    assert registry.chosen_backend() == before


def test_backend_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--backend: unknown backend 'fast', expected one of reference, cpu"):
        options.backend("fast").__enter__()
    monkeypatch.setattr(registry, "why_unavailable", lambda name: "no such hardware")
    with pytest.raises(UserError, match="--backend: backend 'triton' cannot run here: no such hardware"):
        options.backend("triton").__enter__()
    monkeypatch.setattr(registry, "why_unavailable", lambda name: None)
    with pytest.raises(UserError, match="--backend: backend 'triton' does not run on cpu tensors"):
        options.backend("triton", torch.device("cpu")).__enter__()


def test_backend_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_chosen", "quick")
    with pytest.raises(UserError, match="environment variable M2T_FAST_BACKEND: unknown backend 'quick'"):
        options.backend(None).__enter__()
    with options.backend("reference"):  # the option comes first
        assert registry.chosen_backend() == "reference"


def test_existing_output_folder(tmp_path: Path) -> None:
    options.refuse_existing(tmp_path / "new")
    with pytest.raises(UserError, match="output folder exists already"):
        options.refuse_existing(tmp_path)


def test_unwritable_output_file(tmp_path: Path) -> None:
    options.require_writable(tmp_path / "file.jsonl")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="cannot write: No such file"):
        options.require_writable(tmp_path / "nowhere" / "file.jsonl")
    with pytest.raises(UserError, match="cannot write: it is a folder"):
        options.require_writable(tmp_path)
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(UserError, match="cannot write: Permission denied"):
            options.require_writable(tmp_path / "file.jsonl")


def test_errors_of_values_are_the_users() -> None:
    with pytest.raises(UserError, match="^epochs: got 0$"), options.option_errors():
        raise ValueError("epochs: got 0")
    with pytest.raises(TypeError), options.option_errors():
        raise TypeError("a bug")


@pytest.mark.parametrize("name", options.BOUNDS)
def test_whole_numbers_have_bounds(name: str) -> None:
    least, most = options.BOUNDS[name]
    parse = options.bounded(name)
    assert (parse(str(least)), parse(str(most))) == (least, most)
    for value in (least - 1, most + 1, 2**62 * most, 10**20, -(10**20), 10**400):
        with pytest.raises(argparse.ArgumentTypeError, match=f"expected a whole number of at least {least} and at mos"):
            parse(str(value))
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        parse("9" * 10_000)
    assert len(str(refused.value)) < 150


OPTIONS = {"caption": ["caption", "RUN", "FILE"], "evaluate": ["evaluate", "RUN", "--data", "D"]} | {
    "train": ["train", "--data", "D", "--output", "O"], "bench": ["bench"], "demo": ["demo"],
    "sweep": ["sweep", "--data", "D", "--output", "O"],
}  # fmt: skip


NUMBERS = [
    "caption:beam-size",
    "caption:max-length",
    "caption:batch-size",
    "evaluate:beam-size",
    "evaluate:batch-size",
    "bench:threads",
    "bench:runs",
    "train:epochs",
    "train:batch-size",
    "train:max-frames",
    "demo:epochs",
    "demo:motions",
    "sweep:workers",
    "sweep:trials",
]


@pytest.mark.parametrize("value", [2**62, 10**20])
@pytest.mark.parametrize("option", NUMBERS)
def test_no_command_takes_a_number_beyond_reason(option: str, value: int, capsys: pytest.CaptureFixture[str]) -> None:
    command, name = option.split(":")
    assert main([*OPTIONS[command], f"--{name}", str(value)]) == 2
    assert f"--{name}: got '{value}', expected a whole number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ("caption", "RUN", ""), ("caption", "", "FILE"), ("train", "--data", "", "--output", "O"),
        ("train", "--data", "D", "--output", ""), ("score", "P", "--data", "D", "--output", ""),
        ("validate", "--backend", ""),
    ],
    ids=str,
)  # fmt: skip
def test_an_empty_text_is_not_the_current_folder(
    argv: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a variable of the shell that is not set."""
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2 and list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err.count("''") == 1
