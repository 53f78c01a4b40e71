"""The loss weights of the paper's table 6 as an Optuna study: one run per point, resumable, several at a time."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from m2t_fast.errors import UserError
from m2t_fast.evaluation.tables import COLUMNS, Row, Table
from m2t_fast.files import open_own, require_own, resolved, write_text
from m2t_fast.journals import Appender, cut_torn_tail
from m2t_fast.reading import Malformed, check_form, parse_json, read_text, shown
from m2t_fast.run_folder import METRICS

JOURNAL, TABLE = "study.journal", "table"
_NAME = "m2t_fast sweep"
_SCORES = {"data": str, "split": str, "text": str, "protocol": str, "rows": [{"bleu_4": float}]}


class Point(NamedTuple):
    """Weights of the spatial and of the adaptive loss (eq. 14)."""

    lambda_spat: float
    lambda_adapt: float

    @property
    def name(self) -> str:
        """Of the run's folder."""
        return f"spat{self.lambda_spat:g}-adapt{self.lambda_adapt:g}"


GRIDS: dict[str, tuple[Point, ...]] = {
    "kit": tuple(Point(*pair) for pair in ((0, 0), (0, 3), (1, 3), (2, 3), (3, 5), (5, 5))),
    "humanml3d": (Point(0, 0), *(Point(spat, 3) for spat in (0, 0.1, 0.25, 0.5, 1, 2, 3))),
}
"""The rows of table 6."""


@dataclass(frozen=True)
class Outcome:
    """A trained and scored point: ``value``, best validation BLEU-4, is what the study maximises; ``scores`` is the
    content of its ``scores.json``."""

    value: float
    scores: dict[str, Any]


class Stopped(Exception):
    """The work on a point was stopped; it continues when the sweep does."""


