"""The processes of one job, as ``torchrun`` starts them: who they are, sums over them, and agreement on errors."""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from m2t_fast.errors import JobError, ReportedElsewhere, UserError

T = TypeVar("T")

TIMEOUT_VARIABLE = "M2T_FAST_TIMEOUT"
"""Environment variable: seconds that a process waits for the others before it gives the job up."""

_TIMEOUT = 1800.0  # preprocessing a large data set, while the other processes wait, takes minutes
_NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_NOTES: list[Any] = []
"""Inside a job: its store, which outlives the processes where ``torchrun`` holds it."""


@dataclass(frozen=True)
class Processes:
    """This process among those of its job; the default is a process on its own, for which every method is trivial.

    Args:
        rank: 0 <= rank < size; rank 0 writes.
        size: processes in the job, on all machines.
        local_rank: the rank among the processes of this machine; on GPUs the number of its device.

    The methods that communicate must be called by all processes alike. They raise
    :class:`~m2t_fast.errors.JobError` where another process has ended or does not answer in time.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of ``rows``: every ``size``-th, so that neighbours of similar length spread evenly."""
        return rows[self.rank :: self.size]

    def sum(self, values: Tensor) -> Tensor:
        """The sum of ``values``, of one shape, dtype and kind of device everywhere, in place; equal bits everywhere."""
        if self.size > 1:
            with self._together():
                torch.distributed.all_reduce(values)
        return values

    def copy_from_main(self, values: Tensor) -> None:
        """Overwrite ``values`` with those of rank 0."""
        if self.size > 1:
            with self._together():
                torch.distributed.broadcast(values, 0)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return flag if self.size == 1 else bool(self.sum(torch.tensor(int(flag), device="cpu")))

    def gather(self, value: T) -> list[T]:
        """The values (anything that can be pickled) of all processes by rank, in every process."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        with self._together():
            torch.distributed.all_gather_object(found, value)
        return found

    def on_main(self, function: Callable[[], T]) -> T:
        """The result of ``function()``, which runs on rank 0 alone, in every process.

        Raises:
            UserError: the function raised one; the other processes raise ``ReportedElsewhere``.
        """
        if self.size == 1:
            return function()
        outcome: list[Any] = [None, None]
        error: UserError | None = None
        if self.main:
            try:
                outcome[0] = function()
            except UserError as raised:
                error, outcome[1] = raised, str(raised)
        with self._together():
            torch.distributed.broadcast_object_list(outcome, 0)
        if error is not None:
            raise error
        if outcome[1] is not None:
            raise ReportedElsewhere(outcome[1])
        result: T = outcome[0]
        return result

    def machine_by_machine(self, function: Callable[[], T]) -> T:
        """The result of ``function()`` in each process. On every machine one process runs it before the others, so that
        they find what it leaves in a cache.

        Raises:
            UserError: it raised one in some process; all processes end then, and one of them says why.
        """
        if self.size == 1:
            return function()
        found: list[T] = []
        for first in (True, False):
            error: UserError | None = None
            if (self.local_rank == 0) == first:
                try:
                    found.append(function())
                except UserError as raised:
                    error = raised
            for rank, text in enumerate(self.gather(None if error is None else str(error))):
                if text is not None:
                    raise self.error(text if rank == 0 else f"{text} (process {rank} of {self.size})")
        return found[0]

    def note(self, text: str) -> None:
        """Leave a note for processes that torchrun starts in place of these."""
        for store in _NOTES:
            store.set(f"m2t_fast/note/{text}", "")

    def noted(self, text: str) -> bool:
        """Whether the processes that these replace left this note. Never for a process on its own."""
        return any(store.check([f"m2t_fast/note/{text}"]) for store in _NOTES)

    def unrecordable(self, device: torch.device) -> str | None:
        """Why a CUDA graph cannot hold sums of tensors of this device over the processes; None where it can."""
        if self.size == 1 or f"{device.type}:nccl" in torch.distributed.get_backend_config().split(","):
            return None
        return "sums over the processes go through the host, since this build of torch has no NCCL"

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait until ``ready()``, asked again and again, for what others take part in and no timeout watches.

        Raises:
            JobError: it was not in time.
        """
        end, pause = time.monotonic() + _timeout(), 1e-5
        while not ready():
            if time.monotonic() > end:
                with self._together():
                    raise RuntimeError(f"waited for {_timeout():g} s")
            time.sleep(pause)
            pause = min(2 * pause, 1e-3)

    def error(self, text: str) -> UserError:
        """The error to raise for a mistake that all processes see: rank 0 reports it, the others only end."""
        return UserError(text) if self.main else ReportedElsewhere(text)

    @contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            # Without the source line in front and the advice behind.
            reason = re.sub(r"^\[[^]]*\]\s*", "", str(error).strip()).partition("\n")[0].partition(". ")[0]
            raise JobError(
                f"process {self.rank} of {self.size}: another process of this job has ended or does not answer "
                f"({reason or type(error).__name__})"
            ) from error


