"""A run as the start of another: words and statistics that stay, new words, and captions that get better."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from m2t_fast.captioner import Captioner
from m2t_fast.cli import main
from m2t_fast.config import UNK, CaptionerConfig
from m2t_fast.data import synthetic
from m2t_fast.data.loading import load_data
from m2t_fast.data.raw import Caption, RawMotion
from m2t_fast.errors import UserError
from m2t_fast.evaluation import evaluate
from m2t_fast.preparation import write_folder
from m2t_fast.run_folder import Run, load_run
from m2t_fast.training.finetuning import fine_tuning, start_from
from m2t_fast.training.loop import train
from m2t_fast.training.settings import TrainingSettings

SIZES = dict(part_dim=16, attention_dim=16, hidden_size=24, embedding_dim=16, scoring="frame", dropout=0.1)
OWN_WORDS = {
    **dict.fromkeys(("walk", "run"), "our robot crosses the whole yard"),
    **dict.fromkeys(("kick", "jump", "squat"), "this machine trains where it is"),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run, trained for a moment on synthetic motions."""
    data = load_data("synthetic", synthetic_count={"train": 60, "val": 4, "test": 1})
    config = CaptionerConfig(len(data.vocabulary), **SIZES)
    settings = TrainingSettings(epochs=2, batch_size=32, learning_rate=3e-3, teacher_forcing=0.9)
    return train(data, config, settings, tmp_path_factory.mktemp("base") / "run", progress=False)


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 captures of somebody's own with captions in words of their own, and others of the same kinds."""
    single = [
        dataclasses.replace(motion, captions=[Caption(text, None)] * 2, segments=None)
        for motion in synthetic.generate({"train": 420}, seed=9).splits["train"]
        if motion.segments and len(motion.segments) == 1
        for action, text in OWN_WORDS.items()
        if motion.segments[0].action.startswith(action)
    ]
    assert len(single) >= 45
    folder = tmp_path_factory.mktemp("captures") / "data"
    folder.mkdir()
    splits: dict[str, list[RawMotion]] = {"train": single[:30], "val": single[30:36], "test": single[36:]}
    write_folder(folder, splits)
    return folder


def tuned(base: Path, captures: Path, output: Path, *more: str) -> list[str]:
    options = ["--epochs", "20", "--batch-size", "12", "--learning-rate", "5e-3", "--warmup-steps", "5", "--quiet"]
    options += ["--teacher-forcing", "1"]
    own = [] if "--resume" in more else ["--init", str(base), *options]
    return ["train", "--data", str(captures), "--output", str(output), *own, *more]


@pytest.mark.filterwarnings("ignore:captions without part-of-speech tags:UserWarning")
def test_captions_of_held_out_captures_get_better(base: Path, captures: Path, tmp_path: Path) -> None:
    before, run = load_run(base), tmp_path / "tuned"
    assert main(tuned(base, captures, run)) == 0
    after = load_run(run)
    assert after.vocabulary.words[: len(before.vocabulary)] == before.vocabulary.words
    new = after.vocabulary.words[len(before.vocabulary) :]
    assert {"robot", "machine", "yard"} <= set(new)
    assert after.statistics == before.statistics and after.training["init"] == str(base)
    assert after.model.config == dataclasses.replace(before.model.config, vocab_size=len(after.vocabulary))
    scores = []
    for opened in (before, after):
        test = load_data(
            captures, opened.settings, vocabulary=opened.vocabulary, statistics=opened.statistics, splits=("test",)
        )["test"]
        scores.append(evaluate(opened, test)[0]["bleu_4"])
    assert scores[1] > scores[0] + 20, scores  # the words of these captures, which the run did not have


@pytest.mark.filterwarnings("ignore:captions without part-of-speech tags:UserWarning")
def test_fine_tuning_resumes_bit_for_bit(base: Path, captures: Path, tmp_path: Path) -> None:
    def lines(run: Path) -> list[str]:
        return [line.partition('"seconds')[0] for line in (run / "metrics.jsonl").read_text().splitlines()]

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    few = ["--epochs", "3", "--warmup-steps", "7"]  # the rate is still warming up when the run goes on
    assert main(tuned(base, captures, whole, *few)) == 0
    assert main(tuned(base, captures, parts, "--epochs", "2", "--warmup-steps", "7")) == 0
    assert main(tuned(base, captures, parts, "--resume", "--quiet", "--epochs", "3")) == 0
    assert lines(parts) == lines(whole)
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_old_words_keep_their_rows(base: Path) -> None:
    run = load_run(base)
    config = dataclasses.replace(run.model.config, vocab_size=len(run.vocabulary) + 3)
    model = Captioner(config)
    fresh = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    start_from(model, run)
    count = len(run.vocabulary)
    for name, tensor in model.state_dict().items():
        old = run.model.state_dict()[name]
        if name not in ("embedding.weight", "output.weight", "output.bias"):
            assert torch.equal(tensor, old), name
            continue
        assert torch.equal(tensor[:count], old), name
        expected = (
            fresh[name][count:] if name == "embedding.weight" else old[UNK + 1 :].mean(dim=0).expand_as(tensor[count:])
        )
        assert torch.equal(tensor[count:], expected), name


def test_other_sizes_are_refused(base: Path) -> None:
    run: Run = load_run(base)
    count = len(run.vocabulary)
    for changes in ({"hidden_size": 32}, {"vocab_size": count - 1}, {"joints": 21}, {"scoring": "part"}):
        config = dataclasses.replace(run.model.config, **changes)
        with pytest.raises(UserError, match="its model has other sizes"):
            start_from(Captioner(config), run)


def test_defaults() -> None:
    found = fine_tuning(90, TrainingSettings(batch_size=8))
    assert found["epochs"] < 200 and found["learning_rate"] < 5e-4
    assert found["warmup_steps"] == found["epochs"] * 12 // 10


def test_mistakes_on_the_command_line(
    base: Path, captures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for argv, message in (
        (["--init", str(tmp_path / "none")], "none: no such run folder"),
        (["--init", str(base), "--scoring", "part"], "--scoring: got part, but"),
    ):
        assert main(["train", "--data", str(captures), "--output", str(tmp_path / "run"), *argv]) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "run").exists()
