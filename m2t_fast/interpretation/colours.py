"""The colours of every picture: Okabe and Ito's palette, which people with any kind of colour vision can tell apart."""

from __future__ import annotations

from m2t_fast.skeleton import PART_NAMES

PART_COLOURS: dict[str, str] = dict(
    zip(PART_NAMES, ("#cc79a7", "#009e73", "#56b4e9", "#0072b2", "#e69f00", "#d55e00"), strict=True)
)
"""Of each body part, in the figures, the animation and the page; the limbs of a pair are related."""
WORD_COLOURS: tuple[str, ...] = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
GOLD = "#e0a100"
"""The box and the windows of the word that is shown, as in the paper's animations."""
BLACK, WHITE = "#000000", "#ffffff"


def luminance(colour: str) -> float:
    """Relative luminance of ``#rrggbb``, 0 (black) to 1 (white), as WCAG defines it."""
    linear = []
    for at in (1, 3, 5):
        value = int(colour[at : at + 2], 16) / 255
        linear.append(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours ``#rrggbb``, 1 to 21, as WCAG defines it."""
    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def text_on(background: str) -> str:
    """Black or white, whichever is easier to read on ``background``; the contrast is at least 4.5."""
    return max(BLACK, WHITE, key=lambda colour: contrast(colour, background))


def mixed(colour: str, share: float) -> str:
    """``share`` (0 to 1) of ``colour`` on white."""
    values = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(255 + (value - 255) * share):02x}" for value in values)
