"""``m2t-fast validate``: every op, backend and dtype against the float64 reference, a line per op."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from m2t_fast.cli import options


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "validate",
        help="compare every op, backend and dtype with the float64 reference",
        description="Compares every op on every backend and in every dtype that can run here with the reference in "
        "float64, values and gradients, by the numerics policy. Exit code 1 if one is out of tolerance.",
    )
    options.add_backend(parser)
    options.add_device(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="every row, not one line per op")
    parser.add_argument("--json", action="store_true", help="one JSON object per row")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    import torch

    from m2t_fast.numerics import Row, validate
    from m2t_fast.ops.registry import BACKENDS, DEVICE_TYPES, available_backends, why_unavailable

    device = options.device(args.device)
    if args.backend in (None, "auto"):
        backends = [name for name in available_backends() if device.type in DEVICE_TYPES[name]]
    else:
        with options.backend(args.backend, device):
            backends = [args.backend]
    if not args.json:
        print(_environment(device))
        print(f"compared on {device}: {', '.join(backends)}")
        for name in BACKENDS:
            if name not in backends and args.backend in (None, "auto"):
                print(f"not compared: {name}: {why_unavailable(name) or f'it does not run on {device.type} tensors'}")
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the cases are small: threads would only wait for each other
    rows: list[Row] = []
    total = failed = 0
    try:
        for row in validate(backends, device=str(device)):
            total += 1
            failed += not row.passed
            if args.json:
                print(json.dumps({**row._asdict(), "passed": row.passed}))
                continue
            if rows and rows[-1].op != row.op:
                _tell(rows, args.verbose)
                rows = []
            rows.append(row)
    finally:
        torch.set_num_threads(before)
    if not args.json:
        _tell(rows, args.verbose)
        print(f"{total - failed} of {total} within tolerance; the output or gradient nearest to its own is named")
    return 1 if failed else 0


def _environment(device: Any) -> str:
    """What the errors may depend on, in one line."""
    import torch

    from m2t_fast import native, threads
    from m2t_fast._version import __version__

    processor = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else " ".join(native.build_info().get("cpu", ["no extension"]))
    )
    return f"m2t_fast {__version__}, torch {torch.__version__}, {processor}, waiting threads: {threads.wait_policy()}"


def _tell(rows: list[Any], every: bool) -> None:
    """Prints one line for the rows of an op, or every row; those out of tolerance in any case."""
    for row in rows:
        if every or not row.passed:
            verdict = "ok" if row.passed else "OUT OF TOLERANCE"
            print(
                f"{row.op:26} {row.case:16} {row.backend:10} {row.dtype:9} {row.worst:20} "
                f"error {row.error:8.1e}  allowed {row.allowed:8.1e}  {verdict}"
            )
    if every or not rows:
        return
    worst = max(rows, key=_share)
    passed = sum(row.passed for row in rows)
    where = f"{worst.worst} of {worst.case}, {worst.backend} {worst.dtype}"
    print(
        f"{worst.op:26} {passed:3} of {len(rows):3} ok, at most {_share(worst):4.0%} of the tolerance: {where}",
        flush=True,
    )


def _share(row: Any) -> float:
    """The error as a share of what is allowed; NaN is the worst."""
    if row.error == 0:
        return 0.0
    share = row.error / row.allowed if row.allowed else math.inf
    return math.inf if math.isnan(share) else share
