"""Weights of several processes: DDP and FSDP2 give the gradients of one process; other DTensors are refused by name."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from typing import Any

import forking
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, distribute_tensor

from m2t_fast import Captioner, CaptionerConfig
from m2t_fast.config import EOS, PAD
from m2t_fast.data.batches import Batch
from m2t_fast.outputs import Draws

pytestmark = pytest.mark.skipif(not dist.is_gloo_available(), reason="this torch has no gloo")
CHILDREN = ("encoder", "bottom_lstm", "top_lstm", "attention", "step", "output")


def batch(rank: int) -> Batch:
    g = torch.Generator().manual_seed(rank)
    motion, tokens = torch.randn(3, 9, 21, 3, generator=g), torch.randint(3, 30, (3, 7), generator=g)
    return Batch(motion, torch.tensor([9, 4, 1]), tokens, torch.ones(3, 6), torch.ones(3, 6, 6), torch.arange(3))


def output_loss(model: nn.Module, rank: int) -> Tensor:
    out = model(*batch(rank)[:3])
    return out.logits.square().mean() + out.spatial.square().mean() + out.mean.mean()


def training_loss(model: Captioner, rank: int, folded: bool) -> Tensor:
    """Scheduled sampling and dropout of a process's own: how often the model's own words are read differs."""
    coins = torch.arange(6) % (2 + rank) == 0
    dropout = torch.rand(2, 3, 6, 8, generator=torch.Generator().manual_seed(rank))
    found = model.losses(batch(rank), Draws(coins, (dropout[0], dropout[1])), folded)
    return found.language + 2 * found.spatial + 3 * found.adaptive


def wrapped(model: Captioner, way: str, **options: Any) -> nn.Module:
    if way == "DDP":
        return nn.parallel.DistributedDataParallel(model)
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    parts = {"root": [], "children": [model.get_submodule(name) for name in CHILDREN]}
    parts |= {"layers": [x for x in model.modules() if isinstance(x, nn.Linear)], "all children": [*model.children()]}
    for part in parts[way]:
        fully_shard(part, mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options)


def same_gradients(model: nn.Module, expected: nn.Module) -> None:
    for (name, p), q in zip(model.named_parameters(), expected.parameters(), strict=True):
        assert p.grad is not None, name
        grad = p.grad.full_tensor() if hasattr(p.grad, "full_tensor") else p.grad
        torch.testing.assert_close(grad, q.grad, rtol=1e-4, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


def same_training(model: Any, plain: Captioner, rank: int) -> None:
    """Two steps by :meth:`Captioner.losses`, the other way of folding in each, with a search between them."""
    plain = copy.deepcopy(plain)
    optimisers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in (model, plain)]
    for folded in (False, True):
        for optimiser in optimisers:
            optimiser.zero_grad()
        ((training_loss(plain, 0, folded) + training_loss(plain, 1, folded)) / 2).backward()
        model.generate(*batch(rank)[:2], max_length=3)
        training_loss(model, rank, folded).backward()
        same_gradients(model, plain)
        for optimiser in optimisers:
            optimiser.step()


def same_captions(model: Any, plain: Captioner, rank: int) -> None:
    """Captions of every search; each process stops when its own motions are captioned, one 20 words later."""
    motions, lengths = batch(rank)[:2]
    for search in ("beam", "best_first"):
        length = 3 + 20 * rank if search == "beam" else None
        found, expected = (x.generate(motions, lengths, 3, length, search=search) for x in (model, plain))
        assert torch.equal(found.tokens, expected.tokens)
        torch.testing.assert_close(found.attention.spatial, expected.attention.spatial)
    assert torch.equal(caption_words(model, rank), caption_words(plain, rank))


def caption_words(model: Captioner, rank: int) -> Tensor:
    words = model.greedy_words(*batch(rank)[:2])
    ended = (words == EOS).cumsum(1) - (words == EOS).long() > 0
    return words.masked_fill(ended, PAD)


def process(rank: int, port: int) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    sizes = dict(joints=21, part_dim=16, attention_dim=12, hidden_size=20, embedding_dim=8)
    for scoring, ways in (("part", ("DDP", "root", "children", "layers")), ("frame", ("children",))):
        torch.manual_seed(0)
        plain = Captioner(CaptionerConfig(vocab_size=30, scoring=scoring, **sizes)).eval()
        for way in ways:
            expected = copy.deepcopy(plain)
            ((output_loss(expected, 0) + output_loss(expected, 1)) / 2).backward()
            model = wrapped(copy.deepcopy(plain), way)
            output_loss(model, rank).backward()
            same_gradients(model, expected)
            if way != "DDP":
                same_captions(model, plain, rank)
                same_training(model, plain, rank)
                refuses_what_is_not_gathered(wrapped(copy.deepcopy(plain), way), rank)
    mixed_precision(plain, rank)
    dist.destroy_process_group()


def refuses_what_is_not_gathered(model: Any, rank: int) -> None:
    for call in (model.encode, lambda *x: model.run(*x, batch(rank).tokens, Draws(None, None))):
        with pytest.raises(NotImplementedError, match=r"is a DTensor; .* losses, generate and greedy_words"):
            call(*batch(rank)[:2])


def mixed_precision(plain: Captioner, rank: int) -> None:
    """FSDP2 casts inputs and weights: as a model in that dtype computes, whose masks are in float32 or not."""
    from torch.distributed.fsdp import MixedPrecisionPolicy

    motions, lengths, tokens = batch(rank)[:3]
    expected = copy.deepcopy(plain).bfloat16().train()(motions.bfloat16(), lengths, tokens, generator=seeded())
    for way in ("root", "all children"):
        model = wrapped(copy.deepcopy(plain), way, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16)).train()
        found = model(motions, lengths, tokens, generator=seeded())
        assert found.logits.dtype == torch.bfloat16
        torch.testing.assert_close(found.logits, expected.logits, rtol=0.05, atol=0.05)
        training_loss(model, rank, False).backward()
        model.eval().generate(motions, lengths, max_length=3)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.slow
def test_two_processes() -> None:
    """The mean of both processes' gradients, however the weights are shared; captions of the whole weights."""
    mp.spawn(process, (forking.free_port(),), nprocs=2)


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
