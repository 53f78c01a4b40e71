"""Damages every kind of file that a command reads, and looks for anything but a result or one line and an exit code.

``python tests/helpers/fuzz.py SECONDS [SEED [KIND...]]`` goes on for that long and keeps what failed in ``build/fuzz``
(what ended the process itself is in ``build/fuzz/last``); the tests run a fixed number of each kind (``tests/fuzz``).
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import random
import re
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from fuzz_world import SIZES, SWEEP, TARGETS, Target, inside, run_quietly, run_until, world
from mutations import mutate

__all__ = [
    "SIZES",
    "SWEEP",
    "TARGETS",
    "Target",
    "attempt",
    "fuzz",
    "inside",
    "run_quietly",
    "run_until",
    "tries",
    "world",
]

_NOT_FINITE = re.compile(r"\b(nan|inf|infinity)\b", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')  # a joint may be called nan

GOOD = {0, 2, 3}
"""Exit codes: a result, one line, a result without what was left out."""

MOST_MEMORY, MOST_SECONDS = 2 << 30, 20.0
"""Bytes of main memory that the process may hold, and processor time, while it reads a file of a few kilobytes."""


def tries(target: Target, world: Path, seed: int, last: Path | None = None) -> Iterator[tuple[bytes, str | None]]:
    """Damaged contents of the target's file without end, each with what went wrong, None if nothing did; ``last``: a
    file to keep the content in that is tried, for when the process itself ends."""
    original = target.path(world).read_bytes()
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


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def attempt(target: Target, world: Path, content: bytes) -> str | None:
    """Runs the command on the damaged file."""
    for name in target.output:
        remove(world / name)
    target.path(world).write_bytes(content)
    begun = begin_measuring()
    outside = {path.name for path in world.parent.iterdir()}
    try:
        with inside(world):
            code, out, said = run_quietly(list(target.argv), target.path(world) if target.piped else None)
    except BaseException:  # whatever it is, it is the finding
        return traceback.format_exc()
    if code not in GOOD or (code == 2 and said.count("m2t-fast: error: ") != 1):
        return f"exit code {code}: {said}"
    if (taken := time.process_time() - begun) > MOST_SECONDS:
        return f"{taken:.1f} s"
    if (memory := most_memory()) > MOST_MEMORY:
        return f"{memory / 2**30:.1f} GiB"
    if (found := _NOT_FINITE.search(_QUOTED.sub("", out))) is not None:
        return f"{found[0]} in {out[:500]}"
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


def fuzz(seconds: float, seed: int = 0, kinds: Sequence[str] = (), folder: Path = Path("build/fuzz")) -> int:
    """Tries all targets, or those of some kinds, in turn until the time is over; how many contents failed."""
    until, counts, failures = time.monotonic() + seconds, Counter[str](), Counter[str]()
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "last"
    faulthandler.enable()
    with world() as made:
        chosen = {name: target for name, target in TARGETS.items() if target.path(made).exists()}
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
