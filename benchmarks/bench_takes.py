"""Seconds and memory of segmenting one long take, as it grows from minutes to hours.

    python benchmarks/bench_takes.py RUN --data DATA [--minutes 10,20,40,120] [--split test]

Each length is a process of its own: it joins clips of the split to a take, as ``evaluate --segments`` does, and runs
what ``caption --segments`` runs on it. ``RUN`` is a trained run: captions of an untrained one do not end. Prints a line
of JSON per length: processor seconds count all threads, the peak of memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from m2t_fast.data.takes import join_clips, load_clips
from m2t_fast.run_folder import load_run
from m2t_fast.segmentation import Grid, segment_joints


def measure(run_folder: Path, data: str, split: str, minutes: float) -> dict[str, float]:
    """Segments a take of about that many minutes; returns what it cost."""
    run = load_run(run_folder)
    clips = load_clips(data, split, run.skeleton)
    generator = np.random.default_rng(0)
    chosen, frames = [], 0
    while frames < minutes * 60 * run.skeleton.fps:
        chosen.append(clips[generator.integers(len(clips))])
        frames += len(chosen[-1].joints)
    joints = join_clips(chosen, run.skeleton).joints
    segment_joints(run, joints[: round(12 * run.skeleton.fps)])  # what the first call alone does
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, (time.perf_counter(), time.process_time())
    found = segment_joints(run, joints)
    return {
        "minutes": len(joints) / run.skeleton.fps / 60,
        "windows": len(Grid().windows(len(joints), run.skeleton.fps)),
        "segments": len(found),
        "threads": torch.get_num_threads(),
        "seconds": time.perf_counter() - began[0],
        "processor_seconds": time.process_time() - began[1],
        "joints_mib": joints.nbytes / 2**20,
        "memory_before_mib": before / 2**10,
        "memory_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    }


def main() -> int:
    """Runs the lengths one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("--data", required=True, metavar="PATH|synthetic")
    parser.add_argument("--split", default="test")
    parser.add_argument("--minutes", default="10,20,40,120", help="lengths (%(default)s)")
    args = parser.parse_args()
    lengths = [float(text) for text in args.minutes.split(",")]
    if len(lengths) == 1:
        print(json.dumps({k: round(v, 2) for k, v in measure(args.run, args.data, args.split, lengths[0]).items()}))
        return 0
    for length in lengths:
        command = [sys.executable, __file__, str(args.run), "--data", args.data, "--split", args.split]
        subprocess.run([*command, "--minutes", repr(length)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
