"""From cases to rows and tables: no speed of a wrong result, medians, ratios, and reasons for what is missing."""

from __future__ import annotations

import json

import pytest
import torch

from m2t_fast.benchmarking import BASELINES, CASES, Options, Row, bench, model_cases, run
from m2t_fast.benchmarking.measure import Times
from m2t_fast.benchmarking.ratio_tables import document, machine, machine_line, table
from m2t_fast.ops.reference import gate as backend

CPU = torch.device("cpu")
WAYS = ("loop", "plain", "reference")


def options(**changes):
    wanted = dict(sizes=("tiny",), cases=("gated_decoder_step",), ways=WAYS, rounds=2, memory=False)
    return Options(CPU, **{**wanted, **changes})


def rows(**changes):
    return [row for of_case in bench(options(**changes)) for row in of_case]


def test_every_case_has_a_row_for_every_way():
    found = rows(cases=CASES, scoring=("part", "frame"), rounds=1)
    kinds = {(row.case, row.scoring, row.backward) for row in found}
    attention = {("spatio_temporal_attention", s, b) for s in ("part", "frame") for b in (False, True)}
    models = {(name, s) for name in ("training_step", "greedy", "beam") for s in ("part", "frame")}
    assert attention < kinds and models == {
        kind[:2] for kind in kinds if kind[0] in ("training_step", "greedy", "beam")
    }
    assert len(found) == len(kinds) * len(WAYS) == 16 * len(WAYS)
    wordless = {(name, "loop") for name in ("part_encoder", "attention_keys", "spatial_loss")}
    assert {(row.case, row.way) for row in found if row.status != "ok"} == wordless
    for row in found:
        if row.status == "ok":
            assert row.runs == 1 and 0 < row.p20 <= row.median <= row.p80 and row.processor > 0
            assert row.ratios[row.way] == 1.0 if row.way in BASELINES else set(row.ratios) >= {"plain"}
            rated = row.case == "spatio_temporal_attention" and row.way not in BASELINES
            assert (row.tanh_per_second is not None) == rated


def test_medians_ratios_and_rates(monkeypatch):
    seconds = {"loop": [8.0, 4.0, 6.0], "plain": [3.0, 3.0, 3.0], "reference": [0.9, 2.0, 1.5]}
    seconds[run._TANH_LOOP] = [1.0, 0.5, 2.0]
    monkeypatch.setattr(run, "interleaved", lambda runs, *_: {way: Times(seconds[way], [1.0] * 3) for way in runs})
    monkeypatch.setattr(run, "tanh_loop", lambda count, device: lambda: 1e6)
    forward, both = bench(options(cases=("spatio_temporal_attention",)))
    loop, plain, ours = both
    assert (ours.median, ours.p20, ours.p80) == pytest.approx((1.5, 1.14, 1.8))
    assert ours.ratios == {"loop": 4.0, "plain": 2.0} and loop.ratios == {"loop": 1.0, "plain": 0.5}
    case = next(run.cases(options(cases=("spatio_temporal_attention",))))
    assert both[2].tanh_per_second == 2 * case.tanh / 1.5 and forward[2].tanh_per_second == case.tanh / 1.5
    assert ours.tanh_ceiling == 1e6 and plain.tanh_ceiling is None
    assert table(both).splitlines()[0] == "tiny: spatio_temporal_attention, part scoring, forward + backward"
    monkeypatch.setattr(run, "tanh_loop", lambda count, device: None)
    assert all(row.tanh_ceiling is None for row in rows(cases=("spatio_temporal_attention",)))
    assert f"({both[2].tanh_per_second / 1e6:.0%})" in table(both)


def test_the_ratios_come_first_and_their_baselines_are_named():
    text = table(rows())
    header, *lines = text.splitlines()[1:]
    assert header.split()[:4] == ["to", "loop", "to", "plain"]
    assert [line.split()[-1] for line in lines] == list(WAYS)
    assert lines[0].split()[0] == "1.00x" and lines[1].split()[1] == "1.00x"


