"""``m2t-fast info``: what is installed and what can run here, or what a data set holds."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import warnings
from collections.abc import Iterator
from typing import Any

from m2t_fast._version import __version__
from m2t_fast.cli import options


def add_parser(subparsers: Any) -> None:
    """Declares the command."""
    parser = subparsers.add_parser(
        "info",
        help="show what can run here, or what a data set holds",
        description="Prints versions, backends and devices; with --data, statistics of a data set beside the "
        "paper's, and what is left out of it because it cannot be used.",
    )
    options.add_data(parser, required=False)
    parser.add_argument(
        "--preset",
        choices=("kit", "humanml3d"),
        help="count what is left after the training filters of this data set (without: no filters); with --data",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    if args.data is None:
        rows = list(_machine())
        width = max(len(label) for label, _ in rows)
        for label, value in rows:
            print(f"{label:<{width}}  {value}".rstrip())
        return 0
    from m2t_fast.data.describe import describe, format_description
    from m2t_fast.data.faults import NothingLeft, listed, refusal
    from m2t_fast.data.loading import load_data
    from m2t_fast.data.preprocessing import DataSettings

    settings: DataSettings = getattr(DataSettings, args.preset)() if args.preset else DataSettings()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*: left out ")  # all of it is listed here
            prepared = load_data(args.data, settings)
    except NothingLeft as error:
        print(listed(error.faults))
        raise
    print(format_description(describe(prepared)))
    if args.strict and prepared.faults:
        raise refusal(args.data, prepared.faults)
    return 0


def _machine() -> Iterator[tuple[str, str]]:
    """(label, value) of everything that determines what runs here and how fast."""
    import torch

    from m2t_fast import native, threads
    from m2t_fast.ops import registry

    yield "m2t_fast", __version__
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    for package in ("torch", "triton", "numpy"):
        yield package, _version_of(package)

    if (reason := native.why_unavailable()) is not None:
        yield "native extension", reason
    for key, value in native.build_info().items():
        text = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        yield ("CPU instructions" if key == "cpu" else f"native {key.replace('_', ' ')}"), text
    yield "CPU threads", str(torch.get_num_threads())
    yield "waiting threads", threads.wait_policy() + native.cores_now()

    cuda = torch.cuda.is_available()
    yield "CUDA of torch", torch.version.cuda or "none: a CPU build"
    for index in range(torch.cuda.device_count() if cuda else 0):
        device = torch.cuda.get_device_properties(index)
        memory = f"{device.total_memory / 2**30:.0f} GiB"
        yield f"cuda:{index}", f"{device.name}, compute capability {device.major}.{device.minor}, {memory}"
    if not cuda:
        yield "CUDA devices", "none"

    for name in registry.BACKENDS:
        yield f"backend {name}", registry.why_unavailable(name) or "available"
    for device_type in ("cpu", "cuda") if cuda else ("cpu",):
        for op in registry.OPS:
            chosen, first = registry.resolve(op, "auto", device_type), registry.why_first(op, device_type)
            faster = registry.FASTEST_FIRST[: registry.FASTEST_FIRST.index(chosen)]
            reasons = [
                f"{name}: {registry.why_not(op, name)}"
                for name in faster
                if device_type in registry.DEVICE_TYPES[name] and registry.why_unavailable(name) is None
            ]
            reasons = reasons if first is None else [first]
            where = registry.runs_on(op, "auto", device_type)
            yield f"auto on {device_type}: {op}", where + (f" ({'; '.join(reasons)})" if reasons else "")


def _version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
