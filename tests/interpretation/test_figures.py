"""Every figure from a real run: its data is right, and what is drawn is its data."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.data.raw import Segment
from m2t_fast.interpretation import figures_gate, figures_parts, figures_time, gallery
from m2t_fast.interpretation.colours import PART_COLOURS
from m2t_fast.interpretation.figures import save_figure
from m2t_fast.interpretation.motion_words import MOTION_WORD
from m2t_fast.interpretation.samples import Sample, choose, collect_samples
from m2t_fast.interpretation.statistics import MOTION, NO_MOTION, usual_word
from m2t_fast.skeleton import PART_NAMES

pytest.importorskip("matplotlib", reason="matplotlib is not installed (the plot extra)")


@pytest.fixture(scope="module")
def sample(trained) -> Sample:  # noqa: ANN001
    """A motion of two actions or more."""
    several = [n for n, segments in enumerate(trained.test.segments) if len(segments) > 1]
    return collect_samples(trained.run, trained.test, several[:1], beam_size=2)[0]


def integral(heights: list[float]) -> float:
    """By the trapezoidal rule, of heights at even places from 0 to 1."""
    return float((np.sum(heights) - (heights[0] + heights[-1]) / 2) / (len(heights) - 1))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_densities_integrate_to_one(values: list[float]) -> None:
    heights = figures_gate.density(values, points=801)
    assert (heights >= 0).all() and integral(heights) == pytest.approx(1.0, abs=5e-3)


def test_density_lies_where_the_values_are() -> None:
    heights = figures_gate.density([0.0] * 30 + [1.0] * 10)
    assert heights[0] == pytest.approx(3 * heights[-1], rel=1e-3) and heights[100] < 0.1 * heights[-1]
    assert figures_gate.density([0.3]).argmax() == 60
    for bad in ([], [1.2], [-0.1]):
        with pytest.raises(ValueError, match="values: got"):
            figures_gate.density(bad)


def test_gate_density(trained) -> None:  # noqa: ANN001
    data = figures_gate.gate_data(trained.found)
    for name, kind in (("motion", MOTION), ("other", NO_MOTION)):
        gates = [r.gate for r in trained.found if r.kind == kind]
        assert data[name]["all"]["count"] == len(gates) == sum(e["count"] for e in data[name]["stems"].values())
        assert data[name]["all"]["mean"] == pytest.approx(np.mean(gates))
        assert all(integral(e["density"]) == pytest.approx(1.0, abs=0.05) for e in data[name]["stems"].values())
    assert "person" in data["other"]["stems"]
    assert data["motion"]["all"]["mean"] > data["other"]["all"]["mean"]
    figure = figures_gate.draw_gates(data, most=3)
    left, right = figure.axes
    assert [label.get_text() for label in right.get_yticklabels()] == ["all", *list(data["other"]["stems"])[:3]]
    assert [text.get_text() for text in left.texts][0] == f"#{data['motion']['all']['count']:,}"
    curve = left.get_lines()[0].get_ydata()
    np.testing.assert_allclose(
        (curve - curve.min()) / np.ptp(curve),
        (lambda h: (h - h.min()) / np.ptp(h))(np.array(data["motion"]["all"]["density"])),
        atol=1e-9,
    )


def test_part_histograms(trained) -> None:  # noqa: ANN001
    data = figures_parts.histogram_data(trained.read)
    for stem, entry in data["stems"].items():
        records = [r for r in trained.read if r.stem == stem and r.kind == MOTION]
        assert entry["count"] == len(records)
        for number, part in enumerate(PART_NAMES):
            counts = entry["histogram"][part]
            assert sum(counts) == len(records)
            assert counts[19] == sum(r.peak[number] >= data["edges"][19] for r in records)
            assert entry["mean"][number] == pytest.approx(np.mean([r.peak[number] for r in records]))
    figure = figures_parts.draw_histograms(data, most=3)
    names = [own for own in data["stems"] if own != "then"][:3]
    assert [a.get_title(loc="left") for a in figure.axes] == [
        f"{data['stems'][n]['word']}  (#{data['stems'][n]['count']:,})" for n in names
    ]
    drawn = np.array([bar.get_height() for bar in figure.axes[0].patches]).reshape(6, 20)
    expected = np.array([data["stems"][names[0]]["histogram"][part] for part in PART_NAMES])
    np.testing.assert_allclose(drawn / drawn.max(), expected / expected.max(), atol=1e-12)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels[::-1] == ["root", "torso", "left arm", "right arm", "left leg", "right leg"]


def test_asked_stems_come_in_their_order(trained) -> None:  # noqa: ANN001
    stems = list(figures_parts.histogram_data(trained.read)["stems"])[-2:]
    figure = figures_parts.draw_histograms(figures_parts.histogram_data(trained.read, [*stems[::-1], "fly"]))
    words = {own: usual_word([r for r in trained.read if r.stem == own and r.kind == MOTION]) for own in stems}
    assert [axis.get_title(loc="left").split()[0] for axis in figure.axes] == [words[own] for own in stems[::-1]]
    gates = figures_gate.draw_gates(figures_gate.gate_data(trained.read, stems))
    assert [label.get_text() for label in gates.axes[0].get_yticklabels()] == ["all", *words.values()]


def test_trajectory_of_a_real_run(trained) -> None:  # noqa: ANN001
    data = figures_parts.trajectory_data(trained.read)
    assert "forward" in data["supervised"] and data["other"]
    for own, entry in [*data["supervised"].items(), *data["other"].items()]:
        peaks = np.stack([r.peak for r in trained.read if r.stem == own and r.kind == MOTION])
        assert entry["count"] == len(peaks) and sum(entry["best"]) == pytest.approx(1.0)
        np.testing.assert_allclose(entry["mean"], peaks.mean(0))
        for number in range(6):
            assert entry["best"][number] == pytest.approx((peaks.argmax(1) == number).mean())


def test_trajectory(word) -> None:  # noqa: ANN001
    records = [word("forward", part=0), word("forward", part=0), word("forward", part=5), word("turn", part=0)]
    records += [word("wave", part=2), word("forward", kind=-1, part=3)]
    data = figures_parts.trajectory_data(records)
    assert list(data["supervised"]) == ["forward"] and list(data["other"]) == ["turn"]
    entry = data["supervised"]["forward"]
    assert entry["count"] == 3 and entry["best"] == pytest.approx([2 / 3, 0, 0, 0, 0, 1 / 3])
    assert entry["mean"] == pytest.approx([0.6, 0, 0, 0, 0, 0.3])
    axis = figures_parts.draw_trajectory(data).axes[0]
    widths = np.array([bar.get_width() for bar in axis.patches]).reshape(6, 2)
    np.testing.assert_allclose(widths.T, [entry["best"], [1, 0, 0, 0, 0, 0]])
    assert [label.get_text() for label in axis.get_yticklabels()] == ["forward", "turn"]
    clockwise = figures_parts.draw_trajectory(figures_parts.trajectory_data([word("clockwise", stem="clockwis")]))
    assert [label.get_text() for label in clockwise.axes[0].get_yticklabels()] == [
        "clockwise"
    ]  # not its stem, clockwis


def test_figures_of_nothing() -> None:
    for draw, data in (
        (figures_gate.draw_gates, figures_gate.gate_data([])),
        (figures_parts.draw_histograms, figures_parts.histogram_data([])),
        (figures_parts.draw_trajectory, figures_parts.trajectory_data([])),
    ):
        texts = [t.get_text() for t in [*draw(data).texts, *(t for a in draw(data).axes for t in a.texts)]]
        assert any(text.startswith("no ") for text in texts)


def test_windows(sample: Sample) -> None:
    data = figures_time.windows_data(sample)
    shown = [n for n in range(len(sample.words)) if sample.gate[n] >= MOTION_WORD]
    assert [entry["word"] for entry in data["words"]] == [sample.words[n] for n in shown] != []
    frames = np.arange(sample.frames)
    for entry in data["words"]:
        curve = np.exp(-((frames - entry["mean"]) ** 2) / (2 * entry["std"] ** 2))  # eq. 4
        np.testing.assert_allclose(entry["window"], curve, atol=1e-4)
    assert data["segments"] == [
        {"action": s.action, "start": s.start, "end": s.end, "active": list(s.active), "parts": list(s.parts)}
        for s in sample.segments
    ]
    axis = figures_time.draw_windows(sample, data).axes[0]
    dots = [line for line in axis.get_lines() if line.get_marker() == "."]
    for line, entry in zip(dots, data["words"], strict=True):
        np.testing.assert_allclose(line.get_ydata(), entry["window"])
    onsets = [line.get_xdata()[0] for line in axis.get_lines() if line.get_linestyle() == "--"]
    assert set(onsets) >= {segment.active[0] - 0.5 for segment in sample.segments}


def test_fine_grained(sample: Sample) -> None:
    data = figures_time.fine_grained_data(sample, width=1.0)
    assert [entry["word"] for entry in data["words"]] == sample.words
    for number, entry in enumerate(data["words"]):
        assert entry["motion"] == (sample.gate[number] >= MOTION_WORD)
        if entry["motion"]:
            low, high = sample.mean[number] - sample.std[number], sample.mean[number] + sample.std[number]
            assert entry["start"] == pytest.approx(max(low, -0.5)) and entry["end"] == pytest.approx(
                min(high, sample.frames - 0.5)
            )
            assert entry["seconds"][0] == pytest.approx((entry["start"] + 0.5) / sample.fps)
            assert max(entry["share"], key=entry["share"].get) == entry["part"]
            assert f"{entry['word']} [{entry['parts']}, {entry['seconds'][0]:.1f}-" in data["text"]
    figure = figures_time.draw_fine_grained(sample, data)
    bars = figure.axes[0].patches
    motion = [entry for entry in data["words"] if entry["motion"]]
    drawn = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars]
    np.testing.assert_allclose(drawn, [(entry["start"], entry["end"]) for entry in motion])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == [e["word"] for e in motion]


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ([0, 0, 0.9, 0.1, 0, 0], "left arm"),
        ([0, 0, 0.4, 0.6, 0, 0], "both arms"),
        ([0.3, 0, 0, 0, 0.4, 0.3], "root, both legs"),
        ([0, 0.5, 0.25, 0, 0, 0.25], "torso, left arm, right leg"),
        ([0, 0, 0.3, 0.2, 0.3, 0.2], "both arms, both legs"),
    ],
)
def test_parts_in_words(share: list[float], expected: str) -> None:
    assert figures_time.parts_named(share) == expected


def test_map_and_its_data(sample: Sample, tmp_path: Path) -> None:
    files = gallery.draw_sample(tmp_path, ["maps"], sample)
    assert [f.relative_to(tmp_path).as_posix() for f in files] == [
        f"maps/{sample.id}.{s}" for s in ("png", "pdf", "npz")
    ]
    data = np.load(files[2])
    assert data["words"].tolist() == sample.words and data["references"].tolist() == sample.references
    for name in ("gate", "mean", "std", "window", "spatial"):
        np.testing.assert_array_equal(data[name], getattr(sample, name))
    np.testing.assert_allclose(data["spatial"].sum(-1), 1.0, rtol=1e-5)


def test_a_caption_may_be_read(trained) -> None:  # noqa: ANN001
    (sample,) = collect_samples(trained.run, trained.test, [4], references=True)
    own = [record for record in trained.read if (record.motion, record.caption) == (4, 0)]
    assert sample.words == [record.word for record in own]
    np.testing.assert_allclose(sample.gate, [record.gate for record in own], rtol=1e-4)
    np.testing.assert_allclose(sample.mean, [record.mean for record in own], rtol=1e-4)


def test_choice_of_samples(trained) -> None:  # noqa: ANN001
    test = trained.test
    assert choose(test, ["0"]) == [] and choose(test, ["2"]) == [2, 7] and choose(test, ["10"]) == list(range(10))
    assert choose(test, ["99"]) == list(range(10))
    assert choose(test, [test.ids[3], test.ids[1], test.ids[3]]) == [3, 1]
    for wanted in (["-1"], ["nobody"], [test.ids[0], "2"]):
        with pytest.raises(ValueError, match="--samples: '.*' is not an id of the test split"):
            choose(test, wanted)


def test_long_captions_and_no_motion_words(sample: Sample) -> None:
    words = ["person"] * 40
    gate = np.zeros(40)
    stretched = Sample(
        "x", words, gate, np.ones((40, 5)), np.full((40, 5, 6), 1 / 6), gate + 1, gate + 1, 10.0, ["a b"], None
    )
    data = figures_time.fine_grained_data(stretched)
    figure = figures_time.draw_fine_grained(stretched, data)
    assert data["text"] == " ".join(words) and len(figure.axes[0].patches) == 0
    spoken = [t for t in figure.texts if t.get_text() == "person"]
    assert len(spoken) == 40 and all(0 < t.get_position()[0] < 1 for t in spoken)
    windows = figures_time.draw_windows(stretched, figures_time.windows_data(stretched))
    assert [t.get_text() for t in windows.axes[0].texts] == ["no motion words"]


def test_files_are_the_same_twice(sample: Sample, tmp_path: Path) -> None:
    data = figures_time.windows_data(sample)
    for name in ("a", "b"):
        files = save_figure(tmp_path / "sub" / name, figures_time.draw_windows(sample, data), data)
        assert [f.suffix for f in files] == [".png", ".pdf", ".json"]
    for suffix in ("png", "pdf", "json"):
        assert (tmp_path / "sub" / f"a.{suffix}").read_bytes() == (tmp_path / "sub" / f"b.{suffix}").read_bytes()
    assert json.loads((tmp_path / "sub" / "a.json").read_text()) == data


def test_colours_tell_the_parts_apart() -> None:
    assert list(PART_COLOURS) == list(PART_NAMES) and len(set(PART_COLOURS.values())) == 6


def test_actions_without_active_frames(sample: Sample) -> None:
    plain = Sample(**{**vars(sample), "segments": [Segment("$walk_$x$", 0, 3, ())]})
    figure = figures_time.draw_windows(plain, figures_time.windows_data(plain))
    assert len(figure.axes) == 2 and [t.get_text() for t in figure.axes[1].texts] == ["$walk_$x$"]
    figure.canvas.draw()  # a name is text, not mathematics


def test_words_are_text_and_not_mathematics(sample: Sample, word, tmp_path: Path) -> None:  # noqa: ANN001
    words = ["$^{$", "<unk>", *["$x_^$"] * (len(sample.words) - 2)]
    changed = Sample(**{**vars(sample), "words": words, "gate": np.ones(len(words)), "references": ["$^^$ 5 %"]})
    gallery.draw_sample(tmp_path, gallery.FIGURES, changed)
    gallery.draw_split(tmp_path, gallery.FIGURES, [word(text) for text in words])
    assert len(list(tmp_path.rglob("*.pdf"))) == 6


def test_arrays_hold_no_time(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a clock that stands in 1970 matter, which an archive's dates cannot tell."""
    data = {"weights": np.arange(6.0).reshape(2, 3), "words": np.array(["a", "b"])}
    for name, now in (("a", 2e9), ("b", 0.0)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        save_figure(tmp_path / name, figures_time.draw_windows(sample, figures_time.windows_data(sample)), data)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "b.npz", allow_pickle=False) as found:
        assert {key: found[key].tolist() for key in found} == {key: value.tolist() for key, value in data.items()}
