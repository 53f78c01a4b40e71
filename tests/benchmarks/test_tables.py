"""Results of devices: merged cell by cell, and the document's tables made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gpu_archive
import gpu_results
import pytest
import tables

ROOT = Path(__file__).resolve().parents[2]
ROW = {"sizes": "HumanML3D", "scoring": "part", "dtype": "float32"}
SOFTWARE = {"torch": "2.11.0", "triton": "3.6.0", "cuda": "13.0", "date": "2026-01-01"}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M2T_FAST_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("M2T_FAST_DEVICES", str(tmp_path / "devices"))
    document = tmp_path / "benchmarks.md"
    document.write_text((ROOT / "docs" / "benchmarks.md").read_text())
    monkeypatch.setattr(tables, "DOCUMENT", document)
    (tmp_path / "results").mkdir()
    (tmp_path / "devices").mkdir()
    return tmp_path


def record(device: str, way: str, section: str = "attention", row: dict[str, Any] = ROW, **values: Any) -> None:
    gpu_results.record(device, section, row, way, values, SOFTWARE)


def test_the_document_is_what_the_results_make_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("M2T_FAST_RESULTS")
    assert tables.document() == (ROOT / "docs" / "benchmarks.md").read_text(), "run python benchmarks/tables.py"


def test_another_section_or_way_costs_nothing_that_is_there() -> None:
    record("NVIDIA H100", "measured", "ceilings", {"ceiling": "bytes_per_s"}, value=3e12)
    record("NVIDIA H100", "cuda", call=[2.0, 1.9, 2.1])
    record("NVIDIA H100", "eager", call=[9.0, 8.9, 9.1])
    record("NVIDIA H100", "cuda", note="no time left")
    found = gpu_results.read(gpu_results.folder() / "nvidia_h100.json")
    assert found["sections"]["ceilings"][0]["ways"]["measured"] == {"value": 3e12}
    assert found["sections"]["attention"] == [
        {**ROW, "ways": {"cuda": {"call": [2.0, 1.9, 2.1]}, "eager": {"call": [9.0, 8.9, 9.1]}}}
    ]
    record("NVIDIA H100", "cuda", note="differs from float64")  # a finding, unlike the lack of time
    found = gpu_results.read(gpu_results.folder() / "nvidia_h100.json")
    assert found["sections"]["attention"][0]["ways"]["cuda"] == {"note": "differs from float64"}


def test_a_row_for_what_was_measured_and_a_set_of_columns_for_each_device() -> None:
    record("NVIDIA H100 80GB HBM3", "cuda", call=[2.0, 1.9, 2.1], replay=[1.0, 0.9, 1.1], tanh=2_000_000, bytes=10)
    record("NVIDIA H100 80GB HBM3", "eager", call=[9.0, 8.9, 9.1])
    record("NVIDIA H100 80GB HBM3", "measured", "ceilings", {"ceiling": "tanh_per_s_exact"}, value=4e9)
    other = {**ROW, "dtype": "bfloat16"}
    record("NVIDIA H100 80GB HBM3", "cuda", row=other, note="no time left")
    text = tables.table("attention", tables.devices())
    lines = text.splitlines()
    assert lines[0].startswith("NVIDIA H100 80GB HBM3, torch 2.11.0, Triton 3.6.0, 2026-01-01")
    assert lines[2].startswith("| sizes | scoring | dtype | triton ms | cuda ms | eager ms |")
    assert lines[4] == "| HumanML3D | part | float32 |  | 1.000 (call 2.000) | 9.000, 9.0x |  |  | 50% |  |"
    assert len(lines) == 5
    record("NVIDIA H200", "cuda", row=other, call=[0.5, 0.4, 0.6])
    lines = tables.table("attention", tables.devices()).splitlines()
    assert "| H100: cuda ms |" in lines[3] and "| H200: cuda ms |" in lines[3] and len(lines) == 7
    assert len({line.count("|") for line in lines[3:]}) == 1
    assert lines[6].startswith("| HumanML3D | part | bfloat16 |") and "| 0.500 |" in lines[6]


def test_decoding_and_guided_have_their_columns() -> None:
    row = {"sizes": "humanml3d", "motions": 4160, "beams": 2, "words": 20}
    record("d", "cuda", "decoding", row, call=[100.0, 99.0, 101.0])
    record("d", "PyTorch", "decoding", row, call=[250.0, 249.0, 251.0])
    record("d", "folded", "guided", call=[1.0, 1.0, 1.0], peak_bytes=3 << 20)
    record("d", "apart", "guided", call=[2.0, 2.0, 2.0], peak_bytes=7 << 20)
    assert "| 100.000 |  | 250.000, 2.5x |" in tables.table("decoding", tables.devices())
    assert "| 832,000 |" in tables.table("decoding", tables.devices())
    assert "| 1.000 | 2.000, 2.0x | 3 | 7 |" in tables.table("guided", tables.devices())


def trained(device: str, **ways: float) -> dict[str, Any]:
    made = {w: {"seconds_epoch": s, "samples_per_second": 1 / s, "buckets_timed": 1} for w, s in ways.items()}
    bucket = {"frames": 9, "words": 5, "batches": 2, "seconds": dict(ways)}
    data = {"data": "KIT-ML", "scoring": "part", "dtype": "float32", "ways": made, "notes": {}, "buckets": [bucket]}
    machine = {"device": device, "processor": "p", "threads": 1, "torch": "t", "m2t_fast": "0", "date": "now"}
    return {"machine": machine, "ways": {}, "data": [{**data, "seconds_full": {}, "epochs": 3}]}


def test_training_of_several_calls_is_merged() -> None:
    path = gpu_results.folder() / "train_card.json"
    gpu_results.merge_training(path, trained("card", ours=1.0, plain=4.0))
    gpu_results.merge_training(path, trained("card", ours=1.5, compile=3.0))
    (data,) = gpu_results.read(path)["data"]
    assert set(data["ways"]) == {"ours", "plain", "compile"} and data["ways"]["ours"]["seconds_epoch"] == 1.5
    assert data["buckets"][0]["seconds"] == {"ours": 1.5, "plain": 4.0, "compile": 3.0}
    rows = tables.training_table(tables.trainings()).splitlines()[4:]
    assert len(rows) == 3 and rows[0].endswith("|  |  |") and "| 2.7x |" in rows[1]  # no validation, no whole run


def test_what_another_processor_measured_is_not_kept_beside_it() -> None:
    path = gpu_results.folder() / "train_card.json"
    gpu_results.merge_training(path, trained("card", ours=1.0, plain=4.0))
    other = trained("card", ours=2.0)
    gpu_results.merge_training(path, {**other, "machine": {**other["machine"], "processor": "q"}})
    (data,) = gpu_results.read(path)["data"]
    assert set(data["ways"]) == {"ours"}


def test_an_archive_is_merged_and_the_document_written(elsewhere: Path, monkeypatch, capsys) -> None:
    record("NVIDIA H100", "eager", call=[9.0, 8.9, 9.1])
    work = elsewhere / "work"
    for name, text in (
        (
            "results/nvidia_h100.json",
            {"device": "NVIDIA H100", "sections": {"attention": [{**ROW, "ways": {"cuda": {"call": [1, 1, 1]}}}]}},
        ),
        ("results/train_nvidia_h100.json", trained("NVIDIA H100", ours=1.0)),
        ("devices/nvidia_h100.json", {"gate": {}}),
    ):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(json.dumps(text))
    gpu_archive.Archive(work, elsewhere / "out").publish()
    archive = elsewhere / "out" / gpu_archive.NAME
    monkeypatch.setattr("sys.argv", ["tables.py", "--merge", str(archive)])
    assert tables.main() == 0
    row = gpu_results.read(elsewhere / "results" / "nvidia_h100.json")["sections"]["attention"][0]
    assert set(row["ways"]) == {"eager", "cuda"} and (elsewhere / "devices" / "nvidia_h100.json").exists()
    text = (elsewhere / "benchmarks.md").read_text()
    assert "| HumanML3D | part | float32 |  | 1.000 | 9.000, 9.0x |" in text and "| KIT-ML | float32 | ours |" in text
    monkeypatch.setattr("sys.argv", ["tables.py", "--check"])
    assert tables.main() == 0
    (elsewhere / "benchmarks.md").write_text(text.replace("9.0x", "10.0x"))
    assert tables.main() == 1


@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_what_is_no_archive_is_one_line(elsewhere: Path, monkeypatch, capsys, content: bytes | None) -> None:
    path = elsewhere / "x.tar.gz"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr("sys.argv", ["tables.py", "--merge", str(path)])
    before = tables.DOCUMENT.read_text()
    assert tables.main() == 2 and capsys.readouterr().err.count("\n") == 1 and tables.DOCUMENT.read_text() == before


def test_results_that_cannot_be_read_are_replaced(elsewhere: Path) -> None:
    (elsewhere / "results" / "d.json").write_text("{cut sh")
    record("d", "cuda", call=[1.0, 1.0, 1.0])
    assert gpu_results.read(elsewhere / "results" / "d.json")["sections"]["attention"][0]["ways"]["cuda"]
