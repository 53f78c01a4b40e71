"""The pool of large pieces of memory: reuse, limits, lifetimes, threads."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import pytest
import torch

from m2t_fast import native
from m2t_fast.ops.cpu import launch

pytestmark = pytest.mark.skipif(launch.why_unavailable() is not None, reason=f"{launch.why_unavailable()}")

MIB = 1 << 20


@pytest.fixture(autouse=True)
def pool():
    """An empty pool of 64 MiB, and afterwards the one that there was."""
    native._native.set_pool_limit(0)
    native._native.set_pool_limit(64 * MIB)
    yield
    native._native.set_pool_limit(0)
    native._native.set_pool_limit(launch.POOL_BYTES)


def large(mib: int) -> torch.Tensor:
    return launch.empty((mib, MIB // 4), torch.zeros(1))


def test_a_piece_is_used_again_once_nobody_holds_it():
    first = large(8)
    address = first.data_ptr()
    row = first[3]
    del first
    gc.collect()
    assert native._native.pool_bytes() == 0, "a view still holds the memory"
    row.fill_(7.0)
    second = large(8)
    assert second.data_ptr() != address and bool((row == 7.0).all())
    del row
    gc.collect()
    assert native._native.pool_bytes() == 8 * MIB
    assert large(8).data_ptr() == address


def test_a_result_is_an_ordinary_tensor():
    x = large(8)
    assert x.shape == (8, MIB // 4) and x.is_contiguous() and not x._is_view() and x.data_ptr() % 64 == 0
    x.zero_()
    y = x.clone().requires_grad_()
    y.sum().backward()
    assert torch.equal(y.grad, torch.ones_like(y))


def test_small_results_and_empty_ones_are_left_to_torch():
    assert launch.empty((3, 4), torch.zeros(1)).shape == (3, 4) and launch.empty((0, 5), torch.zeros(1)).numel() == 0
    assert native._native.pool_bytes() == 0


def test_no_more_than_the_limit_waits():
    pieces = [large(n) for n in (20, 20, 20, 20)]
    del pieces
    gc.collect()
    assert 0 < native._native.pool_bytes() <= 64 * MIB
    native._native.set_pool_limit(0)
    assert native._native.pool_bytes() == 0


def test_a_piece_much_too_large_is_not_taken():
    big = large(40)
    address = big.data_ptr()
    del big
    gc.collect()
    assert large(8).data_ptr() != address and native._native.pool_bytes() >= 40 * MIB


def test_threads_never_share_a_piece():
    wrong = []

    def work(number: float) -> None:
        for _ in range(50):
            x = large(5)
            x.fill_(number)
            if not bool((x == number).all()):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(float(n),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(("value", "code"), [("0", 0), ("16", 0), ("lots", 2)])
def test_the_variable(value: str, code: int):
    done = subprocess.run(
        [sys.executable, "-m", "m2t_fast", "info"],
        env={**os.environ, "M2T_FAST_POOL_MIB": value},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    if code:
        assert "M2T_FAST_POOL_MIB: got 'lots', expected a whole number" in done.stderr and done.stderr.count("\n") == 1


def test_autograd_adds_to_a_pooled_gradient_in_place():
    """Two gradients of one tensor: their sum takes the first one's memory, as of torch's own."""

    class Ones(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, grad):
            made = large(8).fill_(1.0)
            addresses.append(made.data_ptr())
            return made

    addresses: list[int] = []
    x = torch.zeros(8, MIB // 4, requires_grad=True)
    y = x * 1
    y.register_hook(lambda grad: addresses.append(grad.data_ptr()))
    (Ones.apply(y) + Ones.apply(y)).backward()
    assert len(addresses) == 3 and addresses[2] in addresses[:2]
    assert bool((x.grad == 2.0).all())
