"""What the fuzzer damages: a folder with a file of every kind that a command reads, and the command that reads it."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evaluator_samples import write_evaluator, write_features
from faults import score_without_training
from motion_samples import FRAMES, write_samples

from m2t_fast.captioner import Captioner
from m2t_fast.captioning.familiarity import Familiarity
from m2t_fast.cli import main
from m2t_fast.config import CaptionerConfig
from m2t_fast.data import cache
from m2t_fast.data.loading import load_data
from m2t_fast.data.preprocessing import DataSettings
from m2t_fast.motion.formats.smpl import rest_joints
from m2t_fast.released import to_released
from m2t_fast.run_folder import write_run
from m2t_fast.segmentation import segmenter
from m2t_fast.training import sweep

SIZES = dict(part_dim=4, attention_dim=4, hidden_size=4, embedding_dim=4)


@dataclass(frozen=True)
class Target:
    """A kind of file: where it lies in the world, and the command that reads it."""

    file: str
    argv: tuple[str, ...]
    output: tuple[str, ...] = ()
    """What the command writes, removed before every try."""
    cost: int = 1
    """Of one try, as many times that of the cheapest."""
    piped: bool = False
    """The command reads the file from its standard input."""

    def path(self, world: Path) -> Path:
        """Of the file; one that is not there where this world lacks it."""
        if self.file != CACHE:
            return world / self.file
        owner = cache.path_of(world / "kept", {}).name.partition("-")[0]
        return next((world.parent / "cache").glob(f"{owner}-*.safetensors"), world / CACHE)


CACHE = "the cache of the folder kept"
SCORE = ("score", "forty.jsonl", "--data", "vectors", "--evaluator", "evaluator")
SWEEP = ("sweep", "--data", "data", "--output", "study", "--lambda-spat", "0,1", "--lambda-adapt", "0")

TARGETS = {
    "configuration": Target("run/config.json", ("caption", "run", "motion.npy")),
    "vocabulary": Target("run/vocabulary.json", ("caption", "run", "motion.npy", "--json")),
    "weights": Target("run/model.safetensors", ("caption", "run", "motion.npy", "--json")),
    "page": Target("run/config.json", ("caption", "run", "motion.npy", "--html", "page.html"), ("page.html",)),
    "motion": Target("motion.npy", ("caption", "run", "motion.npy")),
    "bvh": Target("take.bvh", ("caption", "run", "take.bvh")),
    "asf": Target("take.asf", ("caption", "run", "take.amc")),
    "amc": Target("take.amc", ("caption", "run", "take.amc")),
    "glb": Target("take.glb", ("caption", "run", "take.glb")),
    "gltf": Target("take.gltf", ("caption", "run", "take.gltf")),
    "c3d": Target("take.c3d", ("caption", "run", "take.c3d")),
    "smpl": Target("take.npz", ("caption", "run", "take.npz")),
    "pickle": Target("take.pkl", ("caption", "run", "take.pkl")),
    "people": Target("people.pkl", ("caption", "run", "people.pkl")),
    "torch": Target("take.pt", ("caption", "run", "take.pt")),
    "old torch": Target("old.pt", ("caption", "run", "old.pt")),
    "results": Target("results.npy", ("caption", "run", "results.npy")),
    "joints to show": Target("take.bvh", ("caption", "run", "--show-joints", "take.bvh")),
    "trust": Target("run/trust.safetensors", ("caption", "run", "motion.npy", "--json")),
    "segmenter": Target("run/segmenter.safetensors", ("caption", "run", "long.npy", "--segments", "--json"), cost=2),
    "frames": Target("frames.txt", ("caption", "run", "-", "--fps", "20", "--json"), cost=2, piped=True),
    "list": Target("list.txt", ("caption", "run", "--data", "list.txt", "--output", "listed.jsonl"),
                   ("listed.jsonl", "listed.left_out.jsonl"), 2),
    "cache": Target(CACHE, ("evaluate", "run", "--data", "kept"), cost=2),
    "networks": Target("evaluator/t2m/text_mot_match/model/finest.tar", SCORE, cost=4),
    "feature means": Target("evaluator/t2m/Comp_v6_KLD01/meta/std.npy", SCORE, cost=4),
    "word vectors": Target("evaluator/glove/our_vab_data.npy", SCORE, cost=4),
    "words": Target("evaluator/glove/our_vab_idx.pkl", SCORE, cost=4),
    "vectors": Target("vectors/new_joint_vecs/m7.npy", SCORE, cost=4),
    "predictions": Target("predictions.jsonl", ("score", "predictions.jsonl", "--data", "data"), cost=2),
    "released": Target("released.pt", ("convert", "released.pt", "--data", "data", "--output", "converted"),
                       ("converted",), 2),
    "mean": Target("mean.npy", ("caption", "run", "features.npy", "--mean", "mean.npy", "--std", "std.npy")),
    "features": Target("features.npy", ("caption", "run", "features.npy", "--mean", "mean.npy", "--std", "std.npy")),
    "body model": Target("body.npz", ("caption", "run", "take.npz", "--body-model", "body.npz")),
    "old body model": Target("body.pkl", ("caption", "run", "take.npz", "--body-model", "body.pkl")),
    "left out": Target("done.left_out.jsonl", ("caption", "run", "--data", "mixed", "--output", "done.jsonl"), cost=2),
    "study": Target("study/study.journal", SWEEP, cost=8),
    "joint map": Target("map.json", ("caption", "run", "take.bvh", "--joint-map", "map.json")),
    "split": Target("data/test.txt", ("evaluate", "run", "--data", "data"), cost=2),
    "text": Target("data/texts/a0.txt", ("evaluate", "run", "--data", "data"), cost=2),
    "joints": Target("data/new_joints/a0.npy", ("evaluate", "run", "--data", "data"), cost=2),
    "segments": Target("data/segments.json", ("evaluate", "run", "--data", "data"), cost=2),
    "captions": Target("captions.jsonl", ("prepare", "takes", "--captions", "captions.jsonl", "--output", "made"),
                       ("made",), 2),
    "table": Target("captions.csv", ("prepare", "takes", "--captions", "captions.csv", "--output", "made"),
                    ("made",), 2),
    "job": Target("out.jsonl.parts/job.json", ("caption", "run", "--data", "takes", "--output", "out.jsonl"),
                  ("out.jsonl", "out.left_out.jsonl"), 2),
    "files": Target("out.jsonl.parts/files.jsonl", ("caption", "run", "--data", "takes", "--output", "out.jsonl"),
                    ("out.jsonl", "out.left_out.jsonl"), 2),
    "part": Target("out.jsonl.parts/part-00000.jsonl", ("caption", "run", "--data", "takes", "--output", "out.jsonl"),
                   ("out.jsonl", "out.left_out.jsonl"), 2),
    "state": Target("trained/training_state.safetensors",
                    ("train", "--data", "data", "--output", "trained", "--resume", "--quiet"), cost=8),
    "training": Target("trained/config.json",
                       ("train", "--data", "data", "--output", "trained", "--resume", "--quiet"), cost=8),
}  # fmt: skip


def make_world(folder: Path) -> None:
    """Runs, motions, data and a job under way, small enough for a command to take a few milliseconds."""
    with contextlib.chdir(folder):
        data = load_data("synthetic", synthetic_count={"train": 8, "val": 2, "test": 2}, joints=22)
        config = CaptionerConfig(len(data.vocabulary), joints=22, **SIZES)
        Path("run").mkdir()
        model = Captioner(config)
        write_run(Path("run"), model, data.vocabulary, data.statistics, DataSettings(), None)
        known = Familiarity.fit(model, data["train"], data["val"])
        assert known is not None
        known.save(Path("run"))
        segmenter.Segmenter.load(segmenter.DEFAULT).save(Path("run") / segmenter.FILE)
        draw = np.random.default_rng(0)
        walk = np.cumsum(draw.normal(0, 0.02, (12, 22, 3)), axis=0).astype(np.float32) + draw.normal(0, 0.5, (22, 3))
        np.save("motion.npy", walk.astype(np.float32))
        long = np.concatenate([walk, walk[::-1]] * 5)
        np.save("long.npy", long.astype(np.float32))
        np.savetxt("frames.txt", long[:60].reshape(60, -1), "%.3f")
        Path("list.txt").write_text("takes/a.npy\ntakes/b.npy\n")
        write_samples(folder, walk[:FRAMES].astype(np.float32))
        Path("map.json").write_text('{"head": ["Head", "Neck"], "neck": {"Neck": 0.5, "Head": 0.5}}')
        Path("takes").mkdir()
        for name in "abc":
            np.save(f"takes/{name}.npy", walk.astype(np.float32))
        Path("captions.jsonl").write_text(
            '{"file": "a.npy", "caption": "a person walks"}\n'
            '{"file": "b.npy", "captions": ["one", "two"], "start": 0.1}\n'
            '{"file": "c.npy", "caption": "a person jumps", "split": "test"}\n'
        )
        Path("captions.csv").write_text("file,caption,start,end\na.npy,a person walks,0,0.5\nb.npy,he jumps,,\n")
        for part in ("new_joints", "texts"):
            Path("data", part).mkdir(parents=True)
        for name in ("a0", "a1"):
            np.save(f"data/new_joints/{name}.npy", walk.astype(np.float32))
            Path(f"data/texts/{name}.txt").write_text("A man walks.#a/DET man/NOUN walk/VERB#0.0#0.0\n" * 3)
        for split in ("train", "val", "test"):
            Path(f"data/{split}.txt").write_text("a0\na1\n")
        segment = '{"content": "walk", "start": 0, "end": 9, "parts": ["left_leg"], "caption_verbs": ["a", null, "b"]}'
        Path("data/segments.json").write_text(f'{{"a0": {{"segments": [{segment}]}}}}')
        run_quietly(["train", "--data", "data", "--output", "trained", "--epochs", "1", "--quiet", "--min-count", "1"])
        _write_more(folder, len(load_data("data").vocabulary))
        Path("out.jsonl.parts").mkdir()
        run_quietly(["caption", "run", "--data", "takes", "--output", "first.jsonl"])


def _write_more(folder: Path, words: int) -> None:
    """A checkpoint of the authors' layout, feature vectors, body models, a job with files left out, a sweep."""
    sizes = dict(part_dim=8, attention_dim=8, hidden_size=12, embedding_dim=6)
    model = Captioner(CaptionerConfig(words, joints=22, scoring="frame", context_scale=1 / 6, **sizes))
    torch.save(to_released(model.state_dict(), 22), folder / "released.pt")
    draw = np.random.default_rng(0)
    joints = np.repeat(rest_joints(None, None)[None] + [0, 0.95, 0], FRAMES, axis=0)
    features = np.zeros((len(joints), 263), np.float32)
    features[:, 3], features[:, 4:67] = joints[:, 0, 1], (joints[:, 1:] - joints[:, :1] * [1, 0, 1]).reshape(-1, 63)
    np.save(folder / "features.npy", features)
    np.save(folder / "mean.npy", np.zeros(263))
    np.save(folder / "std.npy", np.ones(263))
    body = {"J_regressor": np.full((24, 5), 0.2), "v_template": draw.normal(0, 1, (5, 3))}
    body["shapedirs"] = draw.normal(0, 0.1, (5, 3, 10))
    np.savez(folder / "body.npz", **body)
    (folder / "body.pkl").write_bytes(pickle.dumps(body, protocol=2))
    write_evaluator(folder / "evaluator")
    write_features(folder / "vectors")
    row = '{"id": "%s", "prediction": "a man walks", "run": "x", "beam_size": 2}\n'
    ids = (folder / "vectors/test.txt").read_text().split()
    (folder / "forty.jsonl").write_text("".join(row % name for name in ids))
    (folder / "predictions.jsonl").write_text(row % "a0" + row % "a1")
    run_quietly(list(SWEEP))
    shutil.copytree("data", "kept")
    run_quietly(list(TARGETS["cache"].argv))


