"""How threads wait is set before torch is loaded, and a user's own setting wins; importing the package is light."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from m2t_fast import threads


def run(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    clean = {name: value for name, value in os.environ.items() if name not in threads.VARIABLES}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env={**clean, **environment}, check=True)
    return result.stdout.strip()


TELL = "from m2t_fast.threads import wait_policy; print(wait_policy())"


def test_the_package_sets_a_default_before_torch() -> None:
    assert "(the default of m2t_fast)" in run(f"import m2t_fast, torch; {TELL}")


def test_the_default_is_not_handed_on_to_programs_that_the_process_starts() -> None:
    left = f"[name for name in {threads.VARIABLES} if name in os.environ]"
    code = f"import os, m2t_fast; before = {left}; import m2t_fast.native; print(bool(before), {left}); {TELL}"
    first, policy = run(code).splitlines()
    assert first == "True []" and "(the default of m2t_fast)" in policy


def test_a_default_that_was_handed_on_before_torch_was_there_is_still_the_default() -> None:
    code = f"import os, m2t_fast.native as n; print(n.watches_cores, 'GOMP_SPINCOUNT' in os.environ); {TELL}"
    first, policy = run(code, **threads.WATCHED).splitlines()
    assert first.endswith(" False") and "(the default of m2t_fast)" in policy


MISSING = {
    "torch without libgomp": "importlib.util.find_spec = lambda name: None",
    "no count of waiting": "Path.read_text = lambda *a, **k: '0 0 0'",
    "no /proc": "Path.read_text = lambda *a, **k: open('/missing')",
    "no extension": "find = importlib.util.find_spec; importlib.util.find_spec = "
    "lambda name: None if 'native' in name else find(name)",
}


@pytest.mark.parametrize("missing", MISSING)
def test_where_nobody_could_watch_one_number_in_the_middle_is_set(missing: str) -> None:
    code = f"import importlib.util; from pathlib import Path; {MISSING[missing]}; import os, m2t_fast; {TELL}"
    assert run(code) == "GOMP_SPINCOUNT=1000 (the default of m2t_fast)"


@pytest.mark.parametrize("name, value", [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "ACTIVE")])
def test_a_setting_of_the_user_wins(name: str, value: str) -> None:
    names = f"[name for name in {threads.VARIABLES} if name in os.environ]"
    shown = run(f"import os, m2t_fast; {TELL}; print({names})", **{name: value})
    assert shown.splitlines() == [f"{name}={value} (of the environment)", f"['{name}']"]


def test_after_torch_nothing_is_set_and_that_is_told() -> None:
    fake = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')"
    shown = run(f"{fake}; import os, m2t_fast; {TELL}; print('GOMP_SPINCOUNT' in os.environ)").splitlines()
    assert "torch was imported before m2t_fast" in shown[0] and shown[1] == "False"


def test_neither_the_package_nor_help_imports_anything_heavy() -> None:
    code = """
import sys
import m2t_fast, m2t_fast.cli
m2t_fast.cli.main(["--help"])
print(sorted({"torch", "numpy", "nltk", "safetensors", "triton", "tqdm", "matplotlib"} & set(sys.modules)))
"""
    assert run(code).splitlines()[-1] == "[]"


def test_public_names_are_there_when_asked_for() -> None:
    import m2t_fast

    for name in m2t_fast.__all__:
        assert getattr(m2t_fast, name) is not None
    assert set(m2t_fast.__all__) <= set(dir(m2t_fast))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        m2t_fast.nothing  # noqa: B018
