"""Damages every kind of file that a command reads, and looks for anything but a result or one line and an exit code.

``python tests/helpers/fuzz.py SECONDS [SEED [KIND...]]`` goes on for that long and keeps what failed in ``build/fuzz``;
the tests run a fixed number of each kind (``tests/fuzz``).
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mutations import mutate

from m2t_fast.captioner import Captioner
from m2t_fast.cli import main
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.dataset import load_data
from m2t_fast.data.preprocessing import DataSettings
from m2t_fast.run_folder import write_run

SIZES = dict(part_dim=4, attention_dim=4, hidden_size=4, embedding_dim=4)
GOOD = {0, 2, 3}
"""Exit codes: a result, one line, a result without what was left out."""


@dataclass(frozen=True)
class Target:
    """A kind of file: where it lies in the world, and the command that reads it."""

    file: str
    argv: tuple[str, ...]
    output: tuple[str, ...] = ()
    """What the command writes, removed before every try."""
    cost: int = 1
    """Of one try, as many times that of the cheapest."""


TARGETS = {
    "configuration": Target("run/config.json", ("caption", "run", "motion.npy")),
    "vocabulary": Target("run/vocabulary.json", ("caption", "run", "motion.npy", "--json")),
    "weights": Target("run/model.safetensors", ("caption", "run", "motion.npy")),
    "page": Target("run/config.json", ("caption", "run", "motion.npy", "--html", "page.html"), ("page.html",)),
    "motion": Target("motion.npy", ("caption", "run", "motion.npy")),
    "bvh": Target("take.bvh", ("caption", "run", "take.bvh")),
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
        Path("take.bvh").write_text(_bvh())
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
        segment = '{"content": "walk", "start": 0, "end": 9, "parts": ["left leg"], "caption_verbs": ["a", null, "b"]}'
        Path("data/segments.json").write_text(f'{{"a0": {{"segments": [{segment}]}}}}')
        run_quietly(["train", "--data", "data", "--output", "trained", "--epochs", "1", "--quiet", "--min-count", "1"])
        Path("out.jsonl.parts").mkdir()
        run_quietly(["caption", "run", "--data", "takes", "--output", "first.jsonl"])


_BODY = {
    "Hips": ("", (0, 0.9, 0)), "Spine": ("Hips", (0, 0.15, 0)), "Chest": ("Spine", (0, 0.2, 0)),
    "Neck": ("Chest", (0, 0.2, 0)), "Head": ("Neck", (0, 0.12, 0)),
    **{f"{side}{name}": (parent if parent in ("Hips", "Chest") else f"{side}{parent}", (sign * x, y, z))
       for side, sign in (("Left", 1), ("Right", -1))
       for name, parent, (x, y, z) in (
           ("UpLeg", "Hips", (0.1, -0.05, 0)), ("Leg", "UpLeg", (0, -0.4, 0)), ("Foot", "Leg", (0, -0.4, 0)),
           ("Toe", "Foot", (0, -0.05, 0.12)), ("Shoulder", "Chest", (0.06, 0.15, 0)), ("Arm", "Shoulder", (0.1, 0, 0)),
           ("ForeArm", "Arm", (0.28, 0, 0)), ("Hand", "ForeArm", (0.25, 0, 0)))},
}  # fmt: skip


def _bvh() -> str:
    """A standing body for three frames."""

    def joint(name: str) -> str:
        offset = " ".join(map(str, _BODY[name][1]))
        places = "6 Xposition Yposition Zposition" if name == "Hips" else "3"
        children = "".join(joint(other) for other, (parent, _) in _BODY.items() if parent == name)
        inner = children or "End Site\n{\nOFFSET 0 0.05 0\n}\n"
        kind = "ROOT" if name == "Hips" else "JOINT"
        return f"{kind} {name}\n{{\nOFFSET {offset}\nCHANNELS {places} Zrotation Xrotation Yrotation\n{inner}}}\n"

    row = " ".join(["0.1", "0.9", "0.2", *["3.0"] * (3 * len(_BODY))]) + "\n"
    return f"HIERARCHY\n{joint('Hips')}MOTION\nFrames: 3\nFrame Time: 0.05\n{row * 3}"


def run_quietly(argv: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("default")
        return main(argv), out.getvalue(), err.getvalue()


def tries(target: Target, world: Path, seed: int) -> Iterator[tuple[bytes, str | None]]:
    """Damaged contents of the target's file without end, each with what went wrong, None if nothing did."""
    original = (world / target.file).read_bytes()
    draw = random.Random(f"{target.file} {target.argv} {seed}")
    keep = {path: path.read_bytes() for path in world.rglob("*") if path.is_file()}
    while True:
        content = mutate(original, draw)
        failure = attempt(target, world, content)
        for path in list(world.rglob("*")):
            if path.is_file() and path not in keep:
                path.unlink()
        for path, old in keep.items():
            if not path.exists() or path.read_bytes() != old:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(old)
        yield content, failure