def why_unavailable() -> str | None:
    """Why Optuna cannot be used, None if it can."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        return f"Optuna is missing ({error}): pip install 'm2t_fast[sweep]'"
    return None


class Sweep:
    """A study in a folder: Optuna's journal, a run folder per point, and the table.

    Args:
        folder: made if it is missing.
        identity: JSON-ready; what must be the same when the sweep is resumed.
        seed: of the points that Optuna chooses.

    Raises:
        UserError: Optuna is missing, or the folder holds a sweep of another identity or a damaged one.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], seed: int = 0):
        if (reason := why_unavailable()) is not None:
            raise UserError(f"sweep: {reason}")
        import optuna

        self.folder, self._optuna = folder, optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Optuna's "experimental" is no news to a user
                folder.mkdir(parents=True, exist_ok=True)
                cut_torn_tail(folder / JOURNAL)
                storage = optuna.storages.JournalStorage(journal_backend(folder / JOURNAL))
                sampler = optuna.samplers.TPESampler(seed=seed)
                self._study = optuna.create_study(
                    storage=storage, study_name=_NAME, sampler=sampler, direction="maximize", load_if_exists=True
                )
                begun = self._study.user_attrs.get("identity")
                check_form(begun, ({str: Any}, None), "identity: ")
                self._known(), self.table()
                self._check_values()
        except UserError:
            raise
        except OSError as error:
            raise UserError(f"{folder}: cannot write: {error.strerror or error}") from None
        except Exception as error:  # Optuna replays what a foreign hand may have written: anything can come of that
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise UserError(f"{folder / JOURNAL}: damaged or foreign ({reason})") from None
        for name, value in identity.items():
            if begun is not None and begun.get(name) != value and not self._nothing_came_of_it():
                text = f"{name} was {shown(begun.get(name))}, now it is {shown(value)}"
                raise UserError(f"{folder}: this sweep was begun differently ({text}); expected another --output")
        self._study.set_user_attr("identity", identity)

    def enqueue(self, points: Sequence[Point]) -> list[Point]:
        """Adds the points that are neither done nor waiting; those that a killed sweep left are taken up again.

        Returns:
            the points that wait now.
        """
        states = self._optuna.trial.TrialState
        for trial in self._study.get_trials(states=(states.RUNNING,)):
            self._study.tell(trial.number, state=states.FAIL)
            points = [*points, *([_point(trial.params)] if len(trial.params) == 2 else [])]
        done = {_point(trial.params) for trial in self._study.get_trials(states=(states.COMPLETE,))}
        waiting = [_waiting(trial) for trial in self._study.get_trials(states=(states.WAITING,))]
        for point in points:
            if point not in done and point not in waiting:
                self._study.enqueue_trial(point._asdict())
                waiting.append(point)
        return waiting

    def chosen(self, points: Sequence[Point]) -> int:
        """How many points other than these are done or waiting: those of Optuna's choice."""
        return len({*self._known()} - {*points})

    def run(
        self,
        work: Callable[[Point, threading.Event], Outcome],
        count: int,
        workers: int,
        stop: threading.Event,
        tell: Callable[[str], None],
    ) -> dict[Point, str]:
        """Works on ``count`` points, those that wait first, then of Optuna's choice; ``workers`` at a time.

        Args:
            work: trains and scores a point; an exception but :class:`Stopped` is a failure of this point alone.
            stop: when set, nothing is begun, and the work under way is to end.
            tell: is given one line per finished point.

        Returns:
            the points that failed, with the reason.
        """
        running: dict[Future[Outcome], tuple[Any, Point]] = {}
        failed: dict[Point, str] = {}
        states = self._optuna.trial.TrialState
        bounds = [max(values, default=1.0) for values in zip(*self._known(), strict=True)] or [1.0, 1.0]
        with ThreadPoolExecutor(workers) as pool:
            while count > 0 or running:
                while count > 0 and len(running) < workers and not stop.is_set():
                    trial = self._study.ask()
                    point = Point(
                        trial.suggest_float("lambda_spat", 0.0, max(bounds[0], 1.0)),
                        trial.suggest_float("lambda_adapt", 0.0, max(bounds[1], 1.0)),
                    )
                    running[pool.submit(work, point, stop)] = trial, point
                    count -= 1
                if not running:
                    break
                for future in wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done:
                    trial, point = running.pop(future)
                    error = future.exception()
                    if error is None:
                        trial.set_user_attr("scores", future.result().scores)
                        self._study.tell(trial, future.result().value)
                        tell(f"{point.name}: validation BLEU-4 {future.result().value:.2f}")
                        self.write_table()
                    else:
                        self._study.tell(trial, state=states.FAIL)
                        if isinstance(error, Stopped):
                            self._study.enqueue_trial(point._asdict())
                        else:
                            failed[point] = f"{error}"
                            tell(f"{point.name}: failed: {error}")
        return failed

    def _check_values(self) -> None:
        """Raises what :func:`_point` does on a trial of any state, and ValueError on a finished one without a score."""
        complete = self._optuna.trial.TrialState.COMPLETE
        for trial in self._study.get_trials():
            if len(trial.params) == 2:
                _point(trial.params)
            if "fixed_params" in trial.system_attrs:
                _waiting(trial)
            if trial.state == complete and (trial.value is None or not math.isfinite(trial.value)):
                raise ValueError(f"trial {trial.number} is complete with the value {trial.value}")

    def _nothing_came_of_it(self) -> bool:
        """Whether every point failed before its run folder was begun, as with a mistaken option: the corrected command
        then starts over in the same folder."""
        trials = self._study.get_trials(deepcopy=False)
        all_failed = {trial.state for trial in trials} == {self._optuna.trial.TrialState.FAIL}
        return all_failed and not any(path.is_dir() for path in self.folder.iterdir())

    def _known(self) -> list[Point]:
        states = self._optuna.trial.TrialState
        done = [_point(trial.params) for trial in self._study.get_trials(states=(states.COMPLETE,))]
        return done + [_waiting(trial) for trial in self._study.get_trials(states=(states.WAITING,))]

    def table(self) -> Table | None:
        """The scores of the finished points, in the order of their weights; None if there is none yet."""
        states = self._optuna.trial.TrialState
        found = {_point(trial.params): trial for trial in self._study.get_trials(states=(states.COMPLETE,))}
        rows = []
        for point in sorted(found):
            scores = found[point].user_attrs["scores"]
            row = scores["rows"][0]
            known = {name: row[name] for name in ("beam_size", "force_gate", "motions", "references")}
            values = {name: row[name] for name in COLUMNS if name in row}
            rows.append(Row(model=point.name, **point._asdict(), **known, scores=values))
        if not rows:
            return None
        dataset = scores["data"] if scores["data"] == "synthetic" else resolved(scores["data"]).name
        return Table(dataset, scores["split"], scores["text"], scores["protocol"], rows)

    @property
    def best(self) -> tuple[Point, float]:
        """The finished point of the highest validation BLEU-4, and that."""
        trial = self._study.best_trial
        return _point(trial.params), float(trial.value or 0.0)

    def write_table(self) -> None:
        """Writes ``table.md``, ``table.tex`` and ``table.json``."""
        if (table := self.table()) is None:
            return
        rows = [row.to_dict() for row in table.rows]
        texts = {"md": table.markdown(), "tex": table.latex(), "json": json.dumps(rows, indent=2) + "\n"}
        for ending, text in texts.items():
            write_text(self.folder / f"{TABLE}.{ending}", text)


