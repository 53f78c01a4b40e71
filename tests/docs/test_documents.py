"""What the documents say is run: Python blocks, commands, make targets, links and the map from equations to code."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from m2t_fast import __version__
from m2t_fast.cli import main
from m2t_fast.cli.main import COMMANDS
from m2t_fast.data import synthetic

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[tuple[str, str]]:
    found = []
    for document in DOCUMENTS:
        for number, text in enumerate(re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)):
            found.append((f"{document.name}-{number}", text))
    return found


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A folder to work in, and little synthetic data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(synthetic, "DEFAULT_COUNT", {"train": 40, "val": 4, "test": 6})
    np.save("motion.npy", synthetic.generate(3, seed=5, joints=21).splits["test"][0].joints)
    shutil.copytree(ROOT / "examples", "examples")
    return tmp_path


@pytest.mark.parametrize(("name", "code"), blocks("python"), ids=[n for n, _ in blocks("python")])
def test_python_blocks_run(name, code, small, capsys):
    if "runs/first" in code:
        train = "train --data synthetic --preset kit --epochs 1 --output runs/first"
        assert main(train.split()) == 0
        capsys.readouterr()
    exec(compile(code, name, "exec"), {})
    assert capsys.readouterr().err == ""


def test_the_readme_commands_run_in_order(small, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (the plot extra)")
    lines = [line for _, text in blocks("bash") for line in text.splitlines() if line.startswith("m2t-fast ")]
    assert len(lines) >= 5
    for line in lines:
        assert main(shlex.split(line, comments=True)[1:]) == 0, (line, capsys.readouterr().err)


def test_the_readme_is_short_and_its_picture_small():
    assert len((ROOT / "README.md").read_text().splitlines()) < 120
    assert (ROOT / "docs/images/page.webp").stat().st_size < 1_500_000


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = {t for d in DOCUMENTS for t in re.findall(r"`make (\w+)|^make (\w+)", d.read_text(), re.MULTILINE)}
    for target in {name for pair in targets for name in pair if name}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_command_table_is_complete():
    rows = re.findall(r"^\| `([\w-]+)", (ROOT / "docs/commands.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(COMMANDS)


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, *sorted((ROOT / "docs" / "tutorials").glob("*.md"))], ids=lambda d: d.name
)
def test_links_and_paths_lead_somewhere(document):
    text = document.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    paths = re.findall(r"`((?:m2t_fast|tests|docs|csrc|kernels|benchmarks)/[\w/.]*)`", text)
    for path in [document.parent / link for link in links] + [ROOT / path for path in paths]:
        assert path.exists() or re.search(r"OP|BACKEND|DEVICE|FILE", path.name), path


def test_the_equation_map_names_functions_that_exist():
    rows = re.findall(
        r"^\| [^|]*(?:eq\.|3\.1|table|figure)[^|]*\|[^|]*\| ([^|]*) \| ([^|]*) \|",
        (ROOT / "docs/paper-map.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) >= 12
    for functions, files in rows:
        sources = "".join((ROOT / "docs" / path).read_text() for path in re.findall(r"\]\(([^)]+)\)", files))
        for name in re.findall(r"`(?:\w+\.)?(\w+)`", functions):
            assert re.search(rf"def {name}\b|self\.{name} =", sources), name


def test_the_badges_are_true_and_come_from_here():
    spec = importlib.util.spec_from_file_location("badges", ROOT / "docs" / "badges.py")
    badges = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(badges)
    readme = (ROOT / "README.md").read_text()
    for file, text in badges.badges().items():
        assert (ROOT / "docs" / "images" / file).read_text() == text, "python docs/badges.py writes them anew"
        assert f"(docs/images/{file})" in readme
    assert f"Version {__version__}]" in readme and not re.search(r"!\[[^]]*\]\(http", readme)
