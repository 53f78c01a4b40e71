"""Counts the inner loops of every attention kernel in its machine code.

python docs/kernel_counts.py [--check] [--target 90]

Disassembles the extension and the Triton kernels, which it compiles for every target, and writes the tables of
docs/kernels-counted.md and docs/kernel_counts.json, with which tests/test_kernel_counts.py compares. No GPU is asked.
What follows for the time of a launch kernel_times.py predicts. Needs m2t_fast built with its CUDA kernels, c++filt,
and the package triton, which carries the disassembler.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import cuda_resources  # noqa: E402
from machine_code import Function, Loop, disassemble, disassemble_cubin, resources  # noqa: E402

BASELINE = ROOT / "docs" / "kernel_counts.json"
MARKS = "<!-- counts -->", "<!-- end of counts -->"
TARGETS = (80, 90, 100)
CUDA_KERNELS = ("attention_scores", "attention_scores_matrix", "attention_score_gradient")
"""The CUDA kernels that make tanh,"""
STAGED = {"attention_scores": 32, "attention_scores_matrix": 16}
"""Keys of a tile with 24 words, of those that make exponentials of both in tiles: csrc/cuda/attention_scores.h."""
KERNELS = ("score_tiles", "score_rows", "query_gradient", "query_gradient_rows", "key_gradient", "key_gradient_rows")
"""and the Triton kernels that do."""
UNROLLED = {"query_gradient": 2, "key_gradient": 2}
"""Turns of the source in one of the machine code's, where pairs serve."""


class Count(NamedTuple):
    """A loop's instructions per tanh."""

    instructions: float
    special: float
    """On the special-function unit, which takes 8 cycles for one of a warp."""
    shuffles: float
    shared: float
    """Reads and writes of shared memory."""
    device: float
    """Reads and writes of device memory."""

    @property
    def cycles(self) -> float:
        """What a warp's tanh takes of one of the four schedulers of a multiprocessor, at least."""
        return max(self.instructions, 8 * self.special)


def tanh_in(loop: Loop) -> int:
    """How many tanh one turn of a loop makes.

    The hardware's instruction makes one. A reciprocal makes one where each has its exponential beside it; without
    exponentials of its own, or with fewer (of a tile's keys and queries), it serves the fractions of two.
    """
    if tanh := loop.named("MUFU.TANH"):
        return tanh
    reciprocals = loop.named("MUFU.RCP")
    return reciprocals if loop.named("MUFU.EX2") >= reciprocals else 2 * reciprocals


def count(loop: Loop, tanh: int) -> Count:
    """Per tanh, what the loop itself holds."""
    return Count(
        *(round(n / tanh, 2) for n in (len(loop.own), *map(loop.count, ("special", "shuffle", "shared", "global"))))
    )


