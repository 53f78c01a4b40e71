"""The counter-based coins and dropout masks: published vectors, one number a place, and chance as it should be."""

from __future__ import annotations

import math

import interpreter
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from m2t_fast import ops, use_backend
from m2t_fast.random import Counter
from m2t_fast.reference.draws import philox


@pytest.fixture(params=interpreter.backends())
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that can run on this machine, and Triton's kernels interpreted."""
    return request.param


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_the_published_vectors(counter: str, key: str, expected: str) -> None:
    """Random123's known answers for philox4x32-10: zeros, ones, and the digits of pi."""

    def words(text: str) -> tuple[Tensor, ...]:
        return tuple(torch.tensor(int(word, 16)) for word in text.split())

    assert philox(words(counter), words(key)) == words(expected)  # type: ignore[arg-type]


def draws(seed: int = 1, step: int = 2, size: tuple[int, int, int] = (3, 5, 10), **options) -> tuple[Tensor, ...]:
    counter = Counter(seed, step, rows=options.pop("rows", None))
    options = {"teacher_forcing": 0.5, "dropout": 0.4, **options}
    return ops.random_draws(counter.state, *size, rows=counter.rows, **options)


@given(
    seed=st.integers(0, 2**64 - 1),
    step=st.integers(0, 2**32 - 1),
    size=st.tuples(*[st.integers(0, 9)] * 3),
    data=st.data(),
)
def test_a_number_depends_on_its_place_alone(seed, step, size, data) -> None:
    """On every backend: the definition, and neither the batch around a place nor its padding."""
    batch, words, channels = size
    rows = data.draw(st.lists(st.integers(0, 2**32 - 1), min_size=batch, max_size=batch))
    number = torch.tensor(rows, dtype=torch.int64)
    with use_backend("auto"):
        coins, first, second = draws(seed, step, size, rows=number, teacher_forcing=0.3)
        wider = draws(seed, step, (batch + 1, words + 2, channels + 3), rows=torch.cat([number, number.new_zeros(1)]))

    def word(*counter: int) -> list[int]:
        key = torch.tensor(seed & 0xFFFFFFFF), torch.tensor(seed >> 32)
        return [int(x) for x in philox(tuple(torch.tensor(x) for x in counter), key)]

    assert coins.tolist() == [word(2 << 30, j, 0, step)[0] < 0.3 * 2**32 for j in range(words)]
    for purpose, mask, other in ((0, first, wider[1]), (1 << 30, second, wider[2])):
        assert mask.shape == size and torch.equal(mask, other[:batch, :words, :channels])
        for place in (
            data.draw(st.lists(st.tuples(*(st.integers(0, n - 1) for n in size)), max_size=3)) if mask.numel() else []
        ):
            b, j, e = place
            kept = word(purpose + e // 4, j, rows[b], step)[e % 4] < round(0.6 * 2**32)
            assert float(mask[place]) == (float(torch.tensor(1 / 0.6)) if kept else 0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("seed", [0, 7, 2**32 + 7, 2**63, 2**64 - 1])
def test_every_backend_gives_the_same_bits(seed, dtype, backend) -> None:
    for size in ((3, 5, 10), (2, 1, 1), (0, 4, 8), (3, 0, 8), (4, 3, 0), (70, 9, 64)):
        rows = torch.arange(size[0]) * 3 + 2**31
        with use_backend("reference"):
            expected = draws(seed, 2**32 - 1, size, rows=rows, dtype=dtype)
        with use_backend(backend):
            found = draws(seed, 2**32 - 1, size, rows=rows, dtype=dtype)
            strided = draws(seed, 2**32 - 1, size, rows=torch.stack([rows, -rows], 1)[:, 0], dtype=dtype)
        for a, b, e in zip(found, strided, expected, strict=True):
            assert a.dtype == e.dtype and a.is_contiguous() and torch.equal(a, e) and torch.equal(b, e)


def test_rows_are_counted_from_zero(backend) -> None:
    with use_backend(backend):
        for a, b in zip(draws(), draws(rows=torch.arange(3)), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("p", [0.0, 1e-12, 0.03, 0.5, 1.0 - 2**-40, 1.0])
def test_rates_are_within_what_chance_allows(p) -> None:
    """Five standard deviations of a binomial; never and always are never and always."""

    def check(hits: Tensor, rate: float) -> None:
        assert abs(float(hits.double().mean()) - rate) <= 5 * math.sqrt(rate * (1 - rate) / hits.numel()) + 1e-9

    coins = torch.cat([draws(3, step, (0, 1000, 0), teacher_forcing=p)[0] for step in range(20)])
    check(coins, p)
    if p < 1.0:
        _, first, second = draws(3, 4, (60, 30, 64), dropout=p)
        check(first > 0, 1 - p)
        check(second > 0, 1 - p)
        assert bool(((first == 0) | (first == float(torch.tensor(1 / (1 - p))))).all())


def test_neighbours_know_nothing_of_each_other() -> None:
    """Correlations between steps, rows, words, channels, masks and seeds are those of independent coins."""
    size = (64, 32, 64)
    now, later, other = draws(5, 10, size), draws(5, 11, size), draws(6, 10, size)
    high = draws(5 + 2**32, 10, size)
    first = now[1] > 0
    pairs = {
        "steps": (first, later[1] > 0),
        "seeds": (first, other[1] > 0),
        "high words of seeds": (first, high[1] > 0),
        "masks": (first, now[2] > 0),
        "rows": (first[1:], first[:-1]),
        "words": (first[:, 1:], first[:, :-1]),
        "channels": (first[..., 1:], first[..., :-1]),
        "blocks of channels": (first[..., 4:], first[..., :-4]),
    }
    for name, (a, b) in pairs.items():
        correlation = torch.corrcoef(torch.stack([a.flatten(), b.flatten()]).double())[0, 1]
        assert abs(float(correlation)) < 5 / math.sqrt(a.numel()), name
    coins = torch.stack([draws(5, step, (0, 40, 0))[0] for step in range(400)]).double()
    for a, b in ((coins[1:], coins[:-1]), (coins[:, 1:], coins[:, :-1])):
        assert abs(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])) < 5 / math.sqrt(a.numel())


def test_a_counter_moves_in_place_and_shares_its_state_with_its_rows() -> None:
    counter = Counter(2**64 - 1, 3)
    share = counter.of_rows(torch.tensor([1, 4]))
    counter.advance()
    assert share.state is counter.state and counter.state.tolist() == [-1, 4]
    counter.set_step(2**32 - 1)
    assert share.state.tolist() == [-1, 2**32 - 1] and counter.device == torch.device("cpu")
    assert counter.rows is None and share.rows.tolist() == [1, 4]


def test_the_registered_op() -> None:
    state = Counter(2, 3).state
    for rows in (None, torch.tensor([5, 1])):
        arguments = (state, 2, 3, 5, 0.5, 0.75, rows, torch.float32, "auto")
        torch.library.opcheck(torch.ops.m2t_fast.random_draws.default, arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(state=torch.zeros(2)), TypeError, "state has dtype torch.float32, expected torch.int64"),
        (dict(state=torch.zeros(3, dtype=torch.int64)), ValueError, r"state has shape \(3,\), expected \(2\)"),
        (dict(rows=torch.zeros(2, dtype=torch.int64)), ValueError, r"rows has shape \(2,\), expected \(B=3\)"),
        (dict(rows=torch.zeros(3)), TypeError, "rows has dtype torch.float32"),
        (dict(words=-1), ValueError, "words: got -1, expected 0 to"),
        (dict(teacher_forcing=1.5), ValueError, "teacher_forcing: got 1.5"),
        (dict(dropout=1.0), ValueError, "dropout: got 1.0"),
        (dict(dtype=torch.int64), TypeError, "dtype is torch.int64, expected a floating dtype"),
    ],
)
def test_refusals(change, error, message) -> None:
    arguments = dict(state=Counter(0).state, batch=3, words=2, channels=4, teacher_forcing=0.5, dropout=0.5)
    with pytest.raises(error, match=message):
        ops.random_draws(**{**arguments, **change})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(seed=-1), ValueError, r"seed: got -1, expected 0 to 2\*\*64 - 1"),
        (dict(seed=2**64), ValueError, "seed: got 18446744073709551616"),
        (dict(seed=0, step=2**32), ValueError, r"step: got 4294967296, expected 0 to 2\*\*32 - 1"),
        (dict(seed=1.0), TypeError, "seed must be an int, got float"),
        (dict(seed=0, rows=[0, 1]), TypeError, r"rows must be an int64 tensor \(B,\), got list"),
        (dict(seed=0, rows=torch.zeros(2)), TypeError, r"got torch.float32 \(2,\)"),
    ],
)
def test_a_counter_refuses(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        Counter(**arguments)
