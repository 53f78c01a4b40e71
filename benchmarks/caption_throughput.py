"""Motions captioned per second on one device, files and all, and memory, as their number grows from 1,000 to 1,000,000.

    python benchmarks/caption_throughput.py [--counts 1000,10000] [--large] [--sizes kit|humanml3d] [--device cuda]

Each count is a process of its own that runs what ``m2t-fast caption --data LIST --output FILE`` runs: reading, search,
writing, merging. Large counts repeat the same motions, whose files the system then has in memory. The model is
untrained; captions end after --max-length words, 12 by default, about the mean of both data sets.
``--large`` adds 100,000 and 1,000,000. With ``--interrupt`` each job is stopped half-way and resumed.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from m2t_fast import Captioner, CaptionerConfig
from m2t_fast.captioning import CaptionJob, caption_files
from m2t_fast.cli import options
from m2t_fast.data import synthetic
from m2t_fast.data.dataset import prepare
from m2t_fast.data.preprocessing import DataSettings
from m2t_fast.run_folder import Run, load_run, write_run

DISTINCT = 200


def make_run(folder: Path, sizes: str) -> list[Path]:
    """An untrained run in ``folder``, and the motion files it reads."""
    joints = 21 if sizes == "kit" else 22
    raw = synthetic.generate(count={"train": DISTINCT, "val": 1, "test": 1}, seed=0, joints=joints)
    files = []
    for motion in raw.splits["train"]:
        files.append(folder / f"{motion.id}.npy")
        np.save(files[-1], motion.joints)
    prepared = prepare(raw, DataSettings())
    torch.manual_seed(0)
    model = Captioner(getattr(CaptionerConfig, sizes)(len(prepared.vocabulary), joints=joints))
    write_run(folder, model, prepared.vocabulary, prepared.statistics, prepared.settings, training=None)
    return files


def work(args: argparse.Namespace) -> int:
    """One job, in a process of its own; prints its time and memory as JSON."""
    device = options.device(args.device)
    run: Run = load_run(args.work, device)
    search = {"beam_size": args.beam_size, "max_length": args.max_length}
    source, output = args.work / f"{args.count}.txt", args.work / f"{args.count}.jsonl"
    job = CaptionJob(source, output, search=search, batch_size=args.batch_size)
    summary = caption_files(run, job)
    peak = peak_kib()
    on_device = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    print(json.dumps({"made": summary.made, "seconds": summary.seconds, "kib": peak, "device_bytes": on_device}))
    return 0


def peak_kib() -> int:
    """Peak memory of this process; where the system reports nothing finer, its parent's is included."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(args: argparse.Namespace, folder: Path, count: int, files: list[Path]) -> None:
    """Runs the job of ``count`` motions and prints its line."""
    with open(folder / f"{count}.txt", "w") as file:
        for number in range(count):
            file.write(f"{files[number % len(files)]}\n")
    command = [sys.executable, __file__, "--work", str(folder), "--count", str(count), "--device", args.device]
    for name in ("beam_size", "max_length", "batch_size"):
        command += [f"--{name.replace('_', '-')}", str(getattr(args, name))]
    if args.interrupt:
        stop_half_way(command, folder / f"{count}.jsonl.parts", count)
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    row = json.loads(said.splitlines()[-1])
    with open(folder / f"{count}.jsonl", "rb") as file:
        lines = sum(1 for _ in file)
    if lines != count:
        raise SystemExit(f"WRONG: {lines} captions of {count} motions")
    rate, memory = row["made"] / row["seconds"], row["kib"] / 1024
    device = f", {row['device_bytes'] / 2**20:,.0f} MiB on the device" if row["device_bytes"] else ""
    resumed = f", {row['made']:,} of them after the stop" if args.interrupt else ""
    print(f"{count:>9,} motions{resumed}: {rate:8.1f} per second, peak {memory:,.0f} MiB{device}", flush=True)


def stop_half_way(command: list[str], parts: Path, count: int) -> None:
    """Starts the job and kills it when about half of its captions are written."""
    process, read, lines = subprocess.Popen(command, stdout=subprocess.DEVNULL), dict[Path, int](), 0
    while process.poll() is None:
        time.sleep(0.05)
        for path in parts.glob("part-*"):
            with open(path, "rb") as file:  # only what is new: the job shares the processor
                file.seek(read.get(path, 0))
                lines += file.read().count(b"\n")
                read[path] = file.tell()
        if lines > count // 2:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _counts(text: str) -> list[int]:
    """Numbers of motions, separated by commas."""
    return [options.positive_int(part) for part in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=_counts, default=[1000, 10_000])
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--sizes", choices=("kit", "humanml3d"), default="humanml3d")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--batch-size", type=options.positive_int, default=64)
    parser.add_argument("--beam-size", type=options.positive_int, default=1)
    parser.add_argument("--max-length", type=options.positive_int, default=12)
    parser.add_argument("--interrupt", action="store_true")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(args)
    counts = args.counts + ([100_000, 1_000_000] if args.large else [])
    with tempfile.TemporaryDirectory() as folder:
        files = make_run(Path(folder), args.sizes)
        print(f"{args.sizes} sizes, batch {args.batch_size}, beam size {args.beam_size}, {args.max_length} words, "
              f"{torch.get_num_threads()} threads, device {options.device(args.device)}")  # fmt: skip
        for count in counts:
            measure(args, Path(folder), count, files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
