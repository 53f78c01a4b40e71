"""Weights of several processes: DDP and FSDP2 give the gradients of one process; other DTensors are refused by name."""

from __future__ import annotations

import copy
import os
import socket
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, distribute_tensor

from m2t_fast import Captioner, CaptionerConfig
from m2t_fast.data.batches import Batch

pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="this torch has no gloo")
CHILDREN = ("encoder", "bottom_lstm", "top_lstm", "attention", "step", "output")


def batch(rank: int) -> Batch:
    g = torch.Generator().manual_seed(rank)
    motion, tokens = torch.randn(3, 9, 21, 3, generator=g), torch.randint(3, 30, (3, 7), generator=g)
    return Batch(motion, torch.tensor([9, 4, 1]), tokens, torch.ones(3, 6), torch.ones(3, 6, 6), torch.arange(3))


def loss(model: nn.Module, rank: int) -> Tensor:
    out = model(*batch(rank)[:3])
    return out.logits.square().mean() + out.spatial.square().mean() + out.mean.mean()


def wrapped(model: Captioner, way: str) -> nn.Module:
    if way == "DDP":
        return nn.parallel.DistributedDataParallel(model)
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    if way == "children":
        for name in CHILDREN:
            fully_shard(model.get_submodule(name), mesh=mesh)
    if way == "layers":
        for layer in [x for x in model.modules() if isinstance(x, nn.Linear)]:
            fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def same_gradients(model: nn.Module, expected: nn.Module) -> None:
    for (name, p), q in zip(model.named_parameters(), expected.parameters(), strict=True):
        assert p.grad is not None, name
        grad = p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad
        torch.testing.assert_close(grad, q.grad, rtol=1e-4, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


def process(rank: int, port: int) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    sizes = dict(joints=21, part_dim=16, attention_dim=12, hidden_size=20, embedding_dim=8)
    for scoring in ("part", "frame"):
        torch.manual_seed(0)
        plain = Captioner(CaptionerConfig(vocab_size=30, scoring=scoring, **sizes)).eval()
        for way in ("DDP", "root", "children", "layers"):
            expected = copy.deepcopy(plain)
            ((loss(expected, 0) + loss(expected, 1)) / 2).backward()
            model = wrapped(copy.deepcopy(plain), way)
            loss(model, rank).backward()
            same_gradients(model, expected)
            if way == "DDP":
                continue
            found = model.generate(*batch(rank)[:2], max_length=6)
            assert torch.equal(found.tokens, plain.generate(*batch(rank)[:2], max_length=6).tokens)
            assert model.greedy_words(*batch(rank)[:2]).shape[0] == 3
            with pytest.raises(NotImplementedError, match="guided_loss"):
                model.losses(batch(rank), model.draw(3, 6))
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes() -> None:
    """The mean of both processes' gradients, however the weights are shared; captions of the whole weights."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(process, (port,), nprocs=2)


@pytest.fixture
def alone(tmp_path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "name", ["output.weight", "encoder.weight1", "bottom_lstm.weight_ih", "attention.temporal_weight"]
)
def test_a_dtensor_that_nothing_gathers(name: str, model: Captioner, alone: None) -> None:
    layer, _, weight = name.rpartition(".")
    owner = model.get_submodule(layer)
    mesh = init_device_mesh("cpu", (1,))
    setattr(owner, weight, nn.Parameter(distribute_tensor(getattr(owner, weight).detach(), mesh, [Replicate()])))
    for call in (lambda: model(*batch(0)[:3]), lambda: model.generate(*batch(0)[:2])):
        with pytest.raises(NotImplementedError, match=f"{name} is a DTensor; expected a plain tensor"):
            call()
