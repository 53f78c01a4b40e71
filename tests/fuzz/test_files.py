"""Damaged files under every command: a result or one line and exit code 2, whatever the damage."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import fuzz
import pytest

TRIES = 8  # of the cheapest; `make fuzz SECONDS=600` goes on


@pytest.fixture(scope="module")
def world() -> Iterator[Path]:
    with fuzz.world() as made:
        yield made


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_damaged_file_is_no_traceback(name: str, world: Path) -> None:
    target = fuzz.TARGETS[name]
    if not target.path(world).exists():
        pytest.skip("ezc3d, which writes the file to damage, is not installed")
    failed = [
        (content, failure)
        for content, failure in itertools.islice(fuzz.tries(target, world, seed=1), max(2, TRIES // target.cost))
        if failure is not None
    ]
    assert not failed, f"{len(failed)} failed, the first: {failed[0][0][:300]!r}\n{failed[0][1]}"


def test_an_undamaged_file_is_read(world: Path) -> None:
    """Else all would be refused for another reason than the damage."""
    for target in {target.argv: target for target in fuzz.TARGETS.values()}.values():
        if not target.path(world).exists():
            continue
        for name in target.output:
            assert not (world / name).exists()
        with fuzz.inside(world):
            code, _, said = fuzz.run_quietly(list(target.argv), target.path(world) if target.piped else None)
        assert code in (0, 3), (target.argv, said)
        for name in target.output:
            fuzz.remove(world / name)