def of_function(function: Function, known: int = 0, unrolled: int = 1) -> dict[str, Count]:
    """The fastest of a kernel's loops over tanh, by form: ``pairs``, ``each`` (a reciprocal or instruction a tanh).

    ``known`` tanh a turn of a thread's loop over pairs, where the sizes say so: what threads make twice counts once.
    The compiler made one turn of ``unrolled`` ones of that loop.
    """
    found: dict[str, Count] = {}
    for loop in function.loops():
        if tanh_in(loop) < 4 or loop.count("special") > 3 * tanh_in(loop):
            continue
        if 2 * loop.named("MUFU.RCP") < known:  # of a program with fewer words or keys left than it has room for
            continue
        # A tanh at a time, where pairs do not serve.
        polynomial = known > 0 and loop.named("MUFU.RCP") >= known
        polynomial &= unrolled == 1 or loop.named("MUFU.EX2") >= loop.named("MUFU.RCP")
        pairs = not loop.named("MUFU.TANH") and loop.named("MUFU.EX2") < loop.named("MUFU.RCP") or known > 0
        form = "each" if polynomial or not pairs else "pairs"
        turns = max(1, min(unrolled, 2 * loop.named("MUFU.RCP") // known)) if known else 1  # the last, odd one: 1
        made = count(loop, known * turns if form == "pairs" and known else tanh_in(loop))
        if form not in found or made.instructions < found[form].instructions:
            found[form] = made
    return found


def staging(function: Function, keys: int, words: int) -> Count | None:
    """What making the exponentials of a tile of keys and of words takes, per tanh of the tile; None where that is none.

    A turn of a loop makes those of four numbers of as many rows as a thread has in the tile, each row in one access.
    """
    rows = {keys // 8: words, words // 8: keys}
    found = {}
    for loop in function.loops():
        turn = loop.named("STS.128")
        if turn in rows and loop.named("MUFU.EX2") == 4 * turn and not loop.named("MUFU.RCP"):
            found[turn] = count(loop, 4 * turn * rows[turn])
    return Count(*(round(sum(x), 2) for x in zip(*found.values(), strict=True))) if len(found) == len(rows) else None


class Row(NamedTuple):
    """One kernel for one target."""

    kernel: str
    target: int
    registers: int
    stack: int
    loops: dict[str, Count]
    """By form, as ``of_function`` finds them, and ``staging``."""
    shared: int = 0
    """Bytes of shared memory that a block takes, where that is known before the launch."""


def cuda_rows(built: cuda_resources.Extension, targets: tuple[int, ...] = TARGETS) -> Iterator[Row]:
    """The CUDA kernels that make tanh, as the extension holds them."""
    for target in targets:
        names = cuda_resources.readable(resources(built.path, target))
        names = {symbol: name.replace("_kernel", "") for symbol, name in names.items()}
        wanted = [symbol for symbol, name in names.items() if name.split("<")[0] in CUDA_KERNELS]
        for made in disassemble(built.path, target, wanted):
            name = names[made.symbol]
            loops = of_function(made)
            staged = staging(made, STAGED[name.split("<")[0]], 24) if re.search(r"<(\w+, )?6[,>]", name) else None
            if staged is not None and "pairs" in loops:
                loops["staging"] = staged
            yield Row(f"cuda {name}", target, made.registers, made.stack, loops)


def triton_label(name: str, arguments: Mapping[str, Any], dtype: str) -> str:
    """What the tables call a Triton kernel launched with these arguments."""
    sizes = {k: arguments[k] for k in ("S", "R", "EXACT") if arguments.get(k) is not None}
    return f"triton {name}<{dtype}{''.join(f', {k}={v}' for k, v in sizes.items())}>"


def triton_rows(
    targets: tuple[int, ...] = TARGETS,
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float16"),
    kernels: tuple[str, ...] = KERNELS,
) -> Iterator[Row]:
    """The Triton kernels at HumanML3D's sizes, with the default configurations."""
    import torch

    from m2t_fast.kernels import devices
    from m2t_fast.ops.triton import ahead

    for short in dtypes:
        seen = set()
        for launched in ahead.launches(devices.DEFAULT, getattr(torch, short)):
            name = launched.kernel.fn.__name__
            label = triton_label(name, launched.arguments, short)
            # float16 has float32's kernels, but for the one whose sums it leaves to the matrix units.
            if name not in kernels or label in seen or (short == "float16" and name != "score_rows"):
                continue
            seen.add(label)
            for target in targets:
                built = ahead.build(launched, target)
                (function,) = disassemble_cubin(built.asm["cubin"])
                of = launched.arguments
                tile = of.get("BLOCK_L", 1) * of.get("GROUPS", 1) * of.get("BLOCK_N", 1) * 2 * of["BLOCK_D"]
                known = tile // (32 * launched.options["num_warps"])
                loops, shared = of_function(function, known, UNROLLED.get(name, 1)), built.metadata.shared
                yield Row(label, target, function.registers, function.stack, loops, shared)


def baseline(rows: list[Row], release: str) -> dict[str, Any]:
    """What the JSON file holds: compilers; by kernel and target the counts by form, registers and shared memory."""
    found: dict[str, Any] = {"nvcc": release, "triton": importlib.metadata.version("triton")}
    for row in rows:
        if row.loops:
            taken = {"registers": row.registers, "shared": row.shared}
            found.setdefault(row.kernel, {})[f"sm_{row.target}"] = {**row.loops, **taken}
    return found


def grown(rows: list[Row], before: dict[str, Any], factor: float = 1.2) -> list[str]:
    """What takes more instructions, special-function operations or shuffles than before times a factor, in words."""
    found = []
    for row in rows:
        known = dict(before.get(row.kernel, {}).get(f"sm_{row.target}", {}))
        for taken in ("registers", "shared"):
            known.pop(taken, None)
        if set(known) != set(row.loops):
            found.append(f"{row.kernel} for sm_{row.target}: forms {sorted(row.loops)}, before {sorted(known)}")
            continue
        for form, now in row.loops.items():
            then = Count(*known[form])
            for name in ("instructions", "special", "shuffles"):
                if getattr(now, name) > factor * getattr(then, name) + 0.01:
                    values = f"{getattr(now, name)} {name} a tanh, before {getattr(then, name)}"
                    found.append(f"{row.kernel} for sm_{row.target}, {form}: {values}")
    return found


def table(rows: list[Row], target: int = 90) -> str:
    """The table of the docs, for one target."""
    lines = [
        f"| per tanh, sm_{target} | form | instructions | special | shuffles | shared | device | cycles | registers |",
        f"| --- | --- |{' --- |' * 7}",
    ]
    for row in sorted(rows):
        for form, made in sorted(row.loops.items(), reverse=True):
            if row.target == target:
                numbers = " | ".join(f"{x:.2f}" for x in (*made, made.cycles))
                lines.append(f"| `{row.kernel}` | {form} | {numbers} | {row.registers} |")
    return "\n".join(lines) + "\n"


def read_baseline() -> dict[str, Any]:
    """The counts that the tests compare with."""
    return json.loads(BASELINE.read_text(encoding="utf-8"))


def in_document() -> str:
    """The table that stands in docs/kernels-counted.md."""
    return cuda_resources.DOCUMENT.read_text(encoding="utf-8").split(MARKS[0] + "\n")[1].split(MARKS[1])[0]


def main() -> int:
    """Compiles, counts, prints, writes; 1 where a count has grown by a fifth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--target", type=int, action="append", choices=TARGETS, help="default: all")
    options = parser.parse_args()
    built = cuda_resources.extension()
    if built is None:
        print("m2t_fast was built without its CUDA kernels", file=sys.stderr)
        return 2
    targets = tuple(options.target or TARGETS)
    rows = [*cuda_rows(built, targets), *triton_rows(targets)]
    for target in targets:
        print(table(rows, target))
    if not options.check and targets == TARGETS:
        text = json.dumps(baseline(rows, built.release), sort_keys=True).replace("}}, ", "}},\n")
        BASELINE.write_text(text + "\n", encoding="utf-8")
        cuda_resources.replace_in_document(MARKS, table(rows))
        return 0
    worse = grown(rows, read_baseline())
    print(*worse, sep="\n", file=sys.stderr)
    return int(bool(worse))


if __name__ == "__main__":
    sys.exit(main())
