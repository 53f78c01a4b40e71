"""Trains the tests' model, alone or as a process of a job, to be compared or killed: FOLDER [--resume] [--double].

``PAUSE=PHASE:N:RANK`` stops rank RANK in the midst of its N-th PHASE until the file FOLDER.go is there, and makes the
file FOLDER.paused to say so. ``GRAPHS=N:RANK`` captures and replays steps as on a GPU, with the stand-in of
``tests/helpers/recording.py``; the N-th capture of rank RANK fails. FOLDER.graphs.RANK tells what was done.
"""

import os
import sys
import time
from pathlib import Path

import torch

from m2t_fast import run_folder
from m2t_fast.captioner import Captioner
from m2t_fast.config import CaptionerConfig
from m2t_fast.data.loading import load_data
from m2t_fast.distributed import job, launched
from m2t_fast.errors import JobError
from m2t_fast.evaluation.token_bleu import TokenBleu
from m2t_fast.training import loop
from m2t_fast.training.settings import TrainingSettings

data = load_data("synthetic", synthetic_count={"train": 24, "val": 4, "test": 2}, joints=21)
config = CaptionerConfig(
    vocab_size=len(data.vocabulary), joints=21, part_dim=8, attention_dim=8, hidden_size=8, embedding_dim=6
)


def pauses(folder: Path, phase: str, number: int) -> None:
    """Makes the ``number``-th ``phase`` from now on wait half-way: decoding, scoring, state or weights."""
    calls = []

    def pause() -> None:
        calls.append(1)
        if len(calls) == number:
            folder.with_name(f"{folder.name}.paused").touch()
            while not folder.with_name(f"{folder.name}.go").exists():
                time.sleep(0.002)

    decode, counts, write = Captioner.greedy_words, TokenBleu.counts, Path.write_bytes

    def decode_and_wait(*arguments, **options):
        words = decode(*arguments, **options)
        pause()
        return words

    def wait_and_count(self, *arguments):
        pause()
        return counts(self, *arguments)

    def write_half_and_wait(path, content):
        if f".{ {'state': run_folder.STATE, 'weights': run_folder.WEIGHTS}[phase] }." in str(path):
            write(path, content[: len(content) // 2])
            pause()
        return write(path, content)

    if phase == "decoding":
        Captioner.greedy_words = decode_and_wait
    elif phase == "scoring":
        TokenBleu.counts = wait_and_count
    else:
        Path.write_bytes = write_half_and_wait


def record_steps(counts: Path, failing_at: int | None) -> None:
    """Makes the engine capture, and pad to its buckets as on a GPU; the counts are written when it is closed."""
    from recording import Recorder  # where the tests' helpers are on the path

    class Recorded(loop.Engine):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.recorder = self.own = Recorder(self, failing_at)

        def close(self):
            super().close()
            if torch.distributed.is_initialized() and not self.graphs:  # before the end of the job
                done = self.own.warmed, self.own.captured, self.own.replayed
                counts.write_text(" ".join(map(str, done)))

    plan = loop.epoch_plan
    loop.Engine = Recorded
    loop.epoch_plan = lambda *arguments, fit: plan(*arguments, fit=False)


def main() -> int:
    """Trains; the exit code."""
    changes = dict(batch_size=int(os.environ.get("BATCH_SIZE", "8")), epochs=int(os.environ.get("EPOCHS", "6")))
    temp = float(os.environ.get("LAMBDA_TEMP", "0"))
    settings = TrainingSettings(log_interval=2, checkpoint_interval=3, lambda_temp=temp, **changes)
    dtype = torch.float64 if "--double" in sys.argv else torch.float32
    processes, folder = launched(), Path(sys.argv[1])
    loop.STATE_SECONDS = float(os.environ.get("STATE_SECONDS", "0"))
    phase, number, rank = os.environ.get("PAUSE", "no:0:-1").split(":")
    if int(rank) == processes.rank:
        pauses(folder, phase, int(number))
    if "GRAPHS" in os.environ:
        at, failing = map(int, os.environ["GRAPHS"].split(":"))
        record_steps(
            folder.with_name(f"{folder.name}.graphs.{processes.rank}"), at if failing == processes.rank else None
        )
    try:
        with job(processes):
            resume = "--resume" in sys.argv
            loop.train(data, config, settings, folder, dtype=dtype, resume=resume, progress=False, processes=processes)
    except KeyboardInterrupt:
        return 130
    except JobError as error:
        print(error, file=sys.stderr)
        return 3 if torch.distributed.is_initialized() else 1  # what is left of gloo may abort the process at its end
    return 0


if __name__ == "__main__":
    sys.exit(main())
