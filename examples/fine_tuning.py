"""Fine-tuning: a new run that begins with another's weights: python examples/fine_tuning.py RUN DATA OUTPUT."""

from __future__ import annotations

import sys

from m2t_fast.cli import main as m2t_fast


def main(run: str, data: str, output: str, epochs: str = "5") -> None:
    for command in (
        ["train", "--init", run, "--data", data, "--output", output, "--epochs", epochs],
        ["evaluate", run, output, "--data", data, "--split", "test"],  # before and after, in one table
    ):
        if m2t_fast(command):
            raise SystemExit(f"m2t-fast {' '.join(command)}: failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
