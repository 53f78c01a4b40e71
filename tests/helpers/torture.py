"""Every command on a failing file system, and beside another process: after any fault the same command gives what it
gives undisturbed.

``python tests/helpers/torture.py [COMMAND...]`` tries every change of every command, or of some, and prints how many;
the tests (``tests/faults``) try some of each.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import CLOCKS, Ended, Server
from fuzz import world

from m2t_fast.tensor_files import read_tensors


@dataclass(frozen=True)
class Case:
    """A command, what it makes, and what of its folder may stay after a fault for the next run to go on with."""

    argv: tuple[str, ...]
    makes: tuple[str, ...]
    resumes: tuple[str, ...] = ()
    code: int = 0
    """Exit code undisturbed."""
    once: bool = False
    """The next run says in one line that the output is there; without it the command gives the same."""


TRAIN = (
    "train",
    "--data",
    "data",
    "--output",
    "new",
    "--min-count",
    "1",
    "--seed",
    "3",
    "--batch-size",
    "2",
    "--resume",
)
CASES = {
    "train": Case((*TRAIN, "--epochs", "2", "--quiet"), ("new",), ("new",)),
    "resume": Case(("train", "--data", "data", "--output", "trained", "--epochs", "2", "--quiet", "--resume"),
                   ("trained",), ("trained",)),
    "caption": Case(("caption", "run", "--data", "takes", "--output", "captions.out.jsonl"),
                    ("captions.out.jsonl", "captions.out.left_out.jsonl"), ("captions.out.jsonl.parts",)),
    "page": Case(("caption", "run", "motion.npy", "--html", "page.html"), ("page.html",)),
    "sweep": Case(("sweep", "--data", "data", "--output", "grid", "--lambda-spat", "0,1", "--lambda-adapt", "0"),
                  ("grid",), ("grid",)),
    "sweep again": Case(("sweep", "--data", "data", "--output", "study", "--lambda-spat", "0,1", "--lambda-adapt", "0"),
                        ("study",), ("study",)),
    "evaluate": Case(("evaluate", "run", "--data", "data", "--output", "scores"), ("scores",)),
    "interpret": Case(("interpret", "run", "--data", "data", "--output", "looks", "--figures", "none"), ("looks",)),
    "left out": Case(("caption", "run", "--data", "mixed", "--output", "some.jsonl"),
                     ("some.jsonl", "some.left_out.jsonl"), ("some.jsonl.parts",), 3),
    "subtitles": Case(("caption", "run", "long.npy", "--segments", "--srt", "t.srt", "--vtt", "t.vtt", "--csv", "t.csv",
                       "--eaf", "t.eaf"), ("t.srt", "t.vtt", "t.csv", "t.eaf")),
    "predictions": Case(("evaluate", "run", "--data", "data", "--output", "own.jsonl"),
                        ("own.jsonl", "own.scores.json", "own.scores.md", "own.scores.tex")),
    "score": Case(("score", "predictions.jsonl", "--data", "data", "--output", "compared"), ("compared",)),
    "convert": Case(("convert", "released.pt", "--data", "data", "--output", "converted"), ("converted",)),
    "calibrate": Case(("calibrate", "run", "--data", "synthetic"), ("run/trust.safetensors",)),
    "fit-segments": Case(("fit-segments", "run", "--data", "synthetic", "--takes", "2"),
                         ("run/segmenter.safetensors",)),
    "fine-tune": Case((*TRAIN[:4], "tuned", *TRAIN[5:], "--init", "run", "--epochs", "1", "--quiet"),
                      ("tuned",), ("tuned",)),
    "figures": Case(("interpret", "run", "--data", "data", "--output", "drawn", "--figures", "gate_density"),
                    ("drawn",)),
    "demo": Case(("demo", "--epochs", "1", "--motions", "30", "--output", "shown"), ("shown",), ("shown",), once=True),
    "export": Case(("export", "run", "captioner.pt2"), ("captioner.pt2",)),
    "gif": Case(("caption", "run", "motion.npy", "--gif", "moves.gif"), ("moves.gif",)),
    "prepare": Case(("prepare", "takes", "--captions", "captions.jsonl", "--output", "made"), ("made",)),
}  # fmt: skip


class Torture:
    """Undisturbed results of a case, and tries of it with faults, in a copy of the world each."""

    def __init__(self, server: Server, original: Path, case: Case):
        self.server, self.original, self.case = server, original, case
        with self.copy() as folder:
            self.expected_end = server.run(folder, list(case.argv))
            assert self.expected_end.code == case.code, self.expected_end
            self.expected = contents(folder)

    def copy(self) -> _Copy:
        return _Copy(self.original)

    def places(self, some: int | None = None) -> Iterable[int]:
        """The changes to fail at: all, or some with the first and the last."""
        count = self.expected_end.changes
        if some is None or count <= some:
            return range(1, count + 1)
        return sorted({1 + round(i * (count - 1) / (some - 1)) for i in range(some)})

    def attempt(self, at: int, kill: bool) -> str | None:
        """A fault at a change, then the same command undisturbed: what is wrong, None if nothing is."""
        with self.copy() as folder:
            before = set(contents(folder))
            ended = self.server.run(folder, list(self.case.argv), at, "kill" if kill else "full disk")
            if (wrong := self._of_the_fault(ended, kill)) is not None:
                return wrong
            if not kill and (stray := set(contents(folder)) - before - self._may_stay()):
                return f"left after a full disk: {sorted(stray)}"
            if ended.code != self.case.code:
                again = self.server.run(folder, list(self.case.argv))
                if again.code == 2 and "exists already" in again.said:
                    if difference(self.expected, contents(folder)) is None:
                        return None  # all but the process's own end was done
                    for name in self.case.makes if self.case.once else ():
                        shutil.rmtree(folder / name)
                    again = self.server.run(folder, list(self.case.argv))
                if again.code != self.case.code:
                    return f"afterwards: {again}"
            return difference(self.expected, contents(folder))

    def beside(self, other: Server, at: int) -> str | None:
        """The command halts before a change while a second process runs the same command, then goes on: what is wrong,
        None if nothing is."""
        with self.copy() as folder:
            self.server.begin(folder, list(self.case.argv), at, "halt")
            first = self.server.end()
            second = other.run(folder, list(self.case.argv))
            if first is None:
                self.server.go_on()
                first = self.server.end()
            assert first is not None
            return self.of_two((first, second), folder)

    def of_two(self, ends: Sequence[Ended], folder: Path) -> str | None:
        """What is wrong after two processes ran the command at once: None if one made all, and the other as well or
        said in one line that it is not alone."""
        told = ("another process", "exists already")
        refused = [end for end in ends if end.code == 2 and any(text in (self._error(end) or "") for text in told)]
        if len(refused) == len(ends) or any(end.code != self.case.code for end in ends if end not in refused):
            return f"{ends}"
        return difference(self.expected, contents(folder))

    def with_clock(self, clock: str) -> str | None:
        """The command with a wrong clock: what is wrong, None if it gives what it gives undisturbed."""
        with self.copy() as folder:
            ended = self.server.run(folder, list(self.case.argv), clock=clock)
            if ended.code != self.case.code:
                return f"{ended}"
            return difference(self.expected, contents(folder))

    def _of_the_fault(self, ended: Ended, kill: bool) -> str | None:
        if kill:
            return None if ended.code in (-9, self.case.code) else f"not killed: {ended}"
        if ended.code == self.case.code:
            return None  # what failed was a convenience, such as a cache
        line = self._error(ended)
        if ended.code != 2 or line is None or "No space left on device" not in line:
            return f"not one line of a full disk: {ended}"
        return None if str(self._first_word(line)) else f"no path: {line}"

    def _error(self, ended: Ended) -> str | None:
        """The one line that tells the error; None if there is not one."""
        lines = [line for line in ended.said.splitlines() if line.startswith("m2t-fast: error: ")]
        return lines[0] if len(lines) == 1 and "Traceback" not in ended.said else None

    def _first_word(self, line: str) -> str:
        """The path that a message names."""
        place = line.removeprefix("m2t-fast: error: ").partition(": ")[0]
        return place if place and " " not in place else ""

    def _may_stay(self) -> set[str]:
        return {name for name in self.expected} | _Within((*self.case.resumes, "cache"))


class _Within(set):
    """Names within some folders."""

    def __init__(self, folders: Iterable[str]):
        super().__init__()
        self.folders = tuple(folders)

    def __ror__(self, others: Any) -> _Within:
        made = _Within(self.folders)
        made.update(others)
        return made

    def __rsub__(self, others: Any) -> set[str]:
        return {name for name in others if name not in self and name.split("/")[0] not in self.folders}


class _Copy:
    """A copy of the world for one try; a context manager. Every copy lies at the same path."""

    def __init__(self, original: Path):
        self.original, self.path = original, original.parent / "copy"

    def __enter__(self) -> Path:
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self.original, self.path, symlinks=True)
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def contents(folder: Path) -> dict[str, Any]:
    """What every file says, without the times in it."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_file():
            continue
        if path.name == "study.journal":
            found[name] = "a journal holds the times of its lines"
        elif path.name == "training_state.safetensors" or path.suffix == ".safetensors":
            tensors = read_tensors(path)[0]
            found[name] = {key: tensor.numpy().tobytes() for key, tensor in tensors.items()}
        elif path.name == "metrics.jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
            found[name] = [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in rows]
        elif path.suffix == ".eaf":
            found[name] = re.sub(rb'DATE="[^"]*"', b"", path.read_bytes())
        elif path.suffix == ".html":
            found[name] = re.sub(rb" \d{4}-\d\d-\d\d", b"", path.read_bytes())
        else:
            found[name] = path.read_bytes()
    return found


