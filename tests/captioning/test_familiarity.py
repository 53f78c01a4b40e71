"""Distances from training data: against a plain computation, no false alarms, alarms on what is different."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from m2t_fast.captioner import Captioner
from m2t_fast.captioning.calibration import calibrate
from m2t_fast.captioning.familiarity import FILE, Familiarity, pooled_features, weights_digest
from m2t_fast.captioning.padding import padded_batches
from m2t_fast.captioning.pipeline import caption_joints
from m2t_fast.captioning.trust import Judge, Trust
from m2t_fast.data.batches import MotionBatch
from m2t_fast.data.dataset import MotionDataset, Prepared
from m2t_fast.data.loading import load_data
from m2t_fast.errors import UserError
from m2t_fast.run_folder import Run, load_run, save_weights, write_run


@pytest.fixture(scope="module")
def many() -> Prepared:
    """Generated data with 24 validation motions."""
    return load_data("synthetic", synthetic_count={"train": 60, "val": 24, "test": 20})


@pytest.fixture
def folder(tmp_path: Path, many: Prepared, model: Captioner) -> Path:
    """A calibrated run folder."""
    made = tmp_path / "run"
    made.mkdir()
    sizes = Captioner(model.config)
    write_run(made, model, data_words(many, sizes), many.statistics, many.settings, training=None)
    assert calibrate(made, many)
    return made


def data_words(data: Prepared, model: Captioner):  # noqa: ANN201
    """A vocabulary as long as the model's."""
    from m2t_fast.data.vocabulary import Vocabulary

    words = [*data.vocabulary.words, *(f"word{n}" for n in range(model.config.vocab_size))]
    return Vocabulary(words[: model.config.vocab_size])


def motions_of(dataset: MotionDataset) -> list[torch.Tensor]:
    return [dataset.motion(number) for number in range(dataset.motions)]


def distances(model: Captioner, known: Familiarity, motions: list[torch.Tensor]) -> np.ndarray:
    found = np.zeros(len(motions))
    for batch in padded_batches(motions, 5):
        found[batch.index.numpy()] = known.distance(pooled_features(model, batch)).numpy()
    return found


def plain_features(model: Captioner, motion: torch.Tensor) -> np.ndarray:
    """Mean and standard deviation over the frames, of one motion alone."""
    with torch.no_grad():
        parts = model.encoder(motion[None], torch.tensor([len(motion)]))[0].double().flatten(1).numpy()
    return np.concatenate([parts.mean(0), parts.std(0)])


def test_features_do_not_depend_on_the_batch(model: Captioner, data: Prepared) -> None:
    motions = motions_of(data["test"])
    for batch in padded_batches(motions, 3):
        found = pooled_features(model, batch).numpy()
        for row, index in enumerate(batch.index.tolist()):
            np.testing.assert_allclose(found[row], plain_features(model, motions[index]), atol=1e-6)


def test_the_distance_is_the_one_that_is_documented(model: Captioner, many: Prepared) -> None:
    known = Familiarity.fit(model, many["train"], many["val"])
    assert known is not None
    train = np.array([plain_features(model, motion) for motion in motions_of(many["train"])])
    mean, std = train.mean(0), train.std(0).clip(1e-3)
    _, values, axes = np.linalg.svd((train - mean) / std, full_matrices=False)
    count = len(train) // 4
    axes, scale = axes[:count], values[:count] / np.sqrt(len(train))
    assert known.axes.shape == (count, train.shape[1]) and known.reference.shape == (60, count)

    def distance(motion: torch.Tensor) -> float:
        z = (plain_features(model, motion) - mean) / std
        near = np.sort(np.linalg.norm((((train - mean) / std) @ axes.T - z @ axes.T) / scale, axis=1))[:5].mean()
        apart = np.square(z - z @ axes.T @ axes).sum() / np.square(scale).mean()
        return float(np.sqrt(near**2 + apart))

    limit = np.sort([distance(motion) for motion in motions_of(many["val"])])[-2]  # 23 of 24 are within 95 %
    expected = [distance(motion) / limit for motion in motions_of(many["test"])]
    np.testing.assert_allclose(distances(model, known, motions_of(many["test"])), expected, rtol=1e-3)


def test_few_false_alarms_and_alarms_on_what_is_different(model: Captioner, many: Prepared) -> None:
    known = Familiarity.fit(model, many["train"], many["val"])
    assert known is not None
    val = motions_of(many["val"])
    assert (distances(model, known, val) > 1.0).mean() <= 0.05
    assert (distances(model, known, motions_of(many["test"])) > 1.0).mean() <= 0.2
    generator = torch.Generator().manual_seed(0)
    std, mean = (torch.tensor(x, dtype=torch.float32) for x in (many.statistics.std, many.statistics.mean))
    different = {
        "noise": [torch.randn(motion.shape, generator=generator) for motion in val],
        "shaking": [motion + 0.2 * torch.randn(motion.shape, generator=generator) / std for motion in val],
        "upside down": [((motion * std + mean) * torch.tensor([1.0, -1.0, 1.0]) - mean) / std for motion in val],
        "centimetres": [(100.0 * (motion * std + mean) - mean) / std for motion in val],
    }
    for name, motions in different.items():
        assert (distances(model, known, motions) > 1.0).mean() > 0.9, name


