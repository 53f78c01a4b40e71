"""Trains the same steps on the fused and on the plain path and shows that their loss curves overlap.

    python benchmarks/loss_curves.py [--steps 300] [--device cpu] [--output build/loss_curves]

Fused is the backend that ``auto`` chooses, plain is ``use_backend("reference")``. Both train as ``m2t-fast train``
does, on synthetic data, from the same weights over the same batches, coins and dropout masks: once reading the
reference words alone, once by scheduled sampling as by default. In float32 every step's loss must be within 1e-3 of the
plain path's, in bfloat16 the mean of the last 20 steps within 2%. Writes loss_curves.json and, where matplotlib is
installed, loss_curves.png; exit code 1 if a curve is out of its bounds. Under 3 minutes on 2 CPU cores.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from m2t_fast import CaptionerConfig
from m2t_fast.benchmarking.curves import END, compare, loss_curve
from m2t_fast.data.loading import load_data
from m2t_fast.training.settings import TrainingSettings

EACH, FINAL = 1e-3, 0.02
"""Bounds: of every step in float32 (and float64), of the final loss in bfloat16."""
HEADER = "teacher forcing  path               first   final  largest step  running mean  final loss  seconds"


def curves(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One entry per curve; those of the fused path with their difference from the plain path's, and the verdict."""
    data = load_data("synthetic", synthetic_count={"train": 120, "val": 1, "test": 1})
    sizes = dict(part_dim=options.width, attention_dim=options.width, hidden_size=options.width)
    config = CaptionerConfig(len(data.vocabulary), embedding_dim=options.width // 2, **sizes)
    found: list[dict[str, Any]] = []
    for teacher_forcing in options.teacher_forcing:
        settings = TrainingSettings(
            batch_size=options.batch_size, teacher_forcing=teacher_forcing, learning_rate=options.learning_rate
        )
        plain = np.empty(0)
        ways = [("plain", "reference", "float32"), *(("fused", "auto", dtype) for dtype in options.dtypes)]
        for path, backend, dtype in ways:
            started = time.perf_counter()
            losses = loss_curve(
                data["train"], config, settings, options.steps, backend, getattr(torch, dtype), options.device
            )
            entry: dict[str, Any] = dict(teacher_forcing=teacher_forcing, path=path, dtype=dtype)
            entry |= dict(seconds=time.perf_counter() - started, losses=losses[:, 0].tolist())
            if path == "plain":
                plain = losses
            else:
                difference = compare(losses, plain, EACH)
                short = dtype == "bfloat16"
                passed = difference.final <= FINAL if short else difference.largest <= EACH
                entry |= dict(difference=difference._asdict(), passed=passed)
            found.append(entry)
            print(line(entry), flush=True)
    return found


def line(entry: dict[str, Any]) -> str:
    """One row of the printed table."""
    losses, way = entry["losses"], f"{entry['path']} {entry['dtype']}"
    text = f"{entry['teacher_forcing']:15.1f}  {way:16}  {losses[0]:6.3f}  {np.mean(losses[-END:]):6.3f}"
    if "difference" in entry:
        difference = entry["difference"]
        text += "".join(
            f"  {difference[name]:{n}.1e}" for name, n in (("largest", 12), ("smoothed", 12), ("final", 10))
        )
    else:
        text += " " * 40
    return f"{text}  {entry['seconds']:7.1f}" + ("" if entry.get("passed", True) else "  OUT OF BOUNDS")


def picture(found: list[dict[str, Any]], path: Path) -> None:
    """The curves of each teacher forcing, and below them the relative differences from the plain path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    columns = sorted({entry["teacher_forcing"] for entry in found}, reverse=True)
    figure, axes = pyplot.subplots(2, len(columns), figsize=(11, 6), sharex=True, sharey="row", squeeze=False)
    for (above, below), teacher_forcing in zip(axes.T, columns, strict=True):
        rows = [entry for entry in found if entry["teacher_forcing"] == teacher_forcing]
        plain = np.array(rows[0]["losses"])
        for i, entry in enumerate(rows):
            losses, name = np.array(entry["losses"]), f"{entry['path']} {entry['dtype']}"
            above.plot(losses, label=name, color=f"C{i}", linewidth=4 - 1.2 * i, alpha=0.8)
            if i:
                below.semilogy(np.maximum(np.abs(losses - plain) / plain, 1e-9), label=name, color=f"C{i}")
        below.axhline(EACH, color="0.5", linestyle=":")
        above.set_title(f"teacher forcing {teacher_forcing:g}")
        above.legend()
        below.set_xlabel("step")
    axes[0, 0].set_ylabel("loss before the step")
    axes[1, 0].set_ylabel("relative difference from plain")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], help="of the fused path")
    default = TrainingSettings().teacher_forcing
    parser.add_argument("--teacher-forcing", nargs="+", type=float, default=[1.0, default])
    parser.add_argument("--width", type=int, default=32, help="H, D and C of the model; twice E")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=TrainingSettings().learning_rate)
    parser.add_argument("--output", type=Path, default=Path("build/loss_curves"))
    options = parser.parse_args()
    print(HEADER)
    found = curves(options)
    options.output.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device
    about = {"torch": torch.__version__, "threads": torch.get_num_threads(), **vars(options), "device": device}
    text = json.dumps({**about, "output": str(options.output), "curves": found}, indent=1)
    (options.output / "loss_curves.json").write_text(text + "\n")
    if importlib.util.find_spec("matplotlib"):
        picture(found, options.output / "loss_curves.png")
    print(f"wrote {options.output}")
    return 0 if all(entry.get("passed", True) for entry in found) else 1


if __name__ == "__main__":
    sys.exit(main())
