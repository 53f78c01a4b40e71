"""Who the processes of a job are, which device each gets, and what one on its own does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch

from m2t_fast import distributed
from m2t_fast.cli import options
from m2t_fast.distributed import ALONE, TIMEOUT_VARIABLE, Processes, _meet, job, launched
from m2t_fast.errors import UserError

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "host", "MASTER_PORT": "1"}


def test_the_environment_of_torchrun():
    assert launched({}) == launched({"WORLD_SIZE": "8"}) == ALONE == Processes(0, 1, 0)
    assert launched(TORCHRUN) == Processes(3, 4, 1)
    assert not launched(TORCHRUN).main and launched(TORCHRUN | {"RANK": "0"}).main


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"RANK": "4"}, "RANK: got 4, expected less than WORLD_SIZE"),
        ({"RANK": "-1"}, "RANK: got '-1'"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE: got 'two'"),
        ({"MASTER_PORT": None}, "MASTER_PORT is missing"),
    ],
)
def test_an_environment_that_makes_no_sense_is_refused(change, message):
    environment = {k: v for k, v in (TORCHRUN | change).items() if v is not None}
    with pytest.raises(UserError, match=message):
        launched(environment)


@pytest.mark.parametrize("text", ["soon", "0", "-3", "nan", "1e300"])
def test_a_timeout_that_is_none_is_refused(text, monkeypatch):
    monkeypatch.setenv(TIMEOUT_VARIABLE, text)
    with pytest.raises(UserError, match=TIMEOUT_VARIABLE), job(Processes(0, 2, 0)):
        pass


def test_shares_hold_every_row_once():
    rows = torch.arange(7)
    for size in (1, 2, 3, 9):
        shares = [Processes(rank, size, 0).share(rows) for rank in range(size)]
        assert torch.equal(torch.cat(shares).sort()[0], rows)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_everything_is_trivial():
    values = torch.arange(3.0)
    assert ALONE.sum(values) is values and ALONE.gather("x") == ["x"]
    assert ALONE.any(True) is True and ALONE.any(False) is False
    assert ALONE.on_main(lambda: 5) == ALONE.machine_by_machine(lambda: 5) == 5
    assert type(ALONE.error("no")) is UserError and type(Processes(1, 2, 1).error("no")) is not UserError
    with job(ALONE):
        assert not torch.distributed.is_initialized()


def test_processes_meet_whatever_those_before_them_left_behind():
    """Three times in one store: of three processes, of three in their place, of two."""
    store, names = torch.distributed.HashStore(), []
    for size in (3, 3, 2):
        with ThreadPoolExecutor(size) as pool:
            ranks = reversed(range(size))  # rank 0 comes last, and finds who said hello before
            found = [pool.submit(_meet, store, rank, size, timedelta(seconds=20)) for rank in ranks]
        own = [future.result() for future in found]
        own[0].set("key", str(len(names)))
        assert all(part.get("key") == str(len(names)).encode() for part in own)
        names.append(size)
    with pytest.raises(RuntimeError, match="process 1 did not come"):
        _meet(store, 0, 2, timedelta(seconds=0.1))


def test_notes_are_for_those_in_whose_place_others_start(monkeypatch):
    assert not ALONE.noted("begun")
    ALONE.note("begun")
    assert not ALONE.noted("begun")
    monkeypatch.setattr(distributed, "_NOTES", [torch.distributed.HashStore()])
    Processes(0, 2, 0).note("begun")
    assert Processes(0, 3, 0).noted("begun") and not Processes(0, 3, 0).noted("else")


def test_each_process_gets_a_device_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    second = Processes(5, 8, 1)
    assert options.device("auto", second) == options.device("cuda", second) == torch.device("cuda", 1)
    assert options.device("cuda:0") == options.device("auto") == torch.device("cuda", 0)
    assert options.device("cpu", second) == torch.device("cpu")
    with pytest.raises(UserError, match="--device cuda gives each its own"):
        options.device("cuda:1", second)
    with pytest.raises(UserError, match="--nproc-per-node 2"):
        options.device("auto", Processes(2, 3, 2))