def test_no_speed_of_a_wrong_result(monkeypatch):
    right = backend.gated_decoder_step
    monkeypatch.setattr(backend, "gated_decoder_step", lambda *x: (right(*x)[0] * 1.01, *right(*x)[1:]))
    loop, plain, wrong = rows()
    assert (loop.status, plain.status, wrong.status) == ("ok", "ok", "wrong")
    assert not wrong.passed and wrong.ratios == {} and wrong.median is None and wrong.runs == 0
    assert "of its largest value, allowed 1e-03" in wrong.reason
    text = table([loop, plain, wrong])
    assert f"  reference: WRONG: {wrong.reason}" in text.splitlines()
    assert len(text.splitlines()) == 5  # title, header, two ways that are right, one that is not


def test_a_wrong_baseline_is_no_baseline(monkeypatch):
    monkeypatch.setattr(run.Case, "why_wrong", lambda self, found, truth: "broken" if run_number.pop() == 0 else None)
    run_number = [2, 1, 0]  # loop, plain, reference are checked in this order
    loop, plain, ours = rows()
    assert loop.status == "wrong" and set(ours.ratios) == {"plain"} == set(plain.ratios)


def test_a_search_is_not_run_again_to_compare_it_with_itself(monkeypatch):
    searches = []
    prepare = model_cases.DecodingCase.prepare

    def counted(self, way):
        found = prepare(self, way)
        return lambda: searches.append(way) or found()

    monkeypatch.setattr(model_cases.DecodingCase, "prepare", counted)
    assert [row.status for row in rows(cases=("greedy",), rounds=1)] == ["ok"] * 3
    assert searches == ["loop", "plain", "reference", "loop", "plain", "reference"]


def test_an_error_of_a_backend_is_a_failure_and_one_of_the_compiler_a_note(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no\ncompiler" + 300 * "x")

    monkeypatch.setattr(backend, "gated_decoder_step", broken)
    monkeypatch.setattr(torch, "compile", broken)
    plain, compiled, ours = rows(ways=("plain", "compile", "reference"))
    assert (plain.status, compiled.status, ours.status) == ("ok", "skipped", "failed")
    assert compiled.passed and not ours.passed
    assert compiled.reason.startswith("RuntimeError: no compilerxxx") and len(compiled.reason) < 230
    assert "  compile: skipped: RuntimeError: no compiler" in table([plain, compiled, ours])
    assert "  reference: FAILED: RuntimeError" in table([plain, compiled, ours])


def test_what_does_not_fit_is_not_tried(monkeypatch):
    monkeypatch.setattr(run, "available", lambda device: 1000)
    loop, plain, ours = rows(cases=("training_step",))
    assert loop.status == plain.status == "skipped" and loop.passed
    assert plain.reason == "it needs about 0 GiB, 0 GiB are free"
    assert ours.status == "ok" and ours.ratios == {}
    monkeypatch.setattr(run, "available", lambda device: None)  # not known: try
    assert [row.status for row in rows(cases=("training_step",))] == ["ok"] * 3


def test_memory_is_asked_for_the_same_call(monkeypatch):
    asked = []
    monkeypatch.setattr(run, "why_unmeasurable", lambda device: None)
    monkeypatch.setattr(run, "peak_in_own_process", lambda *arguments: asked.append(arguments) or 3 << 20)
    found = rows(memory=True)
    threads = torch.get_num_threads()
    assert asked == [("tiny", "gated_decoder_step", "part", True, way, threads) for way in WAYS]
    assert [row.peak_bytes for row in found] == [3 << 20] * 3 and "3 MiB" in table(found)

    def killed(*_):
        raise RuntimeError("its process was killed")

    monkeypatch.setattr(run, "peak_in_own_process", killed)
    found = rows(memory=True)
    assert all(row.status == "ok" and row.peak_bytes is None for row in found)
    assert "  plain: memory: RuntimeError: its process was killed" in table(found)


def test_the_document_is_json():
    found = rows()
    text = json.dumps(document(machine(CPU), {"rounds": 2}, found))
    read = json.loads(text)
    assert set(read) == {"machine", "settings", "baselines", "rows", "passed"} and read["passed"] is True
    assert [row["way"] for row in read["rows"]] == list(WAYS) and set(read["rows"][0]) == set(Row._fields)
    assert read["machine"]["torch"] == torch.__version__ and read["machine"]["threads"] == torch.get_num_threads()
    assert read["machine"]["processor"] and read["machine"]["date"].endswith("+00:00")
    assert read["machine"]["processor"] in machine_line(read["machine"])
    assert document({}, {}, [found[0]._replace(status="wrong")])["passed"] is False
