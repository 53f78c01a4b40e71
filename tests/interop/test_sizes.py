"""Other float dtypes, empty batches, one word, one frame, and more elements than 32 bits count."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from m2t_fast import Captioner, ops, use_backend
from m2t_fast.data.batches import Batch

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
