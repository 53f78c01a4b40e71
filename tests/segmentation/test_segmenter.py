"""The segmenter: fits, saves, refuses what is damaged; the best tiling is the best."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from m2t_fast.errors import UserError
from m2t_fast.segmentation.features import FEATURES
from m2t_fast.segmentation.segmenter import DEFAULT, Segmenter, best_tiling
from m2t_fast.segmentation.windows import Grid
from m2t_fast.tensor_files import write_tensors


@pytest.fixture(scope="module")
def learnt():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(3000, FEATURES)).astype(np.float32)
    target = 0.5 + 0.3 * np.tanh(features[:, 3] - 0.5 * features[:, 7])
    return Segmenter.fit(features[:2500], target[:2500]), features, target


def test_it_learns_what_depends_on_the_features_and_stays_in_range(learnt):
    segmenter, features, target = learnt
    found = segmenter.predict(features[2500:])
    assert np.corrcoef(found, target[2500:])[0, 1] > 0.9
    assert found.min() >= 0.0 and found.max() <= 1.0


def test_fitting_twice_gives_the_same_bits_and_leaves_the_generator_alone(learnt):
    segmenter, features, target = learnt
    torch.manual_seed(3)
    before = torch.get_rng_state()
    again = Segmenter.fit(features[:2500], target[:2500])
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(vars(segmenter).values(), vars(again).values(), strict=True))


def test_a_saved_one_says_the_same(learnt, tmp_path):
    segmenter, features, _ = learnt
    segmenter.save(tmp_path / "segmenter.safetensors")
    loaded = Segmenter.load(tmp_path / "segmenter.safetensors")
    assert (loaded.predict(features) == segmenter.predict(features)).all()
    assert Segmenter.load(DEFAULT).predict(features).shape == (3000,)


def test_damaged_files_are_refused_by_name(learnt, tmp_path):
    segmenter, _, _ = learnt
    path = tmp_path / "segmenter.safetensors"
    for spoil in (
        lambda tensors: tensors.pop("bias_in"),
        lambda tensors: tensors.update(mean=torch.zeros(3)),
        lambda tensors: tensors.update(bias_out=torch.tensor(float("nan"))),
        lambda tensors: tensors.update(std=tensors["std"].double()),
    ):
        tensors = {name: value.clone() for name, value in vars(segmenter).items()}
        spoil(tensors)
        try:
            write_tensors(path, tensors)
        except UserError as error:  # the writer refuses what is not finite
            assert "finite" in str(error)
            continue
        with pytest.raises(UserError, match="segmenter.safetensors: damaged"):
            Segmenter.load(path)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="features"):
        Segmenter.fit(np.zeros((4, 3), np.float32), np.zeros(4))


@pytest.mark.parametrize("seed", range(8))
def test_the_tiling_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    grid, fps = Grid(step=0.5, shortest=0.5, longest=2.0), 10.0
    frames = 37
    windows = grid.windows(frames, fps)
    quality = rng.uniform(size=len(windows))
    value = {tuple(w): q * (w[1] - w[0]) / fps for w, q in zip(windows.tolist(), quality, strict=True)}
    points = np.unique(windows)[1:-1].tolist()
    best = max(
        (
            sum(value.get(pair, -np.inf) for pair in zip(cuts, cuts[1:], strict=False))
            for count in range(len(points) + 1)
            for inner in itertools.combinations(points, count)
            for cuts in [(0, *inner, frames)]
        ),
    )
    found = best_tiling(windows, quality, fps, grid)
    assert found[0][0] == 0 and found[-1][1] == frames
    assert all(a[1] == b[0] and a[0] < a[1] for a, b in zip(found, found[1:], strict=False))
    nearest = [min(np.unique(windows).tolist(), key=lambda point: abs(point - cut)) for cut, _ in found] + [frames]
    assert sum(value[pair] for pair in zip(nearest, nearest[1:], strict=False)) == pytest.approx(best)