def test_the_same_data_give_the_same_bits(model: Captioner, many: Prepared) -> None:
    first, second = (Familiarity.fit(model, many["train"], many["val"], size) for size in (64, 64))
    assert first is not None and second is not None
    assert all(torch.equal(getattr(first, name), getattr(second, name)) for name in vars(first))


@pytest.mark.parametrize("count", [8, 30])
def test_without_validation_motions_the_training_motions_set_the_limit(model: Captioner, count: int) -> None:
    data = load_data("synthetic", splits=("train",), synthetic_count={"train": count})
    known = Familiarity.fit(model, data["train"], None)
    assert known is not None and known.limit > 0
    assert np.isfinite(distances(model, known, motions_of(data["train"]))).all()


def test_too_few_motions_are_not_fitted(model: Captioner) -> None:
    data = load_data("synthetic", splits=("train",), synthetic_count={"train": 7})
    assert Familiarity.fit(model, data["train"], None) is None


def test_stored_beside_its_weights_and_for_them_alone(folder: Path, model: Captioner, many: Prepared) -> None:
    stored, fitted = Familiarity.load(folder), Familiarity.fit(model, many["train"], many["val"])
    assert stored is not None and fitted is not None
    assert all(torch.equal(getattr(stored, name), getattr(fitted, name)) for name in vars(stored))
    with torch.no_grad():
        model.embedding.weight.add_(1.0)
    save_weights(folder / "model.safetensors", model)
    assert Familiarity.load(folder) is None
    with pytest.warns(UserWarning, match="belongs to other weights"):
        Judge(load_run(folder))


@pytest.mark.parametrize("damage", ["nonsense", "truncated", "shape", "nan"])
def test_a_damaged_file_is_refused(folder: Path, damage: str) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / FILE
    content = path.read_bytes()
    if damage in ("nonsense", "truncated"):
        path.write_bytes(b"nonsense" if damage == "nonsense" else content[: len(content) // 2])
    else:
        tensors = load_file(path)
        tensors["scale"] = tensors["scale"][:-1].clone() if damage == "shape" else tensors["scale"] * torch.nan
        save_file(tensors, path)
    with pytest.raises(UserError, match=FILE):
        Familiarity.load(folder)


def test_distances_that_are_not_finite_are_refused(folder: Path, many: Prepared) -> None:
    from safetensors.torch import load_file, save_file

    path, digest = folder / FILE, {"weights": weights_digest(folder)}
    tensors = load_file(path)
    for name, value in (("mean", 3e38), ("std", 1e-45), ("scale", 1e-45), ("axes", 3e38)):
        tensors[name].fill_(value)
    save_file(tensors, path, digest)
    run = load_run(folder)
    (batch,) = padded_batches([many["test"].motion(0)], 1)
    with pytest.raises(UserError, match=f"{FILE}: damaged: it gives distances that are not finite"):
        Judge(run).distances(run.model, batch)


def raw(run: Run, data: MotionDataset, number: int) -> np.ndarray:
    """A motion at the skeleton's frame rate: each kept frame twice."""
    return np.repeat(run.statistics.invert(data.motion(number).numpy()), 2, axis=0)


def test_captions_come_with_their_trust(folder: Path, many: Prepared) -> None:
    run = load_run(folder)
    good = [raw(run, many["val"], number) for number in range(many["val"].motions)]
    rng = np.random.default_rng(0)
    still = np.repeat(good[0][:1], 100, axis=0) + rng.normal(0.0, 1e-4, (100, 22, 3)).astype(np.float32)
    noise = rng.normal(size=(80, 22, 3)).astype(np.float32)
    found = [c.trust for c in caption_joints(run, [*good, good[0][:6], still, noise], max_length=3)]
    assert sum(not trust for trust in found[:-3]) <= 0.05 * len(good)
    short, motionless, far = found[-3:]
    assert "6 frames: shorter than anything in training" in short.reasons[0]
    assert motionless.reasons[0].startswith("nothing moves by")
    assert far.distance is not None and far.distance > 1.0
    assert "times as far from the training data as 95% of the validation motions" in far.reasons[0]


def test_a_run_that_was_not_calibrated_knows_no_distance(folder: Path, many: Prepared) -> None:
    (folder / FILE).unlink()
    run = load_run(folder)
    noise = np.random.default_rng(0).normal(size=(80, 22, 3)).astype(np.float32)
    (captioned,) = caption_joints(run, [noise], max_length=3)
    assert captioned.trust == Trust() and bool(captioned.trust)
    batch = MotionBatch(many["val"].motion(0)[None], torch.tensor([1]), torch.tensor([0]))
    assert Judge(run).distances(run.model, batch) == [None]
