"""Measures cases in every way asked for: first whether a way is right, then its time and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from m2t_fast.benchmarking.case import BASELINES, COMPILE, LOOP, PLAIN, Case, Run
from m2t_fast.benchmarking.cases import CASES, case_of
from m2t_fast.benchmarking.floor import Rates, work_of
from m2t_fast.benchmarking.measure import interleaved, quantile, tanh_loop
from m2t_fast.benchmarking.memory import available, peak_growth, peak_in_own_process, why_unmeasurable
from m2t_fast.benchmarking.sizes import SIZES, UNSCORED

_HELD = {
    (LOOP, True): 8,
    (PLAIN, True): 5,
    (COMPILE, True): 5,
    (LOOP, False): 1,
    (PLAIN, False): 3,
    (COMPILE, False): 3,
}
"""By way, and whether there is a gradient: tensors of words x frames x attention size held at once, as measured."""

_TANH_LOOP = "bare tanh loop"


class Row(NamedTuple):
    """One case, computed one way."""

    size: str
    case: str
    scoring: str | None
    """None where it does not matter."""
    backward: bool
    title: str
    way: str
    status: str
    """``ok``; ``wrong``: the result is, so nothing was timed; ``failed``: an error; ``skipped``: not possible here."""
    reason: str | None = None
    """Why the status is not ``ok``, or why there is no ``peak_bytes``."""
    runs: int = 0
    median: float | None = None
    """Seconds of one run; p20 and p80 below and above it."""
    p20: float | None = None
    p80: float | None = None
    processor: float | None = None
    """Median of the processor time of one run, all threads, in seconds; processor_p20 and _p80 below and above it."""
    processor_p20: float | None = None
    processor_p80: float | None = None
    ratios: dict[str, float] = {}  # never changed in place
    """By baseline: how many times faster than it this way is."""
    peak_bytes: int | None = None
    """Memory held at most, beyond model and inputs."""
    tanh_per_second: float | None = None
    """Of backends: the attention's tanh over valid frames, with a gradient twice, because it is computed again."""
    tanh_ceiling: float | None = None
    """The same of a bare tanh loop on as many threads, which takes its turns among the ways."""
    floor: float | None = None
    """Of backends: the least seconds that the operations need at the rates of bare loops; see ``floor``."""

    @property
    def passed(self) -> bool:
        """Whether the way is right, or could not be tried."""
        return self.status in ("ok", "skipped")


class Options(NamedTuple):
    """What to measure, and how."""

    device: torch.device
    sizes: Sequence[str] = ("kit",)
    cases: Sequence[str] = CASES
    scoring: Sequence[str] = ("part",)
    ways: Sequence[str] = tuple(BASELINES)
    rounds: int = 3
    memory: bool = True
    rates: Rates | None = None
    """Of this processor, for the floor; None: no floor is given."""


def cases(options: Options) -> Iterator[Case]:
    """All cases asked for. Attention comes without and with its gradient; ops without scoring come once per size."""
    for size in options.sizes:
        for name in options.cases:
            for scoring in options.scoring[:1] if name in UNSCORED else options.scoring:
                for backward in (False, True) if name == "spatio_temporal_attention" else (True,):
                    yield case_of(name, SIZES[size], scoring, options.device, backward)


def bench(options: Options) -> Iterator[list[Row]]:
    """Case by case, a row for every way asked for."""
    for case in cases(options):
        yield _rows(case, options)
        if COMPILE in options.ways:
            torch.compiler.reset()


def _rows(case: Case, options: Options) -> list[Row]:
    scoring = case.scoring if case.scored else None
    rows: dict[str, Row] = {}
    runs: dict[str, Run] = {}
    truth = None
    for way in options.ways:
        start = Row(case.size.name, case.name, scoring, case.backward, case.title, way, "ok")
        if (reason := case.inapplicable(way) or too_large(case, way)) is not None:
            rows[way] = start._replace(status="skipped", reason=reason)
            continue
        truth = case.truth() if truth is None else truth
        try:
            run = case.prepare(way)
            # The truth may be this way's own result: no need to wait for it twice.
            wrong = None if way == case.truth_way else case.why_wrong(run(), truth)
        except Exception as error:
            # A compiler may be missing or give up; a backend has no such excuse.
            excused = way == COMPILE or isinstance(error, torch.OutOfMemoryError)
            rows[way] = start._replace(status="skipped" if excused else "failed", reason=_one_line(error))
            continue
        rows[way] = start if wrong is None else start._replace(status="wrong", reason=wrong)
        if wrong is None:
            runs[way] = run
    del truth
    timed: dict[str, Callable[[], object]] = dict(runs)
    loop = tanh_loop(case.tanh, options.device) if case.tanh and runs else None
    made = 0.0
    if loop is not None:
        made, timed[_TANH_LOOP] = loop(), loop
    times = interleaved(timed, options.rounds, options.device)
    medians = {way: quantile(found.seconds, 0.5) for way, found in times.items()}
    work = work_of(case.name, case.size, case.scoring, case.frames, case.words, case.backward)
    floor = work.seconds(options.rates) if work is not None and options.rates is not None else None
    for way, run in runs.items():
        seconds = times[way].seconds
        rate = None
        if case.tanh and way not in BASELINES:
            rate = case.tanh * (2 if case.backward else 1) / medians[way]
        rows[way] = rows[way]._replace(
            runs=len(seconds),
            median=medians[way],
            p20=quantile(seconds, 0.2),
            p80=quantile(seconds, 0.8),
            processor=quantile(times[way].processor, 0.5),
            processor_p20=quantile(times[way].processor, 0.2),
            processor_p80=quantile(times[way].processor, 0.8),
            ratios={name: medians[name] / medians[way] for name in BASELINES if name in medians},
            tanh_per_second=rate,
            floor=None if way in BASELINES else floor,
            tanh_ceiling=made / medians[_TANH_LOOP] if rate and loop is not None else None,
        )
        if options.memory and why_unmeasurable(options.device) is None:
            try:
                rows[way] = rows[way]._replace(peak_bytes=_peak(case, way, run))
            except RuntimeError as error:
                rows[way] = rows[way]._replace(reason=f"memory: {_one_line(error)}")
    return list(rows.values())


def _peak(case: Case, way: str, run: Run) -> int:
    if case.device.type == "cuda" or way == COMPILE:
        return peak_growth(run, case.device)
    threads = torch.get_num_threads()
    return peak_in_own_process(case.size.name, case.name, case.scoring, case.backward, way, threads)


def too_large(case: Case, way: str) -> str | None:
    """Why a way whose tensors do not fit cannot run: on a CPU the attempt might take the machine down."""
    free = available(case.device)
    needed = 4 * case.elements * _HELD.get((way, case.backward), 0)
    if free is None or needed <= free:
        return None
    return f"it needs about {needed / 2**30:.0f} GiB, {free / 2**30:.0f} GiB are free"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}{'...' if len(text) > 200 else ''}"
