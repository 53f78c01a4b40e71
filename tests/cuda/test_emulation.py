"""The emulated device itself: kernels run on it, and in any order of threads to the same bits."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from m2t_fast.ops.cuda import launch


@pytest.mark.parametrize("order", ["forward", "backward", "shuffled", "warps"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bias_tanh(device: ModuleType, order: str, dtype: torch.dtype) -> None:
    device.set_order(order)
    g = torch.Generator().manual_seed(0)
    x, bias = torch.randn(37, 11, generator=g).to(dtype), torch.randn(11, generator=g).to(dtype)
    exact = torch.tanh(x.double() + bias.double())
    made = x.clone()
    task = dict(x=made, bias=bias, rows=37, columns=11)
    launch.run("gated_decoder_step", "bias_tanh", x, {"rows": 37}, task=task)
    torch.testing.assert_close(made.double(), exact, rtol=0, atol=1e-6 if dtype == torch.float32 else 4e-3)


def trial(name: str, blocks: int = 2, threads: int = 64, cluster: int = 1) -> list[float]:
    out = torch.zeros(blocks * threads)
    size = dict(out=out, blocks=blocks, threads=threads, cluster=cluster)
    launch.run("an op", "trial", out, {"B": 3, "T": 5}, name=name, trial=size)
    return out.tolist()


@pytest.mark.parametrize("order", ["forward", "backward", "shuffled", "warps"])
def test_barriers_shuffles_and_clusters(device: ModuleType, order: str) -> None:
    device.set_order(order)
    halves = [sum(range(32, 64))] * 32 + [sum(range(32))] * 32
    assert trial("reverse") == halves * 2
    assert trial("around", blocks=8, cluster=4)[:8] == [1, 2, 3, 0, 5, 6, 7, 4]


def test_a_missing_barrier_shows(device: ModuleType) -> None:
    made = []
    for order in ("forward", "backward"):
        device.set_order(order)
        made.append(trial("race"))
    assert str(made[0]) != str(made[1])


def test_a_warp_that_runs_ahead_shows(device: ModuleType) -> None:
    for order in ("forward", "backward", "shuffled"):
        device.set_order(order)
        assert trial("ahead") == [32] * 128
    device.set_order("warps")
    assert trial("ahead") != [32] * 128


@pytest.mark.parametrize(
    ("name", "sizes", "text"),
    [
        ("half-a-warp", {}, "wait for one another for ever"),
        ("deadlock", {}, "wait for one another for ever"),
        ("overrun", {}, "a write behind shared memory"),
        ("odd-address", {}, "a vector is loaded from an odd address"),
        ("early", {}, "a thread did not wait for the launch before"),
        ("reverse", {"threads": 48}, "a block has 48 threads"),
        ("reverse", {"blocks": 0}, "invalid grid"),
        ("around", {"blocks": 3, "cluster": 2}, "a cluster of 2 blocks"),
    ],
)
def test_mistakes_are_caught_and_name_op_and_sizes(device: ModuleType, name: str, sizes: dict, text: str) -> None:
    with pytest.raises(RuntimeError, match=rf"^an op on cpu in float32 \(B=3, T=5\): .*{text}"):
        trial(name, **sizes)


def test_limits_of_the_device(device: ModuleType) -> None:
    device.set_device(108, 128, 80)
    with pytest.raises(RuntimeError, match="256 bytes of shared memory"):
        trial("reverse")
    with pytest.raises(RuntimeError, match="a cluster of 2 blocks"):
        trial("reverse", threads=32, cluster=2)
