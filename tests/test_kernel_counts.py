"""Instructions per tanh of the attention's inner loops have not grown by a fifth over docs/kernel_counts.json."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def counts() -> ModuleType:
    """docs/kernel_counts.py, where its disassembler is."""
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import kernel_counts
        import machine_code
    finally:
        sys.path.remove(str(ROOT / "docs"))
    if machine_code.tool() is None:
        pytest.skip("no cuobjdump: it comes with the package triton")
    return kernel_counts


def check(counts: ModuleType, rows: list) -> None:
    assert rows and all(row.stack == 0 for row in rows)
    assert not counts.grown(rows, counts.read_baseline())


def test_cuda(counts: ModuleType) -> None:
    built = counts.cuda_resources.extension()
    if built is None or shutil.which("c++filt") is None:
        pytest.skip("m2t_fast._native was built without CUDA, or there is no c++filt")
    known = counts.read_baseline()["nvcc"]
    if built.release != known:
        pytest.skip(f"nvcc {built.release} has other counts than nvcc {known}, of which the baseline is")
    rows = list(counts.cuda_rows(built, (90,)))
    check(counts, rows)
    pairs = {row.kernel.removeprefix("cuda attention_"): row.loops["pairs"] for row in rows if "pairs" in row.loops}
    staging = {row.kernel: row.loops["staging"] for row in rows if "staging" in row.loops}
    assert staging["cuda attention_scores<float, 6, 1, false>"].instructions <= 0.7
    assert staging["cuda attention_scores<bfloat16, 6, 1, false>"].instructions <= 0.4
    # What the sizes of a model launch, and what was aimed at.
    assert pairs["scores<float, 6, 1, false>"].instructions <= 4.3
    assert pairs["scores<float, 6, 1, true>"].instructions <= 5.8
    for dtype in ("bfloat16", "float"):  # the latter for float16
        assert pairs[f"scores_matrix<{dtype}, 6>"].instructions <= 4.2
    assert pairs["score_gradient<bfloat16, 16, 1>"].instructions <= 8.7
    assert pairs["score_gradient<float, 16, 1>"].instructions <= 8.8


@pytest.mark.slow
def test_triton(counts: ModuleType) -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed")
    known, found = counts.read_baseline()["triton"], importlib.metadata.version("triton")
    if found != known:
        pytest.skip(f"Triton {found} has other counts than Triton {known}, of which the baseline is")
    rows = list(counts.triton_rows((90,), ("float32",), ("score_tiles", "key_gradient")))
    check(counts, rows)
    assert all(row.loops["pairs"].shuffles == 0 for row in rows)


def test_a_count_that_has_grown_is_told(counts: ModuleType) -> None:
    made = counts.Count(10.0, 0.5, 0.0, 0.3, 0.0)
    rows = [counts.Row("k", 90, 100, 0, {"pairs": made})]
    before = {"k": {"sm_90": {"pairs": [10.0, 0.5, 0.0, 0.3, 0.0]}}}
    assert counts.grown(rows, before) == []
    before["k"]["sm_90"]["pairs"][0] = 8.0
    assert counts.grown(rows, before) == ["k for sm_90, pairs: 10.0 instructions a tanh, before 8.0"]
    assert "forms" in counts.grown(rows, {})[0]
