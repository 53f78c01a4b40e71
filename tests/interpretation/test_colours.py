"""The palette: colours that people with any colour vision tell apart, and text that can be read on them."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.interpretation.colours import PART_COLOURS, WORD_COLOURS, contrast, mixed, text_on
from m2t_fast.skeleton import PART_NAMES

# Machado, Oliveira and Fernandes 2009, severity 1: what each kind of colour vision makes of linear RGB.
VISION = {
    "usual": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def lab(colour: str, vision: str) -> np.ndarray:
    """CIE L*a*b* of a colour as this kind of vision sees it."""
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(VISION[vision]) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = np.cbrt(xyz / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
def test_parts_are_told_apart_by_everybody(vision: str) -> None:
    assert tuple(PART_COLOURS) == PART_NAMES
    for a, b in combinations(PART_COLOURS.values(), 2):
        assert np.linalg.norm(lab(a, vision) - lab(b, vision)) > 10, (a, b)


def test_no_word_has_the_colour_of_another() -> None:
    assert len(set(WORD_COLOURS)) == len(WORD_COLOURS)


@given(st.sampled_from([*PART_COLOURS.values(), *WORD_COLOURS]), st.floats(0, 1))
def test_text_can_be_read_on_any_shade(colour: str, share: float) -> None:
    background = mixed(colour, share)
    assert contrast(text_on(background), background) >= 4.5


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
