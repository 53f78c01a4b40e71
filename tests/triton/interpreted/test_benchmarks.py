"""The GPU benchmarks and the tuner, interpreted with tiny sizes and a stopwatch that calls once.

They find wrong names and arguments before a GPU does.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gpu
import gpu_attention
import gpu_ceilings
import gpu_decoding
import gpu_guided
import pytest
import torch
from torch import Tensor

from m2t_fast import reference
from m2t_fast.kernels import ceilings, devices, tune
from m2t_fast.ops.cases import AttentionCase, GateCase, GatherCase
from m2t_fast.ops.registry import why_unavailable

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.interpreted
TINY = {"tiny": dict(B=1, T=21, L=2, D=8, H=8)}


def once(run: Callable[[], Any]) -> list[float]:
    """Stands for the stopwatch, which needs a GPU."""
    run()
    return [2.0, 1.0, 4.0]


class Exact:
    """Stands for the kernel of the ceilings: the interpreter has no hardware tanh."""

    kernel = ceilings.repeat_tanh

    def __getitem__(self, grid: tuple[int]) -> Callable[..., Any]:
        return lambda *arguments, APPROXIMATE, **options: self.kernel[grid](*arguments, APPROXIMATE=False, **options)


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Tiny sizes on the processor, and copies of what a run writes to."""
    for module in (gpu_attention, gpu_ceilings, gpu_guided):
        monkeypatch.setattr(module, "milliseconds", once)
    for module in (gpu_attention, gpu_guided):
        monkeypatch.setattr(module, "SIZES", TINY)
    monkeypatch.setattr(gpu_ceilings, "COPIED", 64)
    monkeypatch.setattr(gpu_ceilings, "PROGRAMS", 2)
    monkeypatch.setattr(gpu_ceilings, "COUNT", 2)
    monkeypatch.setattr(ceilings, "repeat_tanh", Exact())
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "results")
    document = tmp_path / "benchmarks.md"
    document.write_text((ROOT / "docs" / "benchmarks.md").read_text())
    monkeypatch.setattr(gpu, "DOCUMENT", document)
    yield tmp_path


def test_every_section_measures_writes_and_prints(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA Stand-in")
    for module in (gpu_attention, gpu_guided):  # the interpreter takes its time
        monkeypatch.setattr(module, "DTYPES", {"bfloat16": torch.bfloat16})
    original = gpu.run
    monkeypatch.setattr(gpu, "run", lambda sections, budget, device, *rest: original(sections, budget, "cpu", *rest))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--budget", "3600"])
    assert gpu.main() == 0, capsys.readouterr().err
    results = json.loads((stand_in / "results" / "nvidia_stand_in.json").read_text())
    assert set(results["sections"]) == {section.name for section in gpu.SECTIONS}
    assert all(value > 0 for value in results["sections"]["ceilings"].values())
    for name, ways in (("attention", gpu_attention.WAYS), ("guided", gpu_guided.WAYS)):
        rows = results["sections"][name]["rows"]
        assert [(row["scoring"], row["dtype"]) for row in rows] == [("part", "bfloat16"), ("frame", "bfloat16")]
        for row in rows:
            assert set(row["both"]) == set(ways) - {"cuda"} and set(row["notes"]) <= {"cuda"}, row
    assert results["sections"]["decoding"] == {"note": why_unavailable("cuda")}
    text = (stand_in / "benchmarks.md").read_text()
    assert text.count("| tiny |") == 4 and "NVIDIA Stand-in" in text and "| HumanML3D | part" not in text
    assert "2.000 (1.000 to 4.000) | not built | 2.000 (1.0x)" in text and "2.000 (1.00x)" in text
    assert "| tiny | part | bfloat16 |" in capsys.readouterr().out


def test_decoding_is_timed_in_every_way_that_runs_on_the_processor() -> None:
    saved: list[int] = []
    tiny = dict(sizes=("kit",), batches=(1, 2), beams=(1, 2), words=2)
    rows = gpu_decoding.measure_decoding(60.0, "cpu", "cpu", **tiny, save=lambda rows: saved.append(len(rows)))
    assert saved == [4] * (4 * len(gpu_decoding.WAYS))
    for row in rows:
        assert set(row["ms"]) | set(row["notes"]) == set(gpu_decoding.WAYS)
        assert set(row["ms"]) >= {"cuda", "cuda bfloat16", "PyTorch"}, row
    written = gpu_decoding.table({"sections": {"decoding": {"rows": rows}}}).splitlines()
    assert len(written) == 6 and written[2].startswith("| kit | 1 | greedy | ")


def test_the_table_in_the_document_has_the_columns_that_are_written() -> None:
    values = {"rows": []}
    results = {"sections": {"attention": values, "decoding": values, "guided": values}}
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    for section in gpu.SECTIONS:
        if section.table is not None:
            begin, end = f"<!-- gpu {section.name} -->", f"<!-- end of gpu {section.name} -->"
            assert text.count(begin) == text.count(end) == 1
            assert section.table(results).splitlines()[0] in text.split(begin)[1].split(end)[0]


def test_a_failed_or_late_section_leaves_the_others_their_numbers(stand_in: Path) -> None:
    calls = []

    def fails(part: gpu.Part) -> None:
        part.values["first"] = 1
        part.save()
        assert json.loads((stand_in / "results" / "here.json").read_text())["sections"]["fails"] == {"first": 1}
        raise RuntimeError("no such kernel\nat line 3")

    def waits(part: gpu.Part) -> None:
        calls.append(part.until - time.monotonic())

    sections = (
        gpu.Section("fails", fails, 0.5, None),
        gpu.Section("waits", waits, 0.25, None),
        gpu.Section("again", waits, 0.25, None),
    )
    results = gpu.run(sections, 8.0, "cpu", "here", write=True)
    assert results["sections"]["fails"] == {"first": 1, "error": "RuntimeError: no such kernel"}
    # What the first left is shared by the two behind it.
    assert calls == pytest.approx([4.0, 8.0], abs=0.5)
    gpu.run(sections, -3.0, "cpu", "here", write=True)
    assert calls[2:] == pytest.approx([0.0, 0.0], abs=0.1)


def test_no_time_leaves_every_cell_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_attention, "ours", reference.spatio_temporal_attention)
    section = next(section for section in gpu.SECTIONS if section.name == "attention")
    results = gpu.run((section,), 0.0, "cpu", "here", write=False)
    for row in results["sections"]["attention"]["rows"]:
        assert not row["both"] and set(row["notes"].values()) == {"no time left"}


