"""The Python around every launch, without a GPU: Triton's own runtime with a driver and a compiler that stand in.

What the driver is told to run is recorded: grids, pointers, and how often a kernel would be compiled. On torch's meta
device the same launchers show what they would do at any size, and that nothing goes to or comes from the host.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

import triton.compiler
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from m2t_fast import Captioner, CaptionerConfig, use_backend
from m2t_fast.captioner import Draws
from m2t_fast.data.batches import Batch
from m2t_fast.kernels import devices
from m2t_fast.ops.cases import AttentionCase, GateCase
from m2t_fast.ops.triton import attention, attention_with_loss, draws, gate, gate_with_loss, gather, launch
from m2t_fast.records import converted
from m2t_fast.reference.attention_with_loss import GuidedAttentionInputs
from m2t_fast.reference.draws import DrawsInputs
from m2t_fast.reference.gate_with_loss import GuidedGateInputs
from m2t_fast.reference.gather import GatherInputs

KERNELS = set(devices.table(devices.DEFAULT))
_device = itertools.count(1000)  # kernels are cached by device: every test has its own


class Launch(NamedTuple):
    """What the driver was told to run."""

    kernel: str
    grid: tuple[int, int, int]
    arguments: dict[str, Any]


class Runtime(NamedTuple):
    """The launches, and what would have been compiled for them."""

    launches: list[Launch]
    compiled: list[Any]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """Triton's runtime, with a driver of an H100 and a compiler that only take notes."""
    notes = Runtime([], [])

    def compile(src: Any, target: GPUTarget, options: dict[str, Any], **rest: Any) -> SimpleNamespace:
        notes.compiled.append((src, options))

        def run(x: int, y: int, z: int, stream: int, function: Any, metadata: Any, *hooks_and_arguments: Any) -> None:
            assert stream == 77
            arguments = dict(zip(src.fn.arg_names, hooks_and_arguments[3:], strict=True))
            notes.launches.append(Launch(src.fn.fn.__name__, (x, y, z), arguments))

        return SimpleNamespace(run=run, function=0, packed_metadata=(), launch_metadata=lambda *arguments: None)

    device = next(_device)
    stand_in = SimpleNamespace(
        get_current_target=lambda: GPUTarget("cuda", 90, 32),
        get_current_device=lambda: device,
        get_current_stream=lambda device: 77,
    )
    monkeypatch.setattr(triton.compiler, "compile", compile)
    monkeypatch.setattr(driver, "_active", stand_in)
    monkeypatch.setattr(launch, "assumed", "default")
    yield notes


def of_cases(case: AttentionCase, step: GateCase, dtype: torch.dtype) -> tuple[Any, Any]:
    """The inputs of both guided ops, by name."""
    return case.guided(dtype), step.guided(dtype)


def on_meta(case: AttentionCase, step: GateCase, dtype: torch.dtype) -> tuple[Any, Any]:
    """Inputs of any size, which hold nothing."""
    small = dict(B=11, T=13, L=17)
    found = []
    for large in (case, step):
        sizes = {name: size for name, size in small.items() if hasattr(large, name)}
        real = {size: getattr(large, name) for name, size in sizes.items()}

        def empty(x: Tensor, real: dict[int, int] = real) -> Tensor:
            return torch.empty([real.get(n, n) for n in x.shape], dtype=x.dtype, device="meta")

        found.append(converted(dataclasses.replace(large, **sizes).guided(dtype), empty))
    return found[0], found[1]


