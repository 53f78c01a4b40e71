"""Splits by source."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.preparation import assign_splits

SIZES = st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(1, 30), min_size=1, max_size=30)


@given(sources=SIZES, seed=st.integers(0, 9))
def test_every_source_has_one_split(sources: dict[str, int], seed: int) -> None:
    chosen = assign_splits(sources, seed=seed)
    assert set(chosen) == set(sources) and "train" in chosen.values()
    assert chosen == assign_splits(dict(reversed(sources.items())), seed=seed)
    if len(sources) >= 3:
        assert set(chosen.values()) == {"train", "val", "test"}


def test_shares_come_out() -> None:
    sources = {f"s{number}": 1 for number in range(200)}
    chosen = list(assign_splits(sources, (8, 1, 1), seed=3).values())
    assert [chosen.count(split) for split in ("train", "val", "test")] == [160, 20, 20]
    assert assign_splits(sources, (8, 1, 1), seed=3) != assign_splits(sources, (8, 1, 1), seed=4)
    assert set(assign_splits(sources, (1, 0, 0)).values()) == {"train"}


def test_what_is_given_stays() -> None:
    chosen = assign_splits({"a": 1, "b": 1, "c": 1}, given={"a": "test", "b": "val"})
    assert chosen == {"a": "test", "b": "val", "c": "train"}


@pytest.mark.parametrize("shares", [(0, 1, 1), (1, 1), (1, -1, 0), (float("nan"), 1, 1)])
def test_bad_shares(shares: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="shares: got"):
        assign_splits({"a": 1}, shares)
