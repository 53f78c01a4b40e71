"""``m2t-fast validate``: every op, backend and dtype against the float64 reference, as a table."""

from __future__ import annotations

import argparse
import json
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
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from m2t_fast.numerics import validate
    from m2t_fast.ops.registry import DEVICE_TYPES, available_backends

    device = options.device(args.device)
    if args.backend in (None, "auto"):
        backends = [name for name in available_backends() if device.type in DEVICE_TYPES[name]]
    else:
        with options.backend(args.backend, device):
            backends = [args.backend]
    failed = total = 0
    for row in validate(backends, device=str(device)):
        total += 1
        failed += not row.passed
        verdict = "ok" if row.passed else "OUT OF TOLERANCE"
        if args.json:
            print(json.dumps({**row._asdict(), "passed": row.passed}))
        else:
            print(
                f"{row.op:26} {row.case:16} {row.backend:10} {row.dtype:9} {row.worst:20} "
                f"error {row.error:8.1e}  allowed {row.allowed:8.1e}  {verdict}"
            )
    if not args.json:
        print(f"{total - failed} of {total} within tolerance; each row names its output or gradient nearest to it")
    return 1 if failed else 0