ALONE = Processes()


def launched(environment: Mapping[str, str] = os.environ) -> Processes:
    """This process as ``torchrun`` describes it to its children in the environment; alone if nothing does.

    Raises:
        UserError: the variables contradict each other or one is missing.
    """
    if not {"RANK", "WORLD_SIZE"} <= environment.keys():
        return ALONE
    numbers = {}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        text = environment.get(name, "0")
        if not text.isdecimal():
            raise UserError(f"environment variable {name}: got {text!r}, expected a whole number")
        numbers[name] = int(text)
    rank, size = numbers["RANK"], numbers["WORLD_SIZE"]
    if not rank < size:
        raise UserError(f"environment variable RANK: got {rank}, expected less than WORLD_SIZE ({size})")
    missing = [name for name in _NEEDED if name not in environment]
    if size > 1 and missing:
        raise UserError(f"environment variable {missing[0]} is missing; start several processes with torchrun")
    return Processes(rank, size, numbers["LOCAL_RANK"])


@contextmanager
def job(processes: Processes, device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside the block the processes can talk: by gloo, and about CUDA tensors by NCCL.

    Raises:
        UserError: this build of torch cannot, or the timeout is not a number of seconds.
        JobError: the others do not come.
    """
    if processes.size == 1:
        yield
        return
    if not torch.distributed.is_available():
        raise UserError("several processes: this build of torch has no torch.distributed")
    timeout = timedelta(seconds=_timeout())
    from torch.distributed.rendezvous import rendezvous  # not there in builds without torch.distributed

    device = torch.device(device)
    backend = "gloo"
    if device.type == "cuda":
        torch.cuda.set_device(device)
        backend = "cpu:gloo,cuda:nccl" if torch.distributed.is_nccl_available() else "cpu:gloo,cuda:gloo"
    rank, size = processes.rank, processes.size
    with processes._together():
        store, _, _ = next(rendezvous("env://", rank, size, timeout=timeout))
        own = _meet(store, rank, size, timeout)
        torch.distributed.init_process_group(backend, store=own, rank=rank, world_size=size, timeout=timeout)
    _NOTES.append(store)
    try:
        yield
    except BaseException as error:
        # gloo's threads, left to the end of the interpreter, abort the process there now and then. NCCL's end with it,
        # but would wait for a process that is gone; by these errors all processes end.
        if device.type == "cpu" or isinstance(error, (UserError, KeyboardInterrupt)):
            torch.distributed.destroy_process_group()
        raise
    finally:
        _NOTES.clear()
    torch.distributed.destroy_process_group()


def _timeout() -> float:
    """Seconds that a process waits for the others."""
    text = os.environ.get(TIMEOUT_VARIABLE, str(_TIMEOUT))
    try:
        timeout = timedelta(seconds=float(text))
        if timeout <= timedelta(0):
            raise ValueError
    except (ValueError, OverflowError):
        raise UserError(f"environment variable {TIMEOUT_VARIABLE}: got {text!r}, expected seconds above 0") from None
    return timeout.total_seconds()


def _meet(store: Any, rank: int, size: int, timeout: timedelta) -> Any:
    """The part of a store that these processes alone use.

    torchrun gives restarted processes the store of their predecessors, which holds the addresses of dead processes, and
    machines may differ in how often they restarted. So rank 0 chooses a name and answers every greeting with it. A
    greeting may come from a dead process, so rank 0 goes on until all living ones have arrived.

    Raises:
        RuntimeError: a process did not arrive in time.
    """
    if rank > 0:
        mine = uuid.uuid4().hex
        store.set(f"m2t_fast/hello/{rank}", mine)
        name = store.get(f"m2t_fast/welcome/{mine}").decode()
        store.set(f"m2t_fast/{name}/here/{rank}", "")
        return torch.distributed.PrefixStore(f"m2t_fast/{name}", store)
    name, end = uuid.uuid4().hex, time.monotonic() + timeout.total_seconds()
    missing = set(range(1, size))
    while missing:
        for other in sorted(missing):
            if store.check([f"m2t_fast/{name}/here/{other}"]):
                missing.remove(other)
            elif store.check([f"m2t_fast/hello/{other}"]):
                store.set(f"m2t_fast/welcome/{store.get(f'm2t_fast/hello/{other}').decode()}", name)
        if time.monotonic() > end:
            raise RuntimeError(f"process {min(missing)} did not come")
        time.sleep(0.01)
    return torch.distributed.PrefixStore(f"m2t_fast/{name}", store)