def every_launcher(guided: Any, guided_step: Any) -> list[Tensor]:
    """Calls all launchers, forward and backward; everything that they return."""
    x, step = GuidedAttentionInputs.of(guided), GuidedGateInputs.of(guided_step)
    out = attention.spatio_temporal_attention(x)
    found = [*out, attention.spatio_temporal_context(x)]
    found += attention.spatio_temporal_attention_backward(out, x, None).values()
    seen = attention_with_loss.guided_attention(guided)
    found += [*seen, *attention_with_loss.guided_attention_backward(seen, guided).values()]
    made = gate.gated_decoder_step(step)
    found += [*made, *gate.gated_decoder_step_backward(made, step, made).values()]
    said = gate_with_loss.guided_decoder_step(guided_step)
    found += [*said, *gate_with_loss.guided_decoder_step_backward(said, guided_step, said).values()]
    batch, words, channels = step.word.shape
    state = step.word.new_zeros(2, dtype=torch.int64)
    found += draws.random_draws(DrawsInputs(state, batch, words, channels, 0.5, 0.5, None, step.word.dtype))
    frames, offsets = step.word.new_empty(50, 22, 3), state.new_zeros(batch + 1)
    return [*found, gather.gather_motions(GatherInputs(frames, offsets, offsets[:batch].clone(), 30))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_every_kernel_is_launched_with_what_it_can_take(runtime: Runtime, dtype: torch.dtype) -> None:
    for slots in (1, 6):
        every_launcher(*of_cases(AttentionCase(S=slots, B=3, T=37, L=5, H=24, D=40), GateCase(), dtype))
    assert {made.kernel for made in runtime.launches} == KERNELS
    for made in runtime.launches:
        assert all(isinstance(n, int) and n > 0 for n in made.grid), made
        for name, value in made.arguments.items():
            if isinstance(value, Tensor):
                assert value.is_contiguous(), (made.kernel, name)
                assert value.dtype in (dtype, torch.float32, torch.int64, torch.bool), (made.kernel, name, value.dtype)
    for source, options in runtime.compiled:
        assert options["enable_fp_fusion"] and options["maxnreg"] == 255
        # No number of a batch is compiled in, and every pointer is known to be aligned.
        for i, name in enumerate(source.fn.arg_names):
            if name in ("T", "L", "N", "COUNT"):
                assert source.signature[name] == "i32" and (i,) not in source.attrs
            if source.signature[name].startswith("*"):
                assert ["tt.divisibility", 16] in source.attrs[(i,)], (source.fn.fn.__name__, name)


def test_other_numbers_of_motions_frames_and_words_compile_nothing_again(runtime: Runtime) -> None:
    for first, (batch, frames, words) in enumerate([(2, 37, 8), (1, 1, 8), (3, 16, 24), (16, 48, 13)]):
        inputs = of_cases(AttentionCase(B=batch, T=frames, L=words), GateCase(B=batch, L=words), torch.float32)
        every_launcher(*inputs)
        if not first:
            known = len(runtime.compiled)
    assert len(runtime.compiled) == known


def test_a_folded_loss_costs_no_launch(runtime: Runtime) -> None:
    guided, guided_step = of_cases(AttentionCase(S=6), GateCase(), torch.float32)
    x, step = GuidedAttentionInputs.of(guided), GuidedGateInputs.of(guided_step)

    def launched(forward: Any, backward: Any) -> list[str]:
        runtime.launches.clear()
        backward(forward())
        return [made.kernel for made in runtime.launches]

    apart = launched(
        lambda: attention.spatio_temporal_attention(x),
        lambda out: attention.spatio_temporal_attention_backward(out, x, None),
    )
    assert apart == launched(
        lambda: attention_with_loss.guided_attention(guided),
        lambda out: attention_with_loss.guided_attention_backward(out, guided),
    )
    apart = launched(
        lambda: gate.gated_decoder_step(step),
        lambda out: gate.gated_decoder_step_backward(out, step, out),
    )
    assert apart == launched(
        lambda: gate_with_loss.guided_decoder_step(guided_step),
        lambda out: gate_with_loss.guided_decoder_step_backward(out, guided_step, out),
    )


def test_what_the_tensors_hold_changes_no_launch(runtime: Runtime) -> None:
    """A captured graph repeats the launches of the inputs that it was captured with."""
    inputs = of_cases(AttentionCase(S=6), GateCase(), torch.float32)
    seen = []
    for fill in (None, 0, 1):
        runtime.launches.clear()
        every_launcher(*(converted(x, lambda v: v if fill is None else torch.full_like(v, fill)) for x in inputs))  # noqa: B023
        seen.append([(made.kernel, made.grid) for made in runtime.launches])
    assert seen[0] == seen[1] == seen[2]


def test_no_gpu_is_asked_anything_at_import() -> None:
    modules = [f"m2t_fast.ops.triton.{name}" for name in ("ahead", "attention", "gate", "launch", "tune")]
    modules += [f"m2t_fast.kernels.{name}" for name in ("ceilings", "devices")]
    script = f"""
import importlib, torch
from triton.runtime import driver
def refuse(*arguments, **options):
    raise AssertionError("asked at import")
for name in ("is_available", "device_count", "get_device_name", "get_device_capability", "_lazy_init"):
    setattr(torch.cuda, name, refuse)
type(driver).active = property(refuse)
for name in ["m2t_fast", *{modules!r}]:
    importlib.import_module(name)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


class NothingFromTheHost(TorchDispatchMode):
    """Fails where a tensor of the host meets one of the device; reading one fails on the meta device by itself."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, out)) if isinstance(x, Tensor)]
        assert len({x.device.type for x in tensors}) <= 1, (str(function), [(x.device, x.shape) for x in tensors])
        return out


@pytest.fixture
def grids(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, ...]]]:
    """The kernels and grids of launches on the meta device, which no runtime takes."""
    found: list[tuple[str, tuple[int, ...]]] = []

    def record(self: JITFunction, *args: Any, grid: tuple[int, ...], warmup: bool, **kwargs: Any) -> None:
        assert all(x.device.type == "meta" for x in args if isinstance(x, Tensor))
        found.append((self.fn.__name__, grid))

    monkeypatch.setattr(JITFunction, "run", record)
    monkeypatch.setattr(launch, "assumed", "default")
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_no_launcher_moves_anything_between_host_and_device(grids: list, dtype: torch.dtype) -> None:
    outputs = []
    for slots in (1, 6):
        inputs = on_meta(AttentionCase(S=slots, B=128, T=100, L=23, H=256, D=256), GateCase(B=128, L=23), dtype)
        with NothingFromTheHost():
            outputs += every_launcher(*inputs)
    assert all(x.device.type == "meta" for x in outputs) and {kernel for kernel, _ in grids} == KERNELS


