"""``load_run(...).caption``: the command's captions as objects, from files, folders, lists and arrays."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import m2t_fast
from m2t_fast import Captioner, CaptionerConfig
from m2t_fast.cli import main
from m2t_fast.data.loading import load_data
from m2t_fast.errors import UserError
from m2t_fast.motion.read import MotionOptions
from m2t_fast.run_folder import write_run
from m2t_fast.skeleton import PART_NAMES


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An untrained run of 22 joints, whose captions depend on the motion."""
    torch.manual_seed(1)
    data = load_data("synthetic", synthetic_count={"train": 12, "val": 2, "test": 2})
    sizes = dict(part_dim=8, attention_dim=8, hidden_size=12, embedding_dim=6)
    model = Captioner(CaptionerConfig(len(data.vocabulary), **sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3.0)
    path = tmp_path_factory.mktemp("runs")
    write_run(path, model, data.vocabulary, data.statistics, data.settings, None)
    return path


def walk(frames: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 0.02, (frames, 22, 3)).cumsum(0) + rng.normal(0, 0.5, (22, 3))).astype(np.float32)


@pytest.fixture
def files(tmp_path) -> list[Path]:
    """Motion files of 57, 1 and 120 frames, in a folder of their own."""
    (tmp_path / "motions").mkdir()
    paths = [tmp_path / "motions" / f"m{number}.npy" for number in range(3)]
    for path, frames in zip(paths, (57, 1, 120), strict=True):
        np.save(path, walk(frames, frames))
    return paths


