"""What the command tests share: a caller of the command line, motion files, a data folder and an untrained run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from m2t_fast.captioner import Captioner
from m2t_fast.cli import main
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.loading import load_data
from m2t_fast.data.preprocessing import DataSettings
from m2t_fast.run_folder import write_run

CAPTIONS = (
    "A person walks forward.#a/DET person/NOUN walk/VERB forward/ADV#0.0#0.0\n"
    "a man waves the left hand#a/DET man/NOUN wave/VERB the/DET left/ADJ hand/NOUN#0.0#0.0\n"
    "a person jumps up and down#a/DET person/NOUN jump/VERB up/ADV and/CCONJ down/ADV#0.0#0.0\n"
)


class Result(NamedTuple):
    """What a command line gave."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs a command line in this process; arguments may be paths or numbers."""

    def run(*argv: object) -> Result:
        code = main([str(argument) for argument in argv])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture
def refused(call: Callable[..., Result]) -> Callable[..., str]:
    """Runs a command line that must end with exit code 2, no output and one line on stderr; returns that line."""

    def run(*argv: object) -> str:
        result = call(*argv)
        assert result.code == 2, result
        assert result.out == ""
        assert result.err.startswith("m2t-fast: error: ") and result.err.count("\n") == 1, result.err
        return result.err.strip()

    return run


def _walk(frames: int, joints: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 0.02, (frames, joints, 3)).cumsum(0) + rng.normal(0, 0.5, (joints, 3))).astype(np.float32)


@pytest.fixture(scope="session")
def motion() -> Callable[..., np.ndarray]:
    """``motion(frames, joints=22, seed=0)``: a motion (frames, joints, 3) as distributed."""

    def make(frames: int, joints: int = 22, seed: int = 0) -> np.ndarray:
        return _walk(frames, joints, seed)

    return make


@pytest.fixture(scope="session")
def data_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """``data_of(joints)``: a data folder with 4 training, 2 validation and 3 test motions of 50 to 58 frames."""
    made: dict[int, Path] = {}

    def make(joints: int) -> Path:
        if joints not in made:
            folder = made[joints] = tmp_path_factory.mktemp(f"data{joints}")
            (folder / "new_joints").mkdir()
            (folder / "texts").mkdir()
            number = 0
            for split, count in (("train", 4), ("val", 2), ("test", 3)):
                ids = [f"{split}{place}" for place in range(count)]
                (folder / f"{split}.txt").write_text("\n".join(ids) + "\n")
                for motion_id in ids:
                    np.save(folder / "new_joints" / f"{motion_id}.npy", _walk(58 - number, joints, number))
                    (folder / "texts" / f"{motion_id}.txt").write_text(CAPTIONS)
                    number += 1
        return made[joints]

    return make


@pytest.fixture(scope="session")
def run_of(tmp_path_factory: pytest.TempPathFactory, data_of: Callable[[int], Path]) -> Callable[..., Path]:
    """``run_of(joints=22, **settings)``: a run folder with an untrained model for ``data_of(joints)``."""

    def make(joints: int = 22, **settings: int) -> Path:
        prepared = load_data(data_of(joints), DataSettings(**settings), splits=("train",))
        torch.manual_seed(1)
        sizes = dict(part_dim=8, attention_dim=8, hidden_size=12, embedding_dim=6)
        model = Captioner(CaptionerConfig(len(prepared.vocabulary), joints=joints, **sizes))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3.0)  # so that captions depend on the motion
        folder = tmp_path_factory.mktemp("run")
        write_run(folder, model, prepared.vocabulary, prepared.statistics, prepared.settings, training=None)
        return folder

    return make


@pytest.fixture(scope="session")
def tiny_run(run_of: Callable[..., Path]) -> Path:
    """A run folder that reads 22 joints; only for reading."""
    return run_of(22)
