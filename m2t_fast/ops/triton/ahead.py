"""Compiles every kernel for GPUs that need not be present: ``python -m m2t_fast.ops.triton.ahead`` prints resources.

The launchers run on CPU tensors with launches recorded instead of executed, so what is compiled is what they launch.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from m2t_fast.kernels import devices
from m2t_fast.kernels.ceilings import repeat_tanh
from m2t_fast.ops.cases import AttentionCase, GateCase, GatherCase
from m2t_fast.ops.triton import attention, attention_with_loss, draws, gate, gate_with_loss, gather, launch
from m2t_fast.reference.draws import DrawsInputs

SHARED_MEMORY = {75: 64 * 1024, 80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024, 120: 99 * 1024}
"""Bytes of shared memory that one program may have, by compute capability."""
_POINTERS = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.int64: "*i64",
    torch.bool: "*i1",
}


class Launch(NamedTuple):
    """One recorded launch: a kernel, its arguments by name, and Triton's options."""

    label: str
    kernel: JITFunction
    arguments: dict[str, Any]
    options: dict[str, Any]


class Compiled(NamedTuple):
    """The resources of one kernel on one target."""

    label: str
    capability: int
    registers: int
    """32-bit registers per thread."""
    stack: int
    """Bytes of local memory per thread; a kernel that spills has some, ours otherwise none."""
    shared: int
    """Bytes of shared memory per program."""


def launches(table: str, dtype: torch.dtype, capability: int = 90) -> list[Launch]:
    """Every launch of every kernel at HumanML3D's sizes, in both scoring modes, with a device's configurations."""
    found: list[Launch] = []
    label = ""

    def record(self: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        names = self.arg_names
        arguments = {**dict(zip(names, args, strict=False)), **{k: v for k, v in kwargs.items() if k in names}}
        options = {k: v for k, v in kwargs.items() if k not in names}
        shown = " ".join(f"{k}={arguments[k]}" for k in ("S", "R", "EXACT", "BLOCK_L") if arguments.get(k) is not None)
        shown += " guided" if arguments.get("target") is not None else ""
        found.append(Launch(f"{label} {self.fn.__name__} {shown}".rstrip(), self, arguments, options))

    with recorded(record), launch.assuming(table, capability):
        for slots, mode in ((6, "part"), (1, "frame")):
            for words in (40, 1):
                label = f"{mode} L={words}"
                case = AttentionCase(B=1, T=2, L=words, S=slots, H=256, D=256)
                x, guided = case.record(dtype), case.guided(dtype)
                if words == 1:  # a step of a search
                    attention.spatio_temporal_context(x)
                    continue
                attention.spatio_temporal_attention_backward(attention.spatio_temporal_attention(x), x, None)
                attention_with_loss.guided_attention_backward(attention_with_loss.guided_attention(guided), guided)
        label = "gate"
        step = GateCase(B=1, L=40, H=256, C=256, E=128, D=256)
        made = gate.gated_decoder_step(step.record(dtype))
        gate.gated_decoder_step_backward(made, step.record(dtype), made)
        label = "draws"
        for rows in (None, torch.zeros(2, dtype=torch.int64)):
            draws.random_draws(DrawsInputs(torch.zeros(2, dtype=torch.int64), 2, 3, 128, 0.5, 0.5, rows, dtype))
        for standardise in (False, True):
            label = "gather standardised" if standardise else "gather"
            gather.gather_motions(GatherCase(J=22, T=100, standardise=standardise).record(dtype))
        outputs = gate_with_loss.guided_decoder_step(step.guided(dtype))
        gate_with_loss.guided_decoder_step_backward(outputs, step.guided(dtype), outputs)
        label = "ceiling"
        repeat_tanh[(1,)](torch.empty(1024), 512, BLOCK=1024, APPROXIMATE=dtype == torch.bfloat16)
    return found


@contextlib.contextmanager
def recorded(record: Any) -> Iterator[None]:
    """Inside the block a launch of any Triton kernel is a call of ``record``."""
    function: Any = JITFunction
    before, function.run = function.run, record
    try:
        yield
    finally:
        function.run = before


def build(launched: Launch, target: int | GPUTarget) -> Any:
    """Triton's own compiled kernel of one launch, for a compute capability (90: H100) or another target."""
    signature, constants, attributes = {}, {}, {}
    for i, parameter in enumerate(launched.kernel.params):
        value = launched.arguments[parameter.name]
        if parameter.is_constexpr or value is None:
            signature[parameter.name], constants[parameter.name] = "constexpr", value
        elif isinstance(value, Tensor):
            signature[parameter.name] = _POINTERS[value.dtype]
            attributes[(i,)] = [["tt.divisibility", 16]]
        else:
            whole = "i32" if abs(value) < 1 << 31 else "i64"
            signature[parameter.name] = "fp32" if isinstance(value, float) else whole
    source = ASTSource(fn=launched.kernel, signature=signature, constexprs=constants, attrs=attributes)
    if isinstance(target, int):
        target = GPUTarget("cuda", target, 32)
    options = {k: v for k, v in launched.options.items() if target.backend == "cuda" or k != "maxnreg"}
    return triton.compile(source, target=target, options=options)


def compile_for(launched: Launch, capability: int) -> Compiled:
    """The resources of one launch on an NVIDIA target."""
    built = build(launched, capability)
    registers, stack = _resources(built.asm["cubin"])
    return Compiled(launched.label, capability, registers, stack, built.metadata.shared)


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers and stack bytes of a kernel's machine code, as the disassembler in Triton's package reads them."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    if found is None:
        raise RuntimeError(f"{tool}: expected REG: and STACK: in {text!r}")
    return int(found[1]), int(found[2])


def compiled(
    capabilities: Sequence[int] = tuple(SHARED_MEMORY),
    tables: Sequence[str] | None = None,
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.bfloat16, torch.float16),
) -> Iterator[Compiled]:
    """Every different launch of every table (None: all that are listed), dtype and target."""
    for table in tables if tables is not None else [name for name in devices.tables() if name != "interpreter"]:
        for dtype in dtypes:
            for capability in capabilities:
                if capability < 80 and dtype == torch.bfloat16:
                    continue  # refused there: m2t_fast/ops/capability.py
                seen = set()
                for launched in launches(table, dtype, capability):
                    sizes = {k: v for k, v in launched.arguments.items() if not isinstance(v, Tensor)}
                    key = (
                        launched.kernel.fn.__name__,
                        *sorted((k, str(v)) for k, v in sizes.items() if k not in "TLN"),
                    )
                    if key in seen:
                        continue
                    seen.add(key)
                    short = str(dtype).removeprefix("torch.")
                    yield compile_for(launched._replace(label=f"{table} {short} {launched.label}"), capability)


def line(row: Compiled) -> str:
    """One row of the printed table."""
    sizes = f"{row.registers:4} registers {row.stack:4} B stack (spills) {row.shared:6} B shared"
    return f"sm_{row.capability:<4}{sizes}  {row.label}"


def main() -> int:
    """The command; exit code 1 if a kernel spills or takes more shared memory than its target has."""
    parser = argparse.ArgumentParser(prog="python -m m2t_fast.ops.triton.ahead", description=__doc__)
    parser.add_argument("--capability", type=int, action="append", choices=SHARED_MEMORY, help="default: all")
    arguments = parser.parse_args()
    failed = 0
    for row in compiled(arguments.capability or tuple(SHARED_MEMORY)):
        failed += row.stack > 0 or row.shared > SHARED_MEMORY[row.capability]
        print(line(row), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        raise SystemExit(main())
