"""R-precision and MM-Dist, and the networks behind them, with small weights in the public layout."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluator_samples import GRU, HIDDEN, SIZE, checkpoint, summary, write_evaluator, write_features
from torch import Tensor, nn

from m2t_fast.errors import UserError
from m2t_fast.evaluation.matching import Evaluator, mm_dist, r_precision
from m2t_fast.evaluation.matching_networks import MAX_FRAMES, MatchingNetworks
from m2t_fast.evaluation.word_vectors import TAGS, WordVectors
from m2t_fast.skeleton import HUMANML3D, KIT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The public layout, with small networks and a few words."""
    write_evaluator(tmp_path / "evaluator")
    return tmp_path / "evaluator"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder of feature vectors: 40 test motions."""
    write_features(tmp_path / "data")
    return tmp_path / "data"


def one_by_one(values: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """A summary of one sequence (L, size), from the definition."""
    gru = nn.GRU(HIDDEN, HIDDEN, bidirectional=True)
    gru.load_state_dict({name: weights[f"gru.{name}"] for name in GRU})
    inner = values @ weights["input_emb.weight"].T + weights["input_emb.bias"]
    _, last = gru(inner[:, None], weights["hidden"])
    out = last.flatten() @ weights["output_net.0.weight"].T + weights["output_net.0.bias"]
    out = nn.functional.layer_norm(out, (HIDDEN,), weights["output_net.1.weight"], weights["output_net.1.bias"])
    out = nn.functional.leaky_relu(out, 0.2)
    return out @ weights["output_net.3.weight"].T + weights["output_net.3.bias"]


@torch.no_grad()
def test_embeddings_against_their_definition() -> None:
    weights = checkpoint()
    networks = MatchingNetworks(weights)
    lengths = torch.tensor([40, 196, 120])
    motions = torch.randn(3, MAX_FRAMES, 259)
    motions *= (torch.arange(MAX_FRAMES) < lengths[:, None])[..., None]
    found = networks.embed_motions(motions, lengths)
    movement = weights["movement_encoder"]
    for motion, length, embedding in zip(motions, lengths.tolist(), found, strict=True):
        inner = motion.T[None]
        for layer in ("main.0", "main.3"):
            inner = nn.functional.conv1d(
                inner, movement[f"{layer}.weight"], movement[f"{layer}.bias"], stride=2, padding=1
            )
            inner = nn.functional.leaky_relu(inner, 0.2)
        inner = inner[0].T @ movement["out_net.weight"].T + movement["out_net.bias"]
        torch.testing.assert_close(embedding, one_by_one(inner[: length // 4], weights["motion_encoder"]))
    words, tags, counts = torch.randn(2, 6, SIZE), torch.rand(2, 6, 15), torch.tensor([4, 6])
    text = weights["text_encoder"]
    for row, embedding in enumerate(networks.embed_texts(words, tags, counts)):
        inner = words[row] + tags[row] @ text["pos_emb.weight"].T + text["pos_emb.bias"]
        torch.testing.assert_close(embedding, one_by_one(inner[: counts[row]], text))


def test_r_precision_by_hand() -> None:
    motions = torch.arange(4.0)[:, None]
    texts = torch.tensor([[0.1], [0.2], [2.1], [9.0]])  # the second lies nearer to the first motion than to its own
    assert r_precision(texts, motions, pool=4, repeats=1) == [75.0, 100.0, 100.0]
    assert mm_dist(texts, motions) == pytest.approx((0.1 + 0.8 + 0.1 + 6.0) / 4)
    with pytest.raises(ValueError, match="texts: got 4, expected at least the 5"):
        r_precision(texts, motions, pool=5)


def test_r_precision_of_perfect_and_of_random_captions() -> None:
    motions = torch.randn(100, 8)
    assert r_precision(motions, motions) == [100.0, 100.0, 100.0] and mm_dist(motions, motions) == 0
    by_chance = r_precision(torch.randn(960, 8), torch.randn(960, 8))
    assert by_chance == pytest.approx([100 / 32, 200 / 32, 300 / 32], abs=2.0)
    assert by_chance == sorted(by_chance)
    found = r_precision(motions + torch.randn(100, 8), motions)
    assert found == r_precision(motions + 0, motions + 0) or found[0] < 100
    noisy = motions + torch.randn(100, 8)
    assert r_precision(noisy, motions) == r_precision(noisy, motions)  # the deals are seeded


def test_words(folder: Path) -> None:
    words = WordVectors(folder / "glove")
    vectors, tags = words.encode(
        [("person", "NOUN"), ("walk", "VERB"), ("left", "ADV"), ("zigzag", "NOUN"), ("a", "X")]
    )
    assert vectors.shape == (7, SIZE) and tags.shape == (7, 15) and (tags.sum(axis=1) == 1).all()
    assert [TAGS[place] for place in tags.argmax(axis=1)] == [
        *("OTHER", "NOUN", "Act_VIP", "Loc_VIP"),
        *("OTHER", "OTHER", "OTHER"),
    ]
    assert (vectors[4] == words.vectors[words.index["unk"]]).all() and (vectors[0] == words.vectors[1]).all()
    assert len(words.encode([("a", "DET")] * 50)[0]) == 22


@pytest.mark.filterwarnings("ignore:captions without part-of-speech tags:UserWarning")
def test_scores_of_a_split(folder: Path, data: Path) -> None:
    evaluator = Evaluator(folder, HUMANML3D, data)
    ids = (data / "test.txt").read_text().split()
    scores = evaluator.score(["a person walks"] * len(ids), ids)
    assert set(scores) == {"r_precision_1", "r_precision_2", "r_precision_3", "mm_dist"}
    motions, places = evaluator.embed_motions(ids)
    assert len(motions) == 39 and len(ids) == 40  # one is too short
    text = evaluator.embed_texts(["a person walks"])
    assert scores["mm_dist"] == pytest.approx(mm_dist(text.expand(39, -1), motions), rel=1e-6)
    found = evaluator.tokens_of("a person walks zigzag")
    assert found[:3] == [("a", "DET"), ("person", "NOUN"), ("walk", "VERB")] and found[3][0] == "zigzag"
    assert "pools of 32" in evaluator.describe() and "40 to 199 frames" in evaluator.describe()


def test_motions_are_embedded_as_the_protocol_says(folder: Path, data: Path) -> None:
    evaluator = Evaluator(folder, HUMANML3D, data)
    ids = (data / "test.txt").read_text().split()
    motions, places = evaluator.embed_motions(ids)
    mean, std = (np.load(folder / f"t2m/Comp_v6_KLD01/meta/{name}.npy") for name in ("mean", "std"))
    features = np.load(data / "new_joint_vecs" / f"{ids[places[5]]}.npy")
    frames = len(features) // 4 * 4
    padded = torch.zeros(1, MAX_FRAMES, 259)
    padded[0, :frames] = torch.from_numpy((features[:frames] - mean) / std)[:, :259]
    expected = evaluator.networks.embed_motions(padded, torch.tensor([frames]))[0]
    torch.testing.assert_close(motions[5], expected, atol=1e-5, rtol=1e-5)


class _Harmful:
    def __reduce__(self) -> tuple:
        return print, ("run",)


def test_what_is_missing_or_wrong(folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*parts: str, skeleton=HUMANML3D, source: Path = data) -> None:
        with pytest.raises(UserError) as caught:
            Evaluator(folder, skeleton, source)
        for part in parts:
            assert part in str(caught.value), caught.value

    refused("kit/text_mot_match/model/finest.tar: not a checkpoint of weights", skeleton=KIT)
    (tmp_path / "bare").mkdir()
    refused("no new_joint_vecs/", source=tmp_path / "bare")
    index = folder / "glove/our_vab_idx.pkl"
    whole = index.read_bytes()
    for content, reason in (
        (pickle.dumps(_Harmful()), "it holds a builtins.print"),
        (whole[:-3], "no plain words"),
        (pickle.dumps({"unk": 99}), "no numbers of the rows"),
        (pickle.dumps({"unk": 0, "sos": 1}), "no word 'eos'"),
    ):
        index.write_bytes(content)
        refused("our_vab_idx.pkl", reason)
    many = b"\x80\x02r\xff\xff\xff\x7f"  # a place in the memo for which an unpickler in C takes 32 GB
    index.write_bytes(whole[:-1] + many[2:] + b".")
    Evaluator(folder, HUMANML3D, data)
    vectors = folder / "glove/our_vab_data.npy"
    values = np.load(vectors)
    for changed in (values * np.nan, values[0], values[0, 0], np.full_like(values, 1e300)):
        np.save(vectors, changed)
        refused("our_vab_data.npy", "finite numbers")
    np.save(vectors, values)
    assert capsys.readouterr().out == ""  # nothing in the files was run
    index.write_bytes(whole)
    model = folder / "t2m/text_mot_match/model/finest.tar"
    for content, reason in (
        ({"movement_encoder": {}}, "no text-motion matching networks"),
        ({**checkpoint(), "text_encoder": summary(SIZE)}, "no text-motion matching networks"),
        (checkpoint(features=251), "reads 251 features, expected 259"),
        ({"x": _Harmful()}, "not a checkpoint of weights"),
    ):
        torch.save(content, model)
        refused("finest.tar", reason)
    model.unlink()
    refused("no text_mot_match/model/finest.tar; expected the public text-to-motion checkpoints (t2m/, glove/)")
