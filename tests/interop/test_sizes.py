"""Other float dtypes, empty batches, one word, one frame, and more elements than 32 bits count."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from m2t_fast import Captioner, native, ops, use_backend
from m2t_fast.data.batches import Batch
from m2t_fast.native import pack_ragged

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10, torch.bfloat16: 5e-2, torch.float16: 1e-2}


def drawn(B: int, T: int, L: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    motion = torch.randn(B, T, 21, 3, generator=g).to(dtype)
    return motion, torch.randint(1, T + 1, (B,), generator=g), torch.randint(1, 30, (B, L + 1), generator=g)


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", [(2, 5, 3), (0, 5, 3), (2, 1, 1), (1, 4, 1)])
def test_a_model_in_any_dtype_and_size(
    sizes: tuple[int, int, int], dtype: torch.dtype, backend: str, model: Captioner
) -> None:
    """Values are those of float64 to the dtype's digits, gradients are finite, every search runs."""
    B, T, L = sizes
    motion, lengths, tokens = drawn(B, T, L, dtype)
    model.to(dtype)
    exact = copy.deepcopy(model).double()(motion.double(), lengths, tokens)
    with use_backend(backend):
        for name, value, truth in zip(exact._fields[:-1], model(motion, lengths, tokens), exact, strict=False):
            assert value.dtype == dtype and value.shape == truth.shape
            scale = 1.0 + (float(truth.detach().abs().max()) if truth.numel() else 0.0)
            torch.testing.assert_close(value.double(), truth, rtol=0, atol=TOLERANCE[dtype] * scale, msg=name)
        for options in (dict(beam_size=1), dict(beam_size=3), dict(beam_size=2, search="best_first")):
            found = model.generate(motion, lengths, max_length=4, **options)
            assert found.tokens.shape[0] == B and found.attention.spatial.shape[::2] == (B, T)
        model.train()
        gates, parts = torch.ones(B, L), torch.ones(B, L, 6)
        batch = Batch(motion, lengths, tokens, gates, parts, torch.arange(B))
        for folded in (False, True):
            losses = model.losses(batch, model.draw(B, L, 0.5), folded)
            assert all(torch.isfinite(x) for x in losses)
            sum(x.float() for x in losses).backward()
    # The range of float16 is short: there the equations themselves overflow in a gradient as steep as this model's.
    assert all(p.grad is not None for p in model.parameters())
    assert dtype == torch.float16 or all(torch.isfinite(p.grad).all() for p in model.parameters())


B, L, T, P, H, D = 3, 300, 400_000, 6, 4, 2


def test_more_elements_than_32_bits_on_meta() -> None:
    """B*L*T*P = 2.2e9: shapes, strides and the graph of the gradient."""
    with torch.device("meta"):
        parts = torch.empty(B, T, P, H, requires_grad=True)
        keys, query = torch.empty(B, T, P, D), torch.empty(B, L, D)
        weights = torch.empty(D), torch.empty(1, D), torch.empty(1)
        lengths = torch.empty(B, dtype=torch.int64)
    out = ops.spatio_temporal_attention.in_bounds(parts, keys, keys, query, query, *weights, lengths)
    assert out.spatial.shape == (B, L, T, P) and out.spatial.numel() > 2**31
    assert out.spatial.stride() == (L * T * P, T * P, P, 1)
    assert torch.autograd.grad(out.spatial, parts, torch.empty_like(out.spatial))[0].shape == parts.shape


def untouched(*shape: int, dtype: type = np.float32) -> Tensor:
    """Zeros that take memory where something is written alone: the operating system gives pages when they are used."""
    try:
        made = torch.from_numpy(np.zeros(shape, dtype))
    except MemoryError:
        pytest.skip("the operating system does not promise memory that it may not have (vm.overcommit_memory)")
    assert made.numel() > 2**31
    return made


FEW = 5
"""Frames that are read of every sequence."""
LENGTHS = torch.tensor([FEW, 1, FEW])


def few_of(tensor: Tensor) -> Tensor:
    """Draws the first frames of (B, T, ...), and gives a copy of them."""
    tensor[:, :FEW] = torch.randn(tensor[:, :FEW].shape, generator=torch.Generator().manual_seed(2))
    return tensor[:, :FEW].clone()


def small(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def kernels() -> Iterator[None]:
    if not native.available():
        pytest.skip("the native extension is not built, and plain PyTorch copies its inputs")
    with use_backend("cpu"):
        yield


def test_attention_of_parts_behind_32_bits(kernels: None) -> None:
    """Here and below the last sequence's frames lie behind 2**31 elements."""
    T, P, H = 4096, 64, 4096
    parts, temporal, spatial = untouched(3, T, P, H), small(3, T, P, 2), small(3, T, P, 2)
    few = few_of(parts)
    others = small(3, 2, 2), small(3, 2, 2), small(2), small(1, 2), small(1), LENGTHS
    found = ops.spatio_temporal_attention(parts, temporal, spatial, *others)
    keys = temporal[:, :FEW].contiguous(), spatial[:, :FEW].contiguous()
    expected = ops.spatio_temporal_attention(few, *keys, *others)
    torch.testing.assert_close(found.context, expected.context)
    torch.testing.assert_close(found.spatial[:, :, :FEW], expected.spatial)


def test_encoder_of_motions_behind_32_bits(kernels: None) -> None:
    """A skeleton of 33 million joints, of which four are read."""
    motion = untouched(3, FEW + 3, 2**25, 3)
    joints = [0, 1, 2**25 - 2, 2**25 - 1]
    few = small(3, FEW, 4, 3)
    motion[:, :FEW, joints] = few
    weights = small(2, 12, 4), small(2, 2, 4), small(2, 2, 4, 3), small(2, 2, 3)
    found = ops.part_encoder(motion, LENGTHS, *weights, ((0, 1), (2**25 - 2, 2**25 - 1)))
    expected = ops.part_encoder(few, LENGTHS, *weights, ((0, 1), (2, 3)))
    torch.testing.assert_close(found[:, :FEW], expected)


def test_batches_of_stores_behind_32_bits(kernels: None) -> None:
    frames = untouched(2**25, 22, 3)
    frames[-FEW:] = few = small(FEW, 22, 3)
    offsets = torch.tensor([0, 2**25 - FEW, 2**25])
    found = ops.gather_motions(frames, offsets, torch.tensor([1]), FEW, None, None)
    expected = ops.gather_motions(few, torch.tensor([0, FEW]), torch.tensor([0]), FEW, None, None)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(pack_ragged(frames, offsets, torch.tensor([1, 1]), FEW)[1], few)
    values = untouched(2**31 + 10, dtype=np.uint8)
    values[-3:] = last = torch.tensor([7, 8, 9], dtype=torch.uint8)
    assert torch.equal(pack_ragged(values, torch.tensor([0, 2**31 + 7, 2**31 + 10]), torch.tensor([1]), 3)[0], last)