def difference(expected: dict[str, Any], found: dict[str, Any]) -> str | None:
    """Which files are missing, stray or different."""
    wrong = [f"missing: {name}" for name in expected.keys() - found.keys()]
    wrong += [f"stray: {name}" for name in found.keys() - expected.keys()]
    wrong += [f"different: {name}" for name in expected.keys() & found.keys() if expected[name] != found[name]]
    return "; ".join(sorted(wrong)) or None


def main(names: Sequence[str]) -> int:
    tries, failed = Counter[str](), 0
    with ExitStack() as stack:
        builds = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        original = stack.enter_context(world())
        server, other = (stack.enter_context(Server(build)) for build in builds)
        for name in names or CASES:
            torture = Torture(server, original, CASES[name])
            kinds: dict[str, tuple[Iterable[Any], Callable[[Any], str | None]]] = {
                "full disks": (torture.places(), lambda at, of=torture: of.attempt(at, False)),
                "kills": (torture.places(), lambda at, of=torture: of.attempt(at, True)),
                "runs beside another": (torture.places(), lambda at, of=torture: of.beside(other, at)),
                "wrong clocks": (CLOCKS, torture.with_clock),
            }
            for kind, (places, attempt) in kinds.items():
                found = {place: attempt(place) for place in places}
                problems = {place: problem for place, problem in found.items() if problem is not None}
                tries[kind] += len(found)
                failed += len(problems)
                print(f"{name:12} {len(found):4} {kind}, {len(problems)} problems", flush=True)
                for place, problem in problems.items():
                    print(f"   at {place}: {problem[:600]}", flush=True)
    print(f"{'all':12} {', '.join(f'{count:4} {kind}' for kind, count in tries.items())}, {failed} problems")
    return min(1, failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
