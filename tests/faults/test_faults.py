"""Full disks, kills, clocks that jump and jobs that race: the next run gives what an undisturbed one gives."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import fuzz
import pytest
from faults import CLOCKS, Server
from torture import CASES, Torture

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler for the failing file system")

SOME = 4  # changes of files at which a fault is tried; `make torture` tries all
MANY_FILES = ("caption", "sweep", "evaluate", "interpret", "prepare", "left out")
SECONDS_EACH = ("calibrate", "demo", "export", "figures", "fit-segments", "gif")  # of a try: `make torture` has them


@pytest.fixture(scope="module")
def world() -> Iterator[Path]:
    with fuzz.world() as made:
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("build")) as process:
        yield process


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A second process that runs commands beside the first."""
    with Server(tmp_path_factory.mktemp("other")) as process:
        yield process


@pytest.fixture(scope="module")
def torture(world: Path, server: Server) -> Iterator[dict[str, Torture]]:
    yield {}


def of(name: str, world: Path, server: Server, known: dict[str, Torture]) -> Torture:
    if name not in known:
        known[name] = Torture(server, world, CASES[name])
    return known[name]


@pytest.mark.parametrize("kill", [False, True], ids=["full-disk", "kill"])
@pytest.mark.parametrize("name", [name for name in CASES if name not in SECONDS_EACH])
def test_after_any_fault_the_same_command_gives_the_same(
    name: str, kill: bool, world: Path, server: Server, torture: dict[str, Torture]
) -> None:
    case = of(name, world, server, torture)
    places = list(case.places(SOME if name in MANY_FILES else 3))
    assert len(places) > 2
    problems = {at: problem for at in places if (problem := case.attempt(at, kill)) is not None}
    assert not problems


@pytest.mark.parametrize("name", [name for name in CASES if name not in SECONDS_EACH])
def test_a_wrong_clock_changes_nothing(name: str, world: Path, server: Server, torture: dict[str, Torture]) -> None:
    case = of(name, world, server, torture)
    clocks = CLOCKS if name in MANY_FILES else ("in 1970", "backwards")
    problems = {clock: problem for clock in clocks if (problem := case.with_clock(clock)) is not None}
    assert not problems


def test_the_clock_of_a_command_can_be_wrong(world: Path, server: Server, torture: dict[str, Torture]) -> None:
    with of("page", world, server, torture).copy() as folder:
        assert server.run(folder, list(CASES["page"].argv), clock="in 1970").code == 0
        assert " 1970-01-0" in (folder / "page.html").read_text()


AT_ONCE = ("train", "caption", "sweep", "sweep again", "prepare", "evaluate", "predictions", "score", "convert",
           "interpret", "page", "calibrate", "left out", "resume", "subtitles", "fine-tune")  # fmt: skip


@pytest.mark.parametrize("name", AT_ONCE)
def test_two_at_once(name: str, world: Path, server: Server, other: Server, torture: dict[str, Torture]) -> None:
    case = of(name, world, server, torture)
    with case.copy() as folder:
        for process in (server, other):
            process.begin(folder, list(CASES[name].argv))
        ends = [end for process in (server, other) if (end := process.end()) is not None]
        assert case.of_two(ends, folder) is None


@pytest.mark.parametrize("name", ["caption", "left out", "sweep", "train"])
def test_another_runs_while_one_halts(
    name: str, world: Path, server: Server, other: Server, torture: dict[str, Torture]
) -> None:
    """Where folders and locks are made and removed: at the first changes and the last."""
    case = of(name, world, server, torture)
    places = list(case.places())
    problems = {at: found for at in (*places[:4], *places[-5:]) if (found := case.beside(other, at)) is not None}
    assert not problems
