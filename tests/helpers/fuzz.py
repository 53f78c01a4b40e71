"""Damages every kind of file that a command reads, and looks for anything but a result or one line and an exit code.

``python tests/helpers/fuzz.py SECONDS [SEED [KIND...]]`` goes on for that long and keeps what failed in ``build/fuzz``
(what ended the process itself is in ``build/fuzz/last``); the tests run a fixed number of each kind (``tests/fuzz``).
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import io
import os
import pickle
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faults import score_without_training
from motion_samples import FRAMES, write_samples
from mutations import mutate

from m2t_fast.captioner import Captioner
from m2t_fast.cli import main
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.dataset import load_data
from m2t_fast.data.preprocessing import DataSettings
from m2t_fast.motion.formats.smpl import rest_joints
from m2t_fast.released import to_released
from m2t_fast.run_folder import write_run
from m2t_fast.training import sweep

SIZES = dict(part_dim=4, attention_dim=4, hidden_size=4, embedding_dim=4)
GOOD = {0, 2, 3}
"""Exit codes: a result, one line, a result without what was left out."""

MOST_MEMORY, MOST_SECONDS = 2 << 30, 20.0
"""Bytes of main memory that the process may hold, and processor time, while it reads a file of a few kilobytes."""


@dataclass(frozen=True)
class Target:
    """A kind of file: where it lies in the world, and the command that reads it."""

    file: str
    argv: tuple[str, ...]
    output: tuple[str, ...] = ()
    """What the command writes, removed before every try."""
    cost: int = 1
    """Of one try, as many times that of the cheapest."""


SWEEP = ("sweep", "--data", "data", "--output", "study", "--lambda-spat", "0,1", "--lambda-adapt", "0")

TARGETS = {
    "configuration": Target("run/config.json", ("caption", "run", "motion.npy")),
    "vocabulary": Target("run/vocabulary.json", ("caption", "run", "motion.npy", "--json")),
    "weights": Target("run/model.safetensors", ("caption", "run", "motion.npy")),
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
        write_run(Path("run"), Captioner(config), data.vocabulary, data.statistics, DataSettings(), None)
        draw = np.random.default_rng(0)
        walk = np.cumsum(draw.normal(0, 0.02, (12, 22, 3)), axis=0).astype(np.float32) + draw.normal(0, 0.5, (22, 3))
        np.save("motion.npy", walk.astype(np.float32))
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
    row = '{"id": "%s", "prediction": "a man walks", "run": "x", "beam_size": 2}\n'
    (folder / "predictions.jsonl").write_text(row % "a0" + row % "a1")
    run_quietly(list(SWEEP))


def run_quietly(argv: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("default")
        return main(argv), out.getvalue(), err.getvalue()


def tries(target: Target, world: Path, seed: int, last: Path | None = None) -> Iterator[tuple[bytes, str | None]]:
    """Damaged contents of the target's file without end, each with what went wrong, None if nothing did; ``last``: a
    file to keep the content in that is tried, for when the process itself ends."""
    original = (world / target.file).read_bytes()
    draw = random.Random(f"{target.file} {target.argv} {seed}")
    keep, seen = _kept(world)
    while True:
        content = mutate(original, draw)
        if last is not None:
            last.write_bytes(content)
        failure = attempt(target, world, content)
        for path in list(world.rglob("*")):
            if path.is_file() and path not in keep:
                path.unlink()
        for path, old in keep.items():
            if _state(path) != seen[path]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(old)
                seen[path] = _state(path)
        yield content, failure


@functools.cache
def _kept(world: Path) -> tuple[dict[Path, bytes], dict[Path, tuple[int, int] | None]]:
    """The contents of all files, and how to tell that one was written to since it had them."""
    keep = {path: path.read_bytes() for path in world.rglob("*") if path.is_file()}
    return keep, {path: _state(path) for path in keep}


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


inside = contextlib.chdir


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def attempt(target: Target, world: Path, content: bytes) -> str | None:
    """Runs the command on the damaged file."""
    for name in target.output:
        remove(world / name)
    (world / target.file).write_bytes(content)
    begun = begin_measuring()
    outside = {path.name for path in world.parent.iterdir()}
    try:
        with inside(world):
            code, _, said = run_quietly(list(target.argv))
    except BaseException:  # whatever it is, it is the finding
        return traceback.format_exc()
    if code not in GOOD or (code == 2 and said.count("m2t-fast: error: ") != 1):
        return f"exit code {code}: {said}"
    if (taken := time.process_time() - begun) > MOST_SECONDS:
        return f"{taken:.1f} s"
    if (memory := most_memory()) > MOST_MEMORY:
        return f"{memory / 2**30:.1f} GiB"
    if len(said) > 20_000:
        return f"{len(said)} characters: {said[:500]}"
    if {path.name for path in world.parent.iterdir()} != outside:
        return "something was written outside the folder"
    return None


def begin_measuring() -> float:
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/clear_refs").write_text("5")  # the largest size so far is forgotten
    return time.process_time()


def most_memory() -> int:
    """Bytes that this process held at most since the measuring began, 0 where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0


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
    run_until(job.shutil, "rmtree", ["caption", "run", "--data", "mixed", "--output", "done.jsonl"], folder)


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


def fuzz(seconds: float, seed: int = 0, kinds: Sequence[str] = (), folder: Path = Path("build/fuzz")) -> int:
    """Tries all targets, or those of some kinds, in turn until the time is over; how many contents failed."""
    until, counts, failures = time.monotonic() + seconds, Counter[str](), Counter[str]()
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "last"
    faulthandler.enable()
    with world() as made:
        chosen = {name: target for name, target in TARGETS.items() if (made / target.file).exists()}
        chosen = {name: target for name, target in chosen.items() if not kinds or name in kinds}
        running = {name: tries(target, made, seed, last) for name, target in chosen.items()}
        while time.monotonic() < until:
            for name, tried in running.items():
                for _ in range(max(1, 8 // TARGETS[name].cost)):
                    content, failure = next(tried)
                    counts[name] += 1
                    if failure is not None:
                        failures[name] += 1
                        place = folder / f"{name.replace(' ', '_')}-{failures[name]:04d}"
                        place.write_bytes(content)
                        place.with_suffix(".txt").write_text(failure, errors="backslashreplace")
                if time.monotonic() > until:
                    break
    last.unlink(missing_ok=True)
    for name, count in counts.items():
        print(f"{name:14} {count:6} damaged files, {failures[name]} failed")
    print(f"{'all':14} {counts.total():6} damaged files, {failures.total()} failed; seed {seed}")
    return failures.total()


if __name__ == "__main__":
    sys.exit(min(1, fuzz(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, sys.argv[3:])))
