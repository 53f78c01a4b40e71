"""Sweeps: every point once, several at a time, resumed after any interruption, and the table."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import threading
import time

import pytest

from m2t_fast.errors import UserError
from m2t_fast.training.sweep import GRIDS, Outcome, Point, Stopped, Sweep, why_unavailable

pytestmark = pytest.mark.skipif(why_unavailable() is not None, reason=str(why_unavailable()))

POINTS = [Point(0, 0), Point(0, 3), Point(2, 3), Point(5, 5)]
IDENTITY = {"train": ["--data", "x"]}


def outcome(point: Point) -> Outcome:
    row = {"model": "x", "beam_size": 1, "force_gate": None, "motions": 3, "references": 9}
    row |= {"bleu_1": 50.0 + point.lambda_spat, "bleu_4": 20.0}
    return Outcome(
        10.0 + point.lambda_spat,
        {"data": "synthetic", "split": "test", "text": "raw", "protocol": "p", "rows": [row]},
    )


def run(sweep: Sweep, work, count: int, workers: int = 2, stop: threading.Event | None = None) -> dict[Point, str]:
    return sweep.run(work, count, workers, stop or threading.Event(), lambda text: None)


def test_every_point_is_worked_on_once_and_the_best_is_known(tmp_path):
    seen, together = [], []

    def work(point, stop):
        together.append(1)
        seen.append(point)
        time.sleep(0.05)
        count = len(together)
        together.pop()
        assert count <= 3
        return outcome(point)

    sweep = Sweep(tmp_path / "sweep", IDENTITY)
    waiting = sweep.enqueue(POINTS + POINTS[:1])
    assert waiting == POINTS and run(sweep, work, len(waiting), workers=3) == {}
    assert sorted(seen) == POINTS and sweep.best == (Point(5, 5), 15.0)
    again = Sweep(tmp_path / "sweep", IDENTITY)
    assert again.enqueue(POINTS) == [] and again.best == (Point(5, 5), 15.0)
    assert [(row.lambda_spat, row.lambda_adapt) for row in again.table().rows] == POINTS
    assert (
        "| synthetic | spat5-adapt5 | 5 | 5 | 1 | **55.00** | **20.00** |"
        in (tmp_path / "sweep" / "table.md").read_text()
    )
    assert len(json.loads((tmp_path / "sweep" / "table.json").read_text())) == 4


def test_a_failed_point_ends_nothing_and_is_tried_again(tmp_path):
    def work(point, stop):
        if point == POINTS[1]:
            raise RuntimeError("disk full")
        return outcome(point)

    sweep = Sweep(tmp_path, IDENTITY)
    assert run(sweep, work, len(sweep.enqueue(POINTS))) == {POINTS[1]: "disk full"}
    assert len(sweep.table().rows) == 3
    again = Sweep(tmp_path, IDENTITY)
    assert again.enqueue(POINTS) == [POINTS[1]]
    assert run(again, lambda point, stop: outcome(point), 1) == {} and len(again.table().rows) == 4


def test_a_stop_keeps_what_is_done_and_the_rest_waits(tmp_path):
    stop = threading.Event()

    def work(point, asked):
        if point == POINTS[1]:
            stop.set()
            raise Stopped
        return outcome(point)

    sweep = Sweep(tmp_path, IDENTITY)
    assert run(sweep, work, len(sweep.enqueue(POINTS)), workers=1, stop=stop) == {}
    assert [(row.lambda_spat, row.lambda_adapt) for row in sweep.table().rows] == POINTS[:1]
    assert sorted(Sweep(tmp_path, IDENTITY).enqueue(POINTS)) == POINTS[1:]


def test_what_a_killed_sweep_was_at_is_taken_up_again(tmp_path):
    sweep = Sweep(tmp_path, IDENTITY)
    sweep.enqueue(POINTS[:2])
    for _ in range(2):  # what a process that is killed in the middle leaves: trials that run
        trial = sweep._study.ask()
        trial.suggest_float("lambda_spat", 0, 5), trial.suggest_float("lambda_adapt", 0, 5)
    assert sorted(Sweep(tmp_path, IDENTITY).enqueue(POINTS)) == POINTS


def test_points_of_optunas_choice_come_after_the_grid_and_count(tmp_path):
    seen: list[Point] = []

    def work(point, stop):
        seen.append(point)
        return outcome(point)

    sweep = Sweep(tmp_path, IDENTITY, seed=3)
    assert run(sweep, work, len(sweep.enqueue(POINTS)) + 2, workers=1) == {}
    assert seen[:4] == POINTS and all(0 <= value <= 5 for point in seen[4:] for value in point)
    assert Sweep(tmp_path, IDENTITY).chosen(POINTS) == 2


def test_another_sweep_in_the_folder_is_refused(tmp_path):
    Sweep(tmp_path, IDENTITY)
    with pytest.raises(UserError, match="begun differently .train was"):
        Sweep(tmp_path, {"train": ["--data", "y"]})


def test_where_every_point_failed_at_once_the_corrected_command_begins_anew(tmp_path):
    """As with a --data that is not there; a run folder that was begun is of the options that it was begun with."""

    def fails(point, stop):
        raise RuntimeError("no such folder")

    mistaken = Sweep(tmp_path, IDENTITY)
    assert len(run(mistaken, fails, len(mistaken.enqueue(POINTS)))) == 4
    corrected = Sweep(tmp_path, {"train": ["--data", "y"]})
    assert corrected.enqueue(POINTS) == POINTS and len(run(corrected, fails, 4)) == 4
    (tmp_path / POINTS[0].name).mkdir()
    with pytest.raises(UserError, match="begun differently .train was"):
        Sweep(tmp_path, IDENTITY)


def test_the_grids_are_table_6():
    assert len(GRIDS["kit"]) == 6 and GRIDS["kit"][3] == (2, 3) and GRIDS["kit"][-1] == (5, 5)
    assert len(GRIDS["humanml3d"]) == 8 and {point.lambda_adapt for point in GRIDS["humanml3d"][1:]} == {3}
    assert GRIDS["humanml3d"][2].name == "spat0.1-adapt3"


def finished(folder):
    sweep = Sweep(folder, IDENTITY)
    assert run(sweep, lambda point, stop: outcome(point), len(sweep.enqueue(POINTS))) == {}
    return folder / "study.journal"


def test_a_journal_torn_anywhere_goes_on(tmp_path):
    journal = finished(tmp_path / "whole")
    content = journal.read_bytes()
    begun = content.index(b"\n", content.index(b"identity")) + 1
    places = [len(content) - 1, len(content) - 20, begun, begun + 7, (len(content) + begun) // 2, 5, 0]
    for number, place in enumerate(places):
        folder = tmp_path / f"torn{number}"
        folder.mkdir()
        (folder / "study.journal").write_bytes(content[:place])
        finished(folder)
        again = Sweep(folder, IDENTITY)
        assert again.enqueue(POINTS) == [] and len(again.table().rows) == 4
        assert {path.name for path in folder.iterdir()} == {"study.journal", "table.md", "table.tex", "table.json"}


def test_a_damaged_journal_is_one_clear_line(tmp_path):
    journal = finished(tmp_path)
    lines = journal.read_bytes().splitlines(keepends=True)
    damages = [
        b"x\n",
        b"[]\n",
        b"{}\n",
        b"[" * 100_000 + b"\n",
        b'{"op_code": 1e999}\n',
        b'{"op_code": 77}\n',
        b"\xff\n",
    ]
    for damage in damages:
        for place in (0, 1, len(lines) // 2, len(lines) - 1):
            journal.write_bytes(b"".join([*lines[:place], damage, *lines[place + 1 :]]))
            with contextlib.suppress(UserError):
                Sweep(tmp_path, IDENTITY)
    for old, new in (
        (b'"rows":[', b'"rows":[3,'),
        (b'"bleu_4":', b'"blue":'),
        (b'"params"', b'"papers"'),
        (b"0.0", b"{}"),
    ):
        journal.write_bytes(b"".join(lines).replace(old, new))
        with contextlib.suppress(UserError):
            Sweep(tmp_path, IDENTITY)
    journal.write_bytes(b"".join([*lines[:-2], b"[\n", *lines[-2:]]))
    with pytest.raises(UserError, match="study.journal: damaged or foreign"):
        Sweep(tmp_path, IDENTITY)


def test_a_journal_that_is_a_link_is_refused(tmp_path):
    outside = finished(tmp_path / "a").rename(tmp_path / "outside")
    (tmp_path / "a" / "study.journal").symlink_to(outside)
    before = outside.read_bytes()
    with pytest.raises(UserError, match="study.journal: a link"):
        Sweep(tmp_path / "a", IDENTITY)
    assert outside.read_bytes() == before


def test_a_full_disk_names_the_journal(tmp_path, monkeypatch):
    sweep = Sweep(tmp_path, IDENTITY)

    def full(file, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(UserError, match="study.journal: cannot write: No space left on device"):
            sweep.enqueue(POINTS)
    finished(tmp_path)


@pytest.mark.parametrize(
    "values", ["null", "[null]", "[NaN]", "[1e999]", "[]", '["x"]', "[1.0,2.0]", "[true]", "[[1]]", "5"]
)
def test_a_finished_point_without_a_score_is_named(tmp_path, values):
    journal = finished(tmp_path)
    content = journal.read_text()
    assert '"state":1,"values":[10.0]' in content
    journal.write_text(content.replace('"state":1,"values":[10.0]', f'"state":1,"values":{values}'))
    try:
        assert Sweep(tmp_path, IDENTITY).best is not None
    except UserError as error:
        assert "study.journal: damaged or foreign" in str(error)
    else:
        assert values == "[true]"  # which Python takes for 1


@pytest.mark.parametrize("value", ["null", "[0, 1]", '"x"', "{}", "NaN", "-1"])
@pytest.mark.parametrize("running", [True, False])
def test_weights_that_are_no_numbers_are_named_in_a_trial_of_any_state(tmp_path, running, value):
    journal = finished(tmp_path)
    lines = journal.read_text().splitlines(keepends=True)
    if running:
        assert '"state":1' in lines.pop()
        place = max(n for n, line in enumerate(lines) if '"param_value_internal":' in line)
        head, _, tail = lines[place].partition('"param_value_internal":')
        lines[place] = f'{head}"param_value_internal":{value}{tail[tail.index(",") :]}'
    else:
        waiting = next(line for line in lines if '"fixed_params"' in line)
        lines.append(re.sub(r'"lambda_spat":[^,]*', f'"lambda_spat":{value}', waiting))
    journal.write_text("".join(lines))
    with pytest.raises(UserError, match="study.journal: damaged or foreign"):
        Sweep(tmp_path, IDENTITY).enqueue(POINTS)