inside = contextlib.chdir


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def attempt(target: Target, world: Path, content: bytes) -> str | None:
    """Runs the command on the damaged file."""
    for name in target.output:
        remove(world / name)
    (world / target.file).write_bytes(content)
    outside = {path.name for path in world.parent.iterdir()}
    try:
        with inside(world):
            code, _, said = run_quietly(list(target.argv))
    except BaseException:  # whatever it is, it is the finding
        return traceback.format_exc()
    if code not in GOOD or (code == 2 and said.count("m2t-fast: error: ") != 1):
        return f"exit code {code}: {said}"
    if len(said) > 20_000:
        return f"{len(said)} characters: {said[:500]}"
    if {path.name for path in world.parent.iterdir()} != outside:
        return "something was written outside the folder"
    return None


@contextlib.contextmanager
def world() -> Iterator[Path]:
    """A folder with everything that the targets need, and a cache of its own."""
    with tempfile.TemporaryDirectory() as folder:
        inner = Path(folder) / "world"
        inner.mkdir()
        before = os.environ.get("M2T_FAST_CACHE")
        os.environ["M2T_FAST_CACHE"] = str(Path(folder) / "cache")
        Path(folder, "cache").mkdir()
        make_world(inner)
        _begin_job(inner)
        try:
            yield inner
        finally:
            os.environ.pop("M2T_FAST_CACHE") if before is None else os.environ.update(M2T_FAST_CACHE=before)


def _begin_job(folder: Path) -> None:
    """A job that was killed when its captions were made, before they were merged."""
    from m2t_fast.captioning import job

    finish: Callable[..., object] = job._finish
    (folder / "out.jsonl.parts").rmdir()
    try:
        job._finish = _killed  # type: ignore[assignment]
        with contextlib.suppress(KeyboardInterrupt), contextlib.chdir(folder):
            run_quietly(["caption", "run", "--data", "takes", "--output", "out.jsonl"])
    finally:
        job._finish = finish  # type: ignore[assignment]
    part = folder / "out.jsonl.parts" / "part-00000.jsonl"
    part.write_bytes(part.read_bytes().splitlines(keepends=True)[0])  # the others are still to be made


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def fuzz(seconds: float, seed: int = 0, kinds: Sequence[str] = (), folder: Path = Path("build/fuzz")) -> int:
    """Tries all targets, or those of some kinds, in turn until the time is over; how many contents failed."""
    until, counts, failures = time.monotonic() + seconds, Counter[str](), Counter[str]()
    with world() as made:
        running = {name: tries(target, made, seed) for name, target in TARGETS.items() if not kinds or name in kinds}
        while time.monotonic() < until:
            for name, tried in running.items():
                for _ in range(max(1, 8 // TARGETS[name].cost)):
                    content, failure = next(tried)
                    counts[name] += 1
                    if failure is not None:
                        failures[name] += 1
                        folder.mkdir(parents=True, exist_ok=True)
                        place = folder / f"{name.replace(' ', '_')}-{failures[name]:04d}"
                        place.write_bytes(content)
                        place.with_suffix(".txt").write_text(failure, errors="backslashreplace")
                if time.monotonic() > until:
                    break
    for name, count in counts.items():
        print(f"{name:14} {count:6} damaged files, {failures[name]} failed")
    print(f"{'all':14} {counts.total():6} damaged files, {failures.total()} failed; seed {seed}")
    return failures.total()


if __name__ == "__main__":
    sys.exit(min(1, fuzz(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, sys.argv[3:])))