def test_a_wrong_or_failing_way_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(2 * x for x in reference.spatio_temporal_attention(*inputs))

    def fails(*inputs: Tensor) -> tuple[Tensor, ...]:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(gpu_attention, "ours", reference.spatio_temporal_attention)
    monkeypatch.setattr(gpu_attention, "word_by_word", wrong)
    monkeypatch.setattr(torch, "compile", lambda function, **options: fails)
    section = next(section for section in gpu.SECTIONS if section.name == "attention")
    for row in gpu.run((section,), 3600.0, "cpu", "here", write=False)["sections"]["attention"]["rows"]:
        assert row["notes"] == {"cuda": "not built", "torch.compile": "out of memory", "word by word": "differs"}


def test_the_tuner_launches_every_kernel_in_every_call(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(tune, "ATTENTION", AttentionCase(B=1, T=5, L=2, S=6, H=8, D=8))
    monkeypatch.setattr(tune, "GATE", GateCase(B=2, L=2, H=8, C=8, E=4, D=8))
    monkeypatch.setattr(tune, "GATHER", GatherCase(B=2, T=5, standardise=False))
    asked = []
    original = devices.configuration
    for kernel, call in tune.calls(torch.float32, "cpu").items():
        asked.clear()
        with monkeypatch.context() as patch:
            patch.setattr(devices, "configuration", lambda *key: asked.append(key[1]) or original(*key))
            call()
        assert kernel in asked


def test_the_tuner_writes_a_table_that_is_read_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(tune, "ATTENTION", AttentionCase(B=1, T=2, L=1, S=6, H=4, D=4))
    monkeypatch.setattr(tune, "GATE", GateCase(B=1, L=1, H=4, C=4, E=4, D=4))
    monkeypatch.setattr(tune, "GATHER", GatherCase(B=1, T=2, standardise=False))
    monkeypatch.setattr(tune, "CANDIDATES", {kernel: {"num_warps": (2,)} for kernel in tune.CANDIDATES})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA Stand-in")
    monkeypatch.setattr("triton.testing.do_bench", lambda call, **options: once(call)[0])
    calls = tune.calls
    monkeypatch.setattr(tune, "calls", lambda dtype: calls(dtype, "cpu"))
    path = tmp_path / "table.json"
    monkeypatch.setattr(sys, "argv", ["tune", "--output", str(path), "--budget", "0"])
    assert tune.main() == 0, capsys.readouterr()
    assert not capsys.readouterr().err
    assert set(json.loads(path.read_text())) == set(devices.table(devices.DEFAULT))
