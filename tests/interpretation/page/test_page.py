"""The page as a file: what it holds, what it cannot run or load, how large it is. test_page_in_chromium.py runs it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2t_fast.errors import UserError
from m2t_fast.interpretation import CaptionedMotion, render_page, save_page
from m2t_fast.interpretation.canvas import GOLD, PART_COLOURS
from m2t_fast.interpretation.page import page_bytes

HOSTILE = ("</script><script>alert(1)</script>", "<!--", "&lt;", "\"'", "{{data}}", "\u2028", "日本", "\\u003c", "$x^$")


def data_of(page: str) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def test_the_data_are_the_motion(captioned: Callable[..., CaptionedMotion]) -> None:
    motion = captioned(frames=23, reference="he walks & waves", start=0.05)
    data = data_of(render_page([motion]))
    (found,) = data["motions"]
    assert (found["name"], found["fps"], found["start"]) == ("motion.npy", 10.0, 0.05)
    assert found["reference"] == "he walks & waves"
    np.testing.assert_allclose(np.reshape(found["joints"], (23, 22, 3)) / 1000, motion.joints, atol=5.1e-4)
    assert [word["text"] for word in found["words"]] == list(motion.words)
    for number, word in enumerate(found["words"]):
        assert word["gate"] == pytest.approx(motion.gate[number], abs=6e-4)
        assert word["mean"] == pytest.approx(motion.mean[number], abs=6e-3)
        assert word["std"] == pytest.approx(motion.std[number], abs=6e-3)
        np.testing.assert_allclose(np.array(word["window"]) / 1000, motion.window[number], atol=5.1e-4)
        np.testing.assert_allclose(np.reshape(word["spatial"], (23, 6)) / 1000, motion.spatial[number], atol=5.1e-4)
    skeleton = data["skeletons"][found["skeleton"]]
    assert skeleton["joints"] == 22 and len(skeleton["partOf"]) == 22
    assert [skeleton["partOf"][joint] for joint in (0, 15, 20, 21, 10, 11)] == [0, 1, 2, 3, 4, 5]
    assert skeleton["hips"] == [1, 2] and skeleton["head"] == 15


def test_nothing_comes_from_elsewhere(captioned: Callable[..., CaptionedMotion]) -> None:
    page = render_page([captioned(), captioned(joints=21)])
    assert not re.search(r"https?://|@import|url\(|<link(?! rel=\"icon\" href=\"data:,\")|src=", page)
    assert "{{" not in page
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', page)
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_words_cannot_leave_their_place(captioned: Callable[..., CaptionedMotion]) -> None:
    plain = render_page([captioned()])
    page = render_page([captioned(words=HOSTILE, name=HOSTILE[0], reference=HOSTILE[0])])
    assert page.count("<script") == plain.count("<script") and page.count("</script") == plain.count("</script")
    assert page.count("<!--") == plain.count("<!--")
    assert [word["text"] for word in data_of(page)["motions"][0]["words"]] == list(HOSTILE)
    (title,) = re.findall("<title>(.*?)</title>", page)
    assert title.startswith("&lt;/script&gt;") and "<" not in title


@given(st.lists(st.text(max_size=12), max_size=4), st.text(max_size=12))
def test_any_text_comes_back(captioned: Callable[..., CaptionedMotion], words: list[str], name: str) -> None:
    page = render_page([captioned(frames=2, words=words, name=name)]).encode("utf-8", "replace").decode()
    found = data_of(page)["motions"][0]
    assert [word["text"] for word in found["words"]] == words and found["name"] == name


def test_ten_seconds_with_a_long_caption_stay_small(captioned: Callable[..., CaptionedMotion]) -> None:
    motion = captioned(frames=100, words=["word"] * 40)
    assert len(render_page([motion]).encode()) < 300_000
    empty = len(render_page([captioned(frames=1, words=())]).encode())
    assert len(render_page([captioned(frames=100, words=["word"] * 12)]).encode()) - empty < 100_000


def test_titles(captioned: Callable[..., CaptionedMotion]) -> None:
    def title(*motions: CaptionedMotion) -> str:
        return re.findall("<title>(.*?)</title>", render_page(motions))[0]

    assert title(captioned()) == "a person walks then waves"
    assert title(captioned(words=())) == "motion.npy"
    assert title(captioned(), captioned()) == "2 captioned motions"
    assert len(title(captioned(words=["word"] * 40))) == 80


def test_both_pictures_have_the_same_colours() -> None:
    style = (Path(__file__).parents[3] / "m2t_fast/interpretation/page/page.css").read_text()
    light = style.split("@media")[0]
    assert tuple(re.findall(r"--part\d: (#\w+);", light)) == PART_COLOURS
    assert f"--gold: {GOLD};" in light
    assert not re.search(r"--part\d:", style.split("@media", 1)[1])  # in the dark they are the same


def test_where_it_comes_from(captioned: Callable[..., CaptionedMotion]) -> None:
    page = render_page([captioned(score=-0.5, others=[("a man", -1.0)])], about="Run <a> & b")
    assert '<p class="about">Run &lt;a&gt; &amp; b</p>' in page
    found = data_of(page)
    assert found["motions"][0]["score"] == -0.5 and found["motions"][0]["others"] == [["a man", -1.0]]
    assert data_of(render_page([captioned()]))["motions"][0]["score"] is None
    assert {"is", "it", "then"} <= set(found["functionWords"])


@pytest.mark.parametrize("frames", [(40, 40), (10, 200), (3,) * 50])
def test_its_size_is_known_before(captioned: Callable[..., CaptionedMotion], frames: tuple[int, ...]) -> None:
    motions = [captioned(frames=count) for count in frames]
    made = len(render_page(motions).encode()) - len(render_page([captioned(frames=1, words=())]).encode())
    assert page_bytes(motions) == pytest.approx(made, rel=0.15)


def test_saving_replaces_the_file_as_a_whole(captioned: Callable[..., CaptionedMotion], tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    assert save_page(path, [captioned(name="bad \udcff name")], threshold=0.25) == path
    text = path.read_text("utf-8")
    assert text.endswith("</html>\n") and 'step="0.01" value="0.25"' in text
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(UserError, match="cannot write"):
        save_page(tmp_path / "nowhere" / "page.html", [captioned()])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"motions": []}, "motions: got none"),
        ({"threshold": 1.5}, "threshold: got 1.5"),
        ({"threshold": float("nan")}, "threshold: got nan"),
        ({"part_names": ["body"]}, "part_names: got 1 names, expected 6"),
    ],
)
def test_refused_arguments(captioned: Callable[..., CaptionedMotion], arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_page(**{"motions": [captioned()], **arguments})
