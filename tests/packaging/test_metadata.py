"""What the installed package says of itself, and that pyproject.toml asks for no more than it should."""

from __future__ import annotations

import importlib
import importlib.metadata
import tomllib
from pathlib import Path

import m2t_fast._version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_one_version_everywhere() -> None:
    assert importlib.metadata.version("m2t_fast") == m2t_fast._version.__version__
    assert "version" not in PROJECT["project"]


def test_building_needs_setuptools_and_pybind11_alone() -> None:
    assert [name.split(">")[0] for name in PROJECT["build-system"]["requires"]] == ["setuptools", "pybind11"]


def test_torch_is_needed_to_run_and_triton_on_linux_only() -> None:
    needs = [need for need in importlib.metadata.requires("m2t_fast") or [] if "extra ==" not in need]
    assert "torch>=2.11" in needs
    (triton,) = (need for need in needs if need.startswith("triton"))
    name, marker = (part.strip() for part in triton.split(";"))
    assert (name, marker.replace('"', "'")) == ("triton", "sys_platform == 'linux'")
    assert {need.split(">")[0].split(";")[0].strip() for need in needs} == {
        "torch",
        "numpy",
        "nltk",
        "safetensors",
        "tqdm",
        "triton",
    }


def test_the_kernels_folder_is_a_package_of_m2t_fast() -> None:
    kernels = importlib.import_module("m2t_fast.kernels")
    source = ROOT / "kernels" / "__init__.py"
    assert kernels.__file__ is not None
    assert Path(kernels.__file__).read_text(encoding="utf-8") == source.read_text(encoding="utf-8")


def test_the_command_is_installed() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="m2t-fast")
    assert command.value == "m2t_fast.cli:main"
