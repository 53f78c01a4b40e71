"""What is said of the windows of a take: the same as of each alone, with the work of reading them shared."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2t_fast.captioning.words import spoken
from m2t_fast.data.preprocessing import downsample
from m2t_fast.ops import use_backend
from m2t_fast.ops.decoding.decoder import Memory
from m2t_fast.segmentation import captions
from m2t_fast.segmentation.captions import WORDS, caption_windows
from m2t_fast.segmentation.windows import Grid, placed


def _alone(run, joints, window, stems):
    """What :class:`WindowCaptions` has of one window, from the words one by one."""
    (frames,) = placed(joints, window[None], run.skeleton)
    kept = torch.from_numpy(run.statistics.apply(np.ascontiguousarray(downsample(frames, run.settings))))
    found = run.model.generate(kept[None], torch.tensor([len(kept)]), beam_size=1)
    tokens = found.tokens[0, 0].tolist()
    steps, words = spoken(tokens, run.vocabulary)
    telling = [step for step in steps if stems[tokens[step]] >= 0][:WORDS]
    total = min(len(tokens), len(steps) + 1)
    attention = [0.5, 0.5, 0.3, 0.3, 0.5, 0.3, 0.5, 0.3]
    if telling:
        mean, std = (x[0, telling] / len(kept) for x in (found.attention.mean, found.attention.std))
        edges = mean.min(), mean.max(), std.min(), std.max(), mean[0], std[0], mean[-1], std[-1]
        attention = [float(x) for x in edges]
    joined = sum(word in ("then", "after", "afterwards", "before", "finally", "while") for word in words)
    content = [int(stems[tokens[step]]) for step in telling]
    return float(found.scores[0, 0]) * total, total, joined, content, attention


def _check(run, joints, windows, found):
    stems = captions._content_stems(run.vocabulary)
    for number, window in enumerate(windows):
        log_probability, total, joined, content, attention = _alone(run, joints, window, stems)
        assert found.log_probability[number] == pytest.approx(log_probability, abs=1e-4)
        assert (found.steps[number], found.joined[number]) == (total, joined)
        assert [n for n in found.content[number].tolist() if n >= 0] == content
        np.testing.assert_allclose(found.attention[number], attention, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_every_window_is_captioned_as_alone(run, joints, batch_size):
    windows = Grid().windows(len(joints), run.skeleton.fps)
    found = caption_windows(run, joints, windows, batch_size)
    rows = np.arange(0, len(windows), 9)
    assert len(set(found.steps[rows].tolist())) > 1  # captions differ
    some = captions.WindowCaptions(*(x[rows] for x in vars(found).values()))
    _check(run, joints, windows[rows], some)


def test_windows_too_short_for_the_first_kept_frame_keep_their_last(run, joints):
    assert run.settings.first_frame > 0
    windows = np.array([[4, 5], [4, 6], [4, 30], [4, 44], [9, 10]])
    _check(run, joints, windows, caption_windows(run, joints, windows))


def test_each_stretch_is_read_once_where_the_floor_stays(run, joints, monkeypatch):
    joints = joints.copy()
    joints[:, 10, 1] = joints[..., 1].min()  # a foot that never leaves it
    windows = Grid().windows(len(joints), run.skeleton.fps)
    read, encode = [], run.model.encode
    monkeypatch.setattr(run.model, "encode", lambda motion, ends: read.extend(ends.tolist()) or encode(motion, ends))
    caption_windows(run, joints, windows)
    assert len(read) == len(np.unique(windows[:, 0]))


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("hooked", [False, True], ids=["own layers", "a hook"])
def test_the_beginning_of_what_was_encoded_is_captioned_as_the_shorter_motion(run, backend, hooked):
    if hooked:
        run.model.output.register_forward_hook(lambda layer, inputs, logits: logits.roll(1, dims=-1))
    motion = torch.randn(3, 20, run.skeleton.joints, 3)
    lengths = torch.tensor([20, 20, 18])
    with use_backend(backend):
        parts, temporal_keys, spatial_keys, _ = run.model.encode(motion, lengths)
        shorter = torch.tensor([5, 12, 18])
        memory = Memory(parts, temporal_keys, spatial_keys, shorter)
        found = run.model.generate_from(memory, beam_size=2, max_length=6)
        expected = run.model.generate(motion, shorter, beam_size=2, max_length=6)
    assert (found.tokens == expected.tokens).all()
    np.testing.assert_allclose(found.scores.numpy(), expected.scores.numpy(), atol=1e-5)