def test_a_caption_is_what_the_command_prints(folder, files, capsys):
    run = m2t_fast.load_run(folder)
    captions = run.caption(files, max_length=6)
    assert main(["caption", str(folder), *map(str, files), "--json", "--max-length", "6"]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(captions) == len(printed) == 3
    for caption, expected in zip(captions, printed, strict=True):
        assert str(caption) == caption.text == expected["caption"] and caption.name == expected["file"]
        assert caption.score == pytest.approx(expected["score"], rel=1e-6)
        assert [other.text for other in caption.alternatives] == [c["caption"] for c in expected["captions"][1:]]
        assert [word.text for word in caption.words] == [word["word"] for word in expected["words"]]
        for word, other in zip(caption.words, expected["words"], strict=True):
            assert word.gate == pytest.approx(other["gate"]) and word.parts == pytest.approx(other["parts"])
            assert list(word.parts) == list(PART_NAMES) and sum(word.parts.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("frames", [1, 2, 57])
def test_words_lie_within_the_motion(folder, frames):
    caption = m2t_fast.load_run(folder).caption(walk(frames))
    assert caption.words
    for word in caption.words:
        assert 0.0 <= word.start < word.end <= frames / 20


def test_a_file_a_list_a_folder_and_an_array_give_the_same(folder, files):
    run = m2t_fast.load_run(str(folder))
    alone = [run.caption(file) for file in files]
    for several in (run.caption(files), run.caption(files[0].parent), run.caption([str(file) for file in files])):
        assert [caption.text for caption in several] == [caption.text for caption in alone]
    array = np.load(files[0])
    for given in (array, torch.from_numpy(array), [array]):
        found = run.caption(given)
        found = found[0] if isinstance(given, list) else found
        assert found.text == alone[0].text and found.words == alone[0].words and found.name == "motion"
    assert run.caption([]) == []


def test_an_array_of_any_layout(folder, files):
    """Negative strides, other orders, other byte orders, read-only and mapped memory, and torch's own views."""
    run = m2t_fast.load_run(folder)
    array = np.load(files[0]).astype(np.float32)
    score = run.caption(array).score
    mapped = np.load(files[0], mmap_mode="r")
    tensor = torch.from_numpy(array)
    same = [array[::-1].copy()[::-1], array[:, ::-1].copy()[:, ::-1], np.asfortranarray(array), array.astype(">f4")]
    same += [np.repeat(array, 2, 0)[::2], np.broadcast_to(array, array.shape), mapped, np.ma.masked_array(array)]
    same += [torch._neg_view(-tensor), tensor.clone().requires_grad_(), tensor.mT.contiguous().mT]
    assert [run.caption(given).score for given in same] == [score] * len(same)
    assert run.caption(tensor.bfloat16()).score == run.caption(tensor.bfloat16().float()).score
    assert run.caption(array[::-1]).score == run.caption(array[::-1].copy()).score != score
    masked = np.ma.masked_array(array, mask=False)
    masked[1, 2] = np.ma.masked
    with pytest.raises(UserError, match=r"motion: 3 of \d+ values are masked"):
        run.caption(masked)


def test_a_tensor_of_any_kind_is_an_array(folder):
    run, array = m2t_fast.load_run(folder), walk(30)
    tensor, expected = torch.from_numpy(array), run.caption(array).text
    turned = torch.complex(torch.zeros_like(tensor), -tensor).conj().imag  # its negative bit is set
    for given in (tensor.to_sparse(), tensor.clone().requires_grad_(), turned, tensor.double(), array[::-1][::-1]):
        assert run.caption(given).text == expected
        run.stream(fps=20).push(given)
    assert run.caption(tensor.bfloat16()).text
    for refused in (tensor.to("meta"), tensor.to(torch.complex64).conj(), array[:0], array[:, :0], array > 0, None):
        with pytest.raises((ValueError, TypeError, UserError)):
            run.caption(refused)
    with pytest.raises(ValueError, match="on meta"):
        run.stream(fps=20).push(tensor.to("meta"))


def test_fps_is_that_of_the_motion(folder):
    run, motion = m2t_fast.load_run(folder), walk(60)
    slow = np.repeat(motion, 2, axis=0)
    assert len(run.caption(slow, fps=40.0).motion.joints) == len(run.caption(motion).motion.joints)
    assert len(run.caption(motion, options=MotionOptions(fps=10.0)).motion.joints) > 55
    with pytest.raises(ValueError, match="fps: got -1"):
        run.caption(motion, fps=-1.0)


def test_it_shows_itself(folder, files, tmp_path):
    caption = m2t_fast.load_run(folder).caption(files[0])
    page = caption.to_html(tmp_path / "page.html").read_text("utf-8")
    assert caption.text in page and str(files[0]) in page
    shown = caption._repr_html_()
    assert shown.startswith("<iframe srcdoc=") and caption.text in shown and "<script" not in shown
    with pytest.raises(UserError, match="cannot write"):
        caption.to_html(tmp_path / "no" / "page.html")
    assert caption.text in repr(caption) and "array(" not in repr(caption)


def test_the_search_can_be_chosen(folder, files):
    run = m2t_fast.load_run(folder)
    greedy, wide = run.caption(files[0], beam_size=1), run.caption(files[0], beam_size=4, max_length=5)
    assert greedy.alternatives == () and len(wide.alternatives) == 3 and len(wide.words) <= 5
    assert wide.score >= max(other.score for other in wide.alternatives)
    with pytest.raises(ValueError, match="beam_size"):
        run.caption(files[0], beam_size=0)


def test_what_cannot_be_read(folder, files, tmp_path):
    run = m2t_fast.load_run(folder)
    with pytest.raises(UserError, match="none.npy"):
        run.caption(tmp_path / "none.npy")
    with pytest.raises(TypeError, match="motion: got dict, expected a path"):
        run.caption({"motion": 1})
    for shape in ((5, 4, 3), (5,), (5, 100), (0, 22, 3)):
        with pytest.raises(UserError, match="motion: "):
            run.caption(np.zeros(shape, np.float32))
    (files[0].parent / "bad.npy").write_bytes(b"no array")
    with pytest.warns(UserWarning, match=r"left out: .*bad\.npy"):
        assert len(run.caption(files[0].parent)) == 3
    with pytest.raises(UserError, match=r"bad\.npy"):
        run.caption([files[0], files[0].parent / "bad.npy"])
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "bad.npy").write_bytes(b"no array")
    with warnings.catch_warnings(), pytest.raises(UserError, match="its only motion file cannot be read: "):
        warnings.simplefilter("error")
        run.caption(bad)
