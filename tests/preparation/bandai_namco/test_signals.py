"""Smoothing, the spline and peaks, on values whose result is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.preparation.bandai_namco.signals import peaks, smooth, spline


@given(count=st.integers(1, 40), sigma=st.sampled_from([0.5, 1.0, 3.0, 12.0]))
def test_smoothing_keeps_constants_and_sums(count: int, sigma: float) -> None:
    np.testing.assert_allclose(smooth(np.full((count, 2), 3.5), sigma), 3.5)
    values = np.random.default_rng(count).normal(size=count)
    assert smooth(values, sigma).sum() == pytest.approx(values.sum(), abs=1e-9)  # mirrored ends lose nothing


def test_smoothing_spreads_an_impulse_as_a_gaussian() -> None:
    values = np.zeros(101)
    values[50] = 1.0
    places = np.arange(101) - 50
    expected = np.exp(-0.5 * (places / 3.0) ** 2)
    np.testing.assert_allclose(smooth(values, 3.0), expected / expected.sum(), atol=1e-4)


@given(count=st.integers(4, 50), seed=st.integers(0, 9))
def test_the_spline_gives_back_cubics(count: int, seed: int) -> None:
    curve = np.polynomial.Polynomial(np.random.default_rng(seed).normal(size=4) / [1, 10, 100, 1000])
    places = np.linspace(0, count - 1, 3 * count)
    np.testing.assert_allclose(spline(curve(np.arange(count)), places), curve(places), atol=1e-7, rtol=1e-7)


def test_the_spline_goes_through_its_values_smoothly() -> None:
    values = np.random.default_rng(0).normal(size=(20, 2, 3))
    np.testing.assert_allclose(spline(values, np.arange(20.0)), values, atol=1e-12)
    fine = spline(values, np.linspace(0, 19, 19 * 64 + 1))
    assert np.abs(np.diff(fine, n=3, axis=0)).max() < 200 * 64**-3  # the second derivative has no jump
    np.testing.assert_allclose(spline(values[:3], np.array([0.5, 2.0])), [values[:2].mean(axis=0), values[2]])
    assert spline(values[:1], np.zeros(3)).shape == (3, 2, 3)


def test_peaks() -> None:
    values = np.array([0, 3, 0, 1, 1, 0.5, 2, 0, 5.0])
    assert peaks(values, prominence=0.1) == [1, 3, 6]
    assert peaks(values, prominence=0.1, height=2) == [1, 6]
    assert peaks(values, prominence=2) == [1, 6]
    assert peaks(values, prominence=2.5) == [1]
    assert peaks(values, prominence=0.1, distance=4) == [1, 6]  # the one between is lower
    assert peaks(np.arange(5.0), prominence=0) == [] and peaks(np.zeros(3), prominence=0) == []
