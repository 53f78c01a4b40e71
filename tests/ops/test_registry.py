"""Choosing backends: by name, by environment, and what an unknown or absent one says."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import torch

from m2t_fast import Captioner, CaptionerConfig, available_backends, use_backend
from m2t_fast.ops import registry


def test_reference_is_always_available():
    assert "reference" in available_backends()
    assert set(available_backends()) <= set(registry.BACKENDS)


@pytest.mark.parametrize("name", ["", "Reference", "gpu", "none"])
def test_an_unknown_backend_is_a_value_error_that_lists_the_known(name):
    with pytest.raises(ValueError, match="expected one of reference, cpu, triton, cuda, auto"), use_backend(name):
        pass


def test_a_backend_that_cannot_run_says_why():
    absent = [name for name in registry.BACKENDS if name not in available_backends()]
    for name in absent:
        with pytest.raises(RuntimeError, match=f"backend '{name}' cannot run here: ."), use_backend(name):
            pass


def test_use_backend_nests_and_restores():
    before = registry.chosen_backend()
    with use_backend("auto"):
        with use_backend("reference"):
            assert registry.chosen_backend() == "reference"
        assert registry.chosen_backend() == "auto"
    assert registry.chosen_backend() == before


def test_use_backend_restores_after_an_error():
    before = registry.chosen_backend()
    with pytest.raises(KeyError), use_backend("reference"):
        raise KeyError
    assert registry.chosen_backend() == before


def test_auto_runs_every_op_on_the_cpu():
    for op in ("spatio_temporal_attention", "gated_decoder_step", "part_encoder"):
        assert registry.resolve(op, "auto", "cpu") in available_backends()


def test_auto_takes_what_the_counts_say_and_says_so(monkeypatch):
    """CUDA before Triton for attention, where both can run; Triton alone is no reason to say anything."""
    monkeypatch.setattr(registry, "why_unavailable", lambda name: None)
    monkeypatch.setitem(registry.DEVICE_TYPES, "triton", ("cuda",))
    known = {"triton": {"spatio_temporal_attention", "gated_decoder_step"}}
    known["cuda"] = known["triton"]
    can_run = {"triton", "cuda"}

    def kernels(name, op):
        return object() if name in can_run and op in known[name] else None

    monkeypatch.setattr(registry, "_kernels", kernels)
    registry.resolve.cache_clear()
    try:
        assert registry.resolve("spatio_temporal_attention", "auto", "cuda") == "cuda"
        assert "fewer instructions" in (registry.why_first("spatio_temporal_attention", "cuda") or "")
        assert registry.resolve("gated_decoder_step", "auto", "cuda") == "triton"
        assert registry.why_first("gated_decoder_step", "cuda") is None
        can_run.remove("cuda")
        registry.resolve.cache_clear()
        assert registry.resolve("spatio_temporal_attention", "auto", "cuda") == "triton"
        assert registry.why_first("spatio_temporal_attention", "cuda") is None
    finally:
        registry.resolve.cache_clear()


@pytest.mark.parametrize("op", ["search", "sample_words"])
def test_auto_decodes_on_cuda_where_triton_has_no_decoder(monkeypatch, op):
    monkeypatch.setattr(registry, "why_unavailable", lambda name: None)
    monkeypatch.setitem(registry.DEVICE_TYPES, "triton", ("cuda",))
    registry.resolve.cache_clear()
    try:
        assert registry.resolve(op, "auto", "cuda") == "cuda"
        assert registry.resolve(op, "triton", "cuda") == "reference"
    finally:
        registry.resolve.cache_clear()


@pytest.mark.parametrize(("value", "message"), [("nonsense", "unknown backend"), ("cuda", "cannot run|does not run")])
def test_the_environment_variable_is_checked_at_the_first_op(value, message):
    if value in available_backends():
        pytest.skip(f"backend {value} can run here")
    code = (
        "import torch, m2t_fast\n"
        "m = m2t_fast.Captioner(m2t_fast.CaptionerConfig(vocab_size=5, joints=21))\n"
        "m(torch.zeros(1, 2, 21, 3), torch.tensor([2]), torch.ones(1, 3, dtype=torch.int64))\n"
    )
    environment = {**os.environ, "M2T_FAST_BACKEND": value}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode != 0
    assert re.search(message, result.stderr.splitlines()[-1]), result.stderr


def test_a_gradient_runs_on_the_backend_of_its_forward_pass():
    x = torch.ones(1, 2, 21, 3)
    model = Captioner(CaptionerConfig(vocab_size=5, joints=21))
    with use_backend("reference"):
        out = model(x, torch.tensor([2]), torch.ones(1, 3, dtype=torch.int64))
    out.logits.sum().backward()  # outside the block
    assert model.output.weight.grad is not None
