"""The attention map: which words it shows, what is drawn where, its files, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from m2t_fast.data.raw import Segment
from m2t_fast.errors import UserError
from m2t_fast.interpretation import attention_map, save_attention_map

pytest.importorskip("matplotlib", reason="matplotlib is not installed (the plot extra)")

WORDS = ["a", "person", "walks", "then", "waves", "slowly"]
GATE = [0.1, 0.2, 0.9, 0.3, 0.95, 0.6]
FRAMES = 30


@pytest.fixture
def heat() -> tuple[np.ndarray, np.ndarray]:
    """window (L, T) and spatial (L, T, P)."""
    rng = np.random.default_rng(0)
    spatial = rng.random((len(WORDS), FRAMES, 6))
    return rng.random((len(WORDS), FRAMES)), spatial / spatial.sum(-1, keepdims=True)


def panels(figure) -> dict:  # noqa: ANN001  matplotlib's types are not needed to run without it
    return {axis.get_title(loc="left"): axis for axis in figure.axes if axis.get_title(loc="left")}


def test_motion_words_in_the_order_of_the_caption(heat: tuple) -> None:
    shown = panels(attention_map(WORDS, GATE, *heat))
    assert list(shown) == ["walks  (gate 0.90)", "waves  (gate 0.95)", "slowly  (gate 0.60)"]
    assert list(panels(attention_map(WORDS, GATE, *heat, max_words=2))) == list(shown)[:2]
    only = panels(attention_map(WORDS, np.array(GATE) / 3, *heat))
    assert list(only) == ["waves  (gate 0.32)"]


def test_all_motion_words_or_what_was_left_out(heat: tuple) -> None:
    words = ["walks", "with", "boxes", "and", "kneels", "slowly"]
    gate = [0.9, 0.95, 0.8, 0.99, 0.7, 0.6]
    figure = attention_map(words, gate, *heat, max_words=2)
    assert [title.split()[0] for title in panels(figure)] == ["walks", "boxes"]
    assert figure.texts[-1].get_text() == "not drawn: kneels, slowly"
    figure = attention_map(words, gate, *heat, max_words=None)
    assert [title.split()[0] for title in panels(figure)] == ["walks", "boxes", "kneels", "slowly"]
    assert not any("not drawn" in text.get_text() for text in figure.texts)


def test_times_are_those_of_the_file(heat: tuple) -> None:
    figure = attention_map(WORDS, GATE, *heat, fps=10.0, start=0.05)
    figure.canvas.draw()
    labels = [label.get_text() for label in list(panels(figure).values())[-1].get_xticklabels()]
    assert "0\n0.05 s" in labels and "15\n1.55 s" in labels


def test_the_heat_is_window_times_part(heat: tuple) -> None:
    window, spatial = heat
    figure = attention_map(WORDS, GATE, window, spatial)
    images = [axis.get_images()[0] for axis in panels(figure).values()]
    for image, number in zip(images, (2, 4, 5), strict=True):
        np.testing.assert_allclose(image.get_array(), (window[number][:, None] * spatial[number]).T)
        assert image.get_extent() == [-0.5, FRAMES - 0.5, 5.5, -0.5]
    highest = max((window[n][:, None] * spatial[n]).max() for n in (2, 4, 5))
    assert {image.get_clim() for image in images} == {(0.0, highest)}


def test_labels(heat: tuple) -> None:
    figure = attention_map(WORDS, GATE, *heat, fps=10.0, reference="a man walks and waves")
    assert [text.get_text() for text in figure.texts] == [" ".join(WORDS), "reference: a man walks and waves"]
    last = list(panels(figure).values())[-1]
    assert [label.get_text() for label in last.get_yticklabels()][:3] == ["root", "torso", "left arm"]
    figure.canvas.draw()
    assert "15\n1.5 s" in [label.get_text() for label in last.get_xticklabels()]


def test_gates_in_the_title(heat: tuple) -> None:
    (caption,) = attention_map(WORDS, GATE, *heat, gates_in_title=True).texts[:1]
    assert (
        caption.get_text().replace("\N{NO-BREAK SPACE}", " ").startswith("a (0.10) person (0.20) walks (0.90) then (")
    )


def test_what_happens(heat: tuple) -> None:
    segments = [Segment("walk", 0, 18, ("root",)), Segment("wave", 18, 30, ("left_arm",))]
    figure = attention_map(WORDS, GATE, *heat, segments=segments)
    strip = figure.axes[0]
    assert [text.get_text() for text in strip.texts] == ["walk", "wave"]
    assert strip.get_xlim() == (-0.5, FRAMES - 0.5)
    assert strip.get_position().y0 > max(axis.get_position().y1 for axis in panels(figure).values())


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".PDF", b"%PDF"), (".svg", b"<?xml")])
def test_files(heat: tuple, tmp_path: Path, suffix: str, magic: bytes) -> None:
    path = tmp_path / f"map{suffix}"
    path.write_bytes(b"old")
    assert save_attention_map(path, WORDS, GATE, *heat) == path
    assert path.read_bytes().startswith(magic)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_files_that_cannot_be_written(heat: tuple, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"map.jpg: picture format '.jpg', expected one of .png, .pdf, .svg"):
        save_attention_map(tmp_path / "map.jpg", WORDS, GATE, *heat)
    with pytest.raises(UserError, match="cannot write"):
        save_attention_map(tmp_path / "nowhere" / "map.png", WORDS, GATE, *heat)
    assert list(tmp_path.iterdir()) == []


def test_one_frame_and_one_word(tmp_path: Path) -> None:
    save_attention_map(tmp_path / "map.png", ["jumps"], [0.2], np.ones((1, 1)), np.full((1, 1, 6), 1 / 6))
    figure = attention_map(["jumps"], [0.2], np.zeros((1, 1)), np.full((1, 1, 6), 1 / 6))
    assert list(panels(figure)) == ["jumps  (gate 0.20)"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"words": []}, "words: got none"),
        ({"gate": [0.5]}, r"gate: got shape \(1,\), expected \(6,\)"),
        ({"window": np.ones(6)}, r"window: got shape \(6,\), expected \(6, 'T'\)"),
        ({"spatial": np.ones((6, 29, 6))}, r"spatial: got shape \(6, 29, 6\), expected \(6, 30, 6\)"),
        ({"part_names": ["left", "right"]}, r"spatial: got shape \(6, 30, 6\), expected \(6, 30, 2\)"),
        ({"fps": 0.0}, "fps: got 0.0"),
        ({"max_words": 0}, "max_words: got 0"),
    ],
)
def test_refused_arguments(heat: tuple, change: dict, message: str) -> None:
    given = {"words": WORDS, "gate": GATE, "window": heat[0], "spatial": heat[1], **change}
    with pytest.raises(ValueError, match=message):
        attention_map(**given)


def test_without_matplotlib(heat: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'm2t_fast\[plot\]'"):
        attention_map(WORDS, GATE, *heat)