@pytest.mark.parametrize("S", [1, 6])
def test_grids_stay_within_what_a_device_takes(grids: list, S: int) -> None:
    every_launcher(
        *on_meta(AttentionCase(S=S, B=20_000, T=500, L=60, H=2048, D=2048), GateCase(B=20_000), torch.float32)
    )
    assert max(grid[0] for _, grid in grids) > 65_535
    for kernel, grid in grids:
        assert grid[0] < 2**31 and all(n <= 65_535 for n in grid[1:]), (kernel, grid)


@pytest.mark.parametrize("scoring", ["part", "frame"])
def test_a_guided_step_neither_waits_for_the_device_nor_copies_to_it(scoring: str) -> None:
    """Everything around the ops, as a CUDA graph holds it: decoder, losses, gradients, clipping."""
    model = Captioner(CaptionerConfig.kit(vocab_size=50, scoring=scoring)).to("meta")
    batch, frames, words = 4, 30, 9
    motion = torch.empty(batch, frames, 21, 3, device="meta")
    lengths = torch.empty(batch, dtype=torch.int64, device="meta")
    tokens = torch.empty(batch, words + 1, dtype=torch.int64, device="meta")
    gate_target, spatial_target = motion.new_empty(batch, words), motion.new_empty(batch, words, 6)
    masks = motion.new_empty(2, batch, words, model.config.embedding_dim).unbind(0)
    with use_backend("reference"), NothingFromTheHost():
        draws = Draws(None, (masks[0], masks[1]))
        samples = torch.empty(batch, dtype=torch.int64, device="meta")
        sample = Batch(motion, lengths, tokens, gate_target, spatial_target, samples)
        model.losses(sample, draws, folded=True).weighted(2.0, 3.0).total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in model.parameters())
