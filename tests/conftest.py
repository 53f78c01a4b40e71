"""Makes every test start from the same state: seeds, hypothesis settings and a cache folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import hypothesis
import pytest

import m2t_fast  # noqa: F401  # isort: skip  # before torch: it sets how threads wait, as for every user
import torch

# derandomize: the same examples in every run; database None: no folder of past failures in the checkout.
hypothesis.settings.register_profile("m2t_fast", deadline=None, max_examples=25, derandomize=True, database=None)
hypothesis.settings.load_profile("m2t_fast")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Preprocessed data goes to a temporary folder, never to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("M2T_FAST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same random numbers, alone or among others."""
    torch.manual_seed(0)


@pytest.fixture
def start_job() -> Iterator[Callable[..., list[subprocess.Popen[str]]]]:
    """``start_job(size, *arguments, **environment)``: ``python ARGUMENTS`` as the processes of one job, by rank."""
    started: list[subprocess.Popen[str]] = []

    def start(size: int, *arguments: object, **environment: str) -> list[subprocess.Popen[str]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": 1}
        processes = [
            subprocess.Popen(
                [sys.executable, *map(str, arguments)],
                env={**os.environ, **{k: str(v) for k, v in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}}
                | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(size)
        ]
        started.extend(processes)
        return processes

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
