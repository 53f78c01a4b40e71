"""NVIDIA machine code as cuobjdump prints it: functions, their loops, and what a loop's instructions are.

What `kernel_counts.py` counts with. It knows nothing of this project's kernels.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_FUNCTION = re.compile(r"\s*Function : (\S+)")
_LINE = re.compile(r"\s+/\*(?P<at>[0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?(?P<name>[A-Z][\w.]*)\s*(?P<rest>[^;]*);")
_USAGE = re.compile(r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")
_GROUPS = {
    "special": ("MUFU",),
    "shuffle": ("SHFL", "REDUX"),
    "shared": ("LDS", "LDSM", "STS", "STSM", "ATOMS"),
    "global": ("LDG", "STG", "LD", "ST", "LDGSTS", "RED", "ATOM", "ATOMG"),
    "matrix": ("HMMA", "HGMMA", "UTCHMMA"),
    "local": ("LDL", "STL"),
}


class Instruction(NamedTuple):
    """One instruction: its address, its full name (``MUFU.RCP``), and where it jumps to, if it does."""

    at: int
    name: str
    target: int | None


class Loop(NamedTuple):
    """The instructions from a loop's head to its jump back, without those of loops inside it."""

    own: list[Instruction]
    inside: list[tuple[int, int]]
    """Heads and ends of the loops directly or indirectly inside."""

    def count(self, group: str) -> int:
        """How many instructions belong to a group: special, shuffle, shared, global, matrix, local."""
        return sum(x.name.split(".")[0] in _GROUPS[group] for x in self.own)

    def named(self, name: str) -> int:
        """How many instructions have this name, ``MUFU.RCP``, or one that goes on after it with a dot."""
        return sum(x.name == name or x.name.startswith(name + ".") for x in self.own)


class Function(NamedTuple):
    """A kernel: its symbol, its instructions in the order of their addresses, registers of a thread, bytes of stack."""

    symbol: str
    code: list[Instruction]
    registers: int
    stack: int

    def loops(self) -> list[Loop]:
        """Every loop: a jump back, to any address but the jump's own."""
        ends: dict[int, int] = {}
        for x in self.code:
            if x.target is not None and x.target < x.at:
                ends[x.target] = max(ends.get(x.target, 0), x.at)
        found = []
        for head, end in sorted(ends.items()):
            inside = [(h, e) for h, e in ends.items() if (head <= h and e <= end) and (h, e) != (head, end)]
            own = [x for x in self.code if head <= x.at <= end and not any(h <= x.at <= e for h, e in inside)]
            found.append(Loop(own, inside))
        return found


def tool() -> Path | None:
    """cuobjdump: the one in Triton's package."""
    try:
        import triton
    except ImportError:
        return None
    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    return path if path.exists() else None


class Resources(NamedTuple):
    """What a kernel takes: registers of a thread; bytes of its stack, of shared memory, and of spilled registers."""

    registers: int
    stack: int
    shared: int
    local: int

    @property
    def spilled(self) -> bool:
        """Whether a thread keeps values in device memory."""
        return self.stack > 0 or self.local > 0


def resources(file: Path, target: int | None = None) -> dict[str, Resources]:
    """By symbol, what the kernels of a cubin, or of a library for one target, take.

    Raises:
        RuntimeError: there is no cuobjdump, or it refuses the file; with its output.
    """
    lines = _USAGE.findall(_dump(file, "res-usage", target))
    return {symbol: Resources(*map(int, numbers)) for symbol, *numbers in lines}


def disassemble(file: Path, target: int | None = None, symbols: Sequence[str] = ()) -> list[Function]:
    """The kernels of a cubin, or of a library for one target; with ``symbols`` those alone.

    Raises:
        RuntimeError: there is no cuobjdump, or it refuses the file; with its output.
    """
    taken = resources(file, target)
    found: dict[str, list[Instruction]] = {}
    code: list[Instruction] = []
    for line in _dump(file, "sass", target, symbols).splitlines():
        if started := _FUNCTION.match(line):
            code = found.setdefault(started[1], [])
        elif match := _LINE.match(line):
            jump = re.search(r"0x([0-9a-f]+)\s*$", match["rest"]) if match["name"].startswith(("BRA", "BRX")) else None
            code.append(Instruction(int(match["at"], 16), match["name"], int(jump[1], 16) if jump else None))
    return [Function(symbol, code, taken[symbol].registers, taken[symbol].stack) for symbol, code in found.items()]


def disassemble_cubin(cubin: bytes) -> list[Function]:
    """The kernels of a cubin in memory."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return disassemble(Path(file.name))


def _dump(file: Path, what: str, target: int | None, symbols: Sequence[str] = ()) -> str:
    program = tool()
    if program is None:
        raise RuntimeError("no cuobjdump: expected it in the package triton")
    of_target = () if target is None else ("-arch", f"sm_{target}")
    of_symbols = ("-fun", ",".join(symbols)) if symbols else ()
    return _run([str(program), *of_target, *of_symbols, f"-{what}", str(file)])


def _run(command: Sequence[str]) -> str:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {run.stdout}{run.stderr}")
    return run.stdout


def names(loop: Loop) -> Counter[str]:
    """How often each instruction stands in a loop, by the first part of its name."""
    return Counter(x.name.split(".")[0] for x in loop.own)
