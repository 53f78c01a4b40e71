"""Every tutorial works from its first line to its last: its Python blocks and commands run in order, in one folder."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.cli import main
from m2t_fast.data import synthetic

TUTORIALS = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.md"))
COUNT = {"train": 40, "val": 12, "test": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, barely trained."""
    folder = tmp_path_factory.mktemp("runs") / "first"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "DEFAULT_COUNT", COUNT)
        train = ["train", "--data", "synthetic", "--preset", "kit", "--epochs", "1", "--output", str(folder)]
        assert main([*train, "--scoring", "frame", "--quiet"]) == 0
    return folder


@pytest.mark.filterwarnings("default::UserWarning:m2t_fast")  # a tagger that is not installed, the few motions
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs(
    tutorial: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(synthetic, "DEFAULT_COUNT", COUNT)
    shutil.copytree(run, "runs/first")
    np.save("motion.npy", synthetic.generate(3, seed=5, joints=21).splits["test"][0].joints)
    blocks = re.findall(r"^```(python|bash)\n(.*?)^```", tutorial.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 3
    namespace: dict[str, object] = {"__name__": tutorial.stem}
    for language, text in blocks:
        if language == "python":
            exec(compile(text, tutorial.name, "exec"), namespace)
            continue
        for line in text.splitlines():
            assert main(shlex.split(line, comments=True)[1:]) == 0, (line, capsys.readouterr().err)


def test_there_are_the_five_of_the_index() -> None:
    index = (TUTORIALS[0].parents[1] / "index.md").read_text(encoding="utf-8")
    assert len(TUTORIALS) == 5 and all(f"tutorials/{path.stem}\n" in index for path in TUTORIALS)