def run_quietly(argv: list[str], piped: Path | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command; ``piped``: the file that it reads as standard input."""
    out, err, stdin = io.StringIO(), io.StringIO(), sys.stdin
    with contextlib.ExitStack() as stack:
        if piped is not None:
            sys.stdin = stack.enter_context(open(piped, encoding="utf-8"))
        stack.callback(setattr, sys, "stdin", stdin)
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("default")
        return main(argv), out.getvalue(), err.getvalue()


inside = contextlib.chdir


@contextlib.contextmanager
def world() -> Iterator[Path]:
    """A folder with everything that the targets need, and a cache of its own."""
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "world"
        inner.mkdir()
        train_and_score = sweep.train_and_score
        before = os.environ.get("M2T_FAST_CACHE")
        os.environ["M2T_FAST_CACHE"] = str(Path(folder) / "cache")
        Path(folder, "cache").mkdir()
        try:
            score_without_training()
            make_world(inner)
            _begin_jobs(inner)
            yield inner
        finally:
            sweep.train_and_score = train_and_score
            os.environ.pop("M2T_FAST_CACHE") if before is None else os.environ.update(M2T_FAST_CACHE=before)


def _begin_jobs(folder: Path) -> None:
    """A job that was killed when its captions were made, and one that was killed when they were merged."""
    from m2t_fast.captioning import job

    (folder / "out.jsonl.parts").rmdir()
    (folder / "mixed").mkdir()
    for name in "ab":
        shutil.copy(folder / "takes/a.npy", folder / f"mixed/{name}.npy")
        (folder / f"mixed/{name}{name}.npy").write_text("no motion")
    run_until(job, "_finish", ["caption", "run", "--data", "takes", "--output", "out.jsonl"], folder)
    part = folder / "out.jsonl.parts" / "part-00000.jsonl"
    part.write_bytes(part.read_bytes().splitlines(keepends=True)[0])  # the others are still to be made
    run_until(job, "remove_folder", ["caption", "run", "--data", "mixed", "--output", "done.jsonl"], folder)


def run_until(module: Any, name: str, argv: list[str], folder: Path) -> None:
    """Runs a command that is killed where it calls this function."""
    function = getattr(module, name)
    try:
        setattr(module, name, _killed)
        with contextlib.suppress(KeyboardInterrupt), contextlib.chdir(folder):
            run_quietly(argv)
    finally:
        setattr(module, name, function)


def _killed(*_: object) -> None:
    raise KeyboardInterrupt
