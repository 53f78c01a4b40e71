"""Layers: no import runs upward or in a circle, and a run opens without training."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def circles(imports: Mapping[str, set[str]]) -> list[set[str]]:
    """The groups of modules that reach one another: of each module those that it reaches and that reach it."""

    def reached(start: str) -> set[str]:
        found, todo = set[str](), [start]
        while todo:
            new = imports.get(todo.pop(), set()) - found
            found |= new
            todo += new
        return found

    reach = {module: reached(module) for module in imports}
    groups = {frozenset(n for n in reach[m] if m in reach.get(n, ())) for m in imports if m in reach[m]}
    return [set(group) for group in groups]


def test_circles_are_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [{"b", "c"}]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    grimp = pytest.importorskip("grimp", reason="import-linter, of the extra [dev], is not installed")
    graph = grimp.build_graph("m2t_fast", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 150 and circles(imports) == []


def test_no_import_runs_upward() -> None:
    pytest.importorskip("importlinter", reason="import-linter, of the extra [dev], is not installed")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_is_opened_and_captioned_without_training_and_torchs_compiler() -> None:
    script = (
        "import sys, m2t_fast; m2t_fast.load_run, m2t_fast.Captioner; import m2t_fast.captioning; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert "m2t_fast.run_folder" in loaded
    others = ("m2t_fast.training", "m2t_fast.cli", "torch._dynamo", "torch._inductor")
    assert not [module for module in loaded if module.startswith(others)]