def train_and_score(
    folder: Path, training: Sequence[str], scoring: Sequence[str], point: Point, stop: threading.Event
) -> Outcome:
    """Trains the point's run in ``folder``, or resumes it, and scores it, each by its command in a process of its
    own, whose output goes to ``NAME.log``.

    Args:
        training, scoring: arguments of the commands ``train`` and ``evaluate``, without the run.

    Raises:
        Stopped: ``stop`` was set. RuntimeError: a command failed; its last line.
    """
    run, scores = folder / point.name, folder / f"{point.name}.scores"
    weights = ["--lambda-spat", repr(point.lambda_spat), "--lambda-adapt", repr(point.lambda_adapt)]
    log = folder / f"{point.name}.log"
    for made in (run, scores):
        require_own(made)
    _call(["train", *training, *weights, "--output", str(run), "--resume", "--quiet"], log, stop)
    _call(["evaluate", str(run), *scoring, "--output", str(scores)], log, stop)
    content = _parsed(scores / "scores.json", read_text(scores / "scores.json"), _SCORES)
    texts = read_text(run / METRICS).splitlines()
    lines = [_parsed(run / METRICS, text, {"val_bleu_4?": (float, None)}) for text in texts]
    known = [line["val_bleu_4"] for line in lines if line.get("val_bleu_4") is not None]
    return Outcome(max(known, default=content["rows"][0]["bleu_4"]), content)


def _parsed(path: Path, text: str, form: Any) -> Any:
    try:
        return parse_json(text, form, surrogates=True)  # a data folder's name may not be UTF-8
    except Malformed as error:
        raise UserError(f"{path}: damaged ({error}); remove it to make it again") from None


def journal_backend(path: Path) -> Any:
    """Optuna's journal in a file of ours: whole lines or none, and no lock of its own, because the folder has one."""
    from optuna.storages.journal import JournalFileBackend

    class Journal(JournalFileBackend):
        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            with Appender(path) as journal:
                journal.write("".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode())

    if not path.exists():
        with Appender(path):
            pass
    return Journal(str(path))


def _call(argv: list[str], log: Path, stop: threading.Event) -> None:
    if stop.is_set():
        raise Stopped
    with os.fdopen(open_own(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), "ab") as file:
        process = subprocess.Popen([sys.executable, "-m", "m2t_fast", *argv], stdout=file, stderr=file)
    while True:
        try:
            code = process.wait(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            if stop.is_set():
                process.terminate()
                process.wait()
                raise Stopped from None
    if stop.is_set():
        raise Stopped
    if code:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() or [f"exit code {code}"]
        raise RuntimeError(lines[-1].removeprefix("m2t-fast: error: "))


def _point(params: dict[str, Any]) -> Point:
    point = Point(float(params["lambda_spat"]), float(params["lambda_adapt"]))
    if not all(math.isfinite(weight) and weight >= 0 for weight in point):
        raise ValueError(f"weights {tuple(point)}, expected numbers of at least 0")
    return point


def _waiting(trial: Any) -> Point:
    return _point(trial.system_attrs["fixed_params"])
