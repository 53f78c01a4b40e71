"""Tiles of ``query_gradient`` and ``key_gradient``: their groups, and the scores' gradients as they read them."""

from __future__ import annotations

import importlib.util

import pytest
import torch

if importlib.util.find_spec("triton") is None:
    pytest.skip("triton is not installed", allow_module_level=True)

from m2t_fast.ops.triton.attention import LARGEST_TILE, by_key_tile, by_word_tile, groups


@pytest.mark.parametrize("block", [1, 2, 4, 8, 16, 32])
def test_groups_depend_on_the_block_alone(block: int) -> None:
    found = {groups(block, words) for words in range(block + 1, 130)}
    assert found == {groups(block)} == {max(1, LARGEST_TILE // block)}
    assert {groups(block, words) for words in range(1, block + 1)} == {1}


@pytest.mark.parametrize("words", [1, 5, 6, 12])
def test_a_key_has_its_gradients_side_by_side(words: int) -> None:
    d_scores = torch.arange(2.0 * words * 7).view(2, words, 7) + 1
    tiles = by_word_tile(d_scores, 6)
    assert tiles.is_contiguous() and tiles.shape == (2, -(-words // 6), 7, 6)
    for word in range(tiles.shape[1] * 6):
        expected = d_scores[:, word] if word < words else torch.zeros(2, 7)
        assert torch.equal(tiles[:, word // 6, :, word % 6], expected)


@pytest.mark.parametrize("keys", [1, 5, 6, 12])
def test_tiles_of_keys_start_at_aligned_addresses(keys: int) -> None:
    d_scores = torch.arange(2.0 * 3 * keys).view(2, 3, keys) + 1
    tiles = by_key_tile(d_scores, 6)
    assert tiles.is_contiguous() and tiles.shape == (2, 3, -(-keys // 6) * 6)
    assert torch.equal(tiles[..., :keys], d_scores)
