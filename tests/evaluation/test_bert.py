"""BERTScore with small real models: values by hand, rescaling, what a model's name decides, and folders refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from m2t_fast.errors import UserError
from m2t_fast.evaluation import bert
from m2t_fast.evaluation.bert import BertScorer

WORDS = ["a", "b", "c", "d", "e", "f", "g", "h"]


@pytest.fixture(scope="module")
def packages() -> None:
    if (reason := bert.why_unavailable()) is not None:
        pytest.skip(f"BERTScore: {reason}")


@pytest.fixture(scope="module")
def model_of(packages: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``model_of(layers, name)``: a folder ``name`` with a BERT of so many layers that knows the letters a to h."""

    def make(layers: int, name: str = "model") -> Path:
        from transformers import BertConfig, BertModel

        folder = tmp_path_factory.mktemp("bert") / name
        folder.mkdir()
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
        (folder / "vocab.txt").write_text("\n".join(words) + "\n")
        sizes = dict(hidden_size=16, num_attention_heads=2, intermediate_size=16, max_position_embeddings=24)
        torch.manual_seed(0)
        model = BertModel(BertConfig(vocab_size=len(words), num_hidden_layers=layers, **sizes))
        if layers == 0:  # vectors of different words are orthogonal, wherever they stand
            signs = torch.ones(1, 1)
            for _ in range(4):
                signs = torch.cat([torch.cat([signs, signs], 1), torch.cat([signs, -signs], 1)])
            with torch.no_grad():
                model.embeddings.word_embeddings.weight.copy_(signs[1 : len(words) + 1])
                model.embeddings.position_embeddings.weight.zero_()
                model.embeddings.token_type_embeddings.weight.zero_()
        with bert._quiet():
            model.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def deep(model_of: Callable[..., Path]) -> Path:
    return model_of(3)


PREDICTIONS, REFERENCES = ["a e", "a d"], [["a b", "c b"], ["a d"]]
# Three references. Weights log(4 / (1 + references with the word)): a and b log(4/3), c and d log 2, e log 4. Of "a e"
# only "a" is in "a b" and nothing in "c b"; the specials are in all references and weigh log(4/4).
PRECISION, RECALL = math.log(4 / 3) / (math.log(4 / 3) + math.log(4)), 1 / 2
F1 = 2 * PRECISION * RECALL / (PRECISION + RECALL)


def test_worked_by_hand(model_of: Callable[..., Path]) -> None:
    scorer = BertScorer(model_of(0))
    assert scorer.score(PREDICTIONS, REFERENCES) == pytest.approx(100 * (F1 + 1) / 2, rel=1e-4)
    assert (scorer.layer, scorer.baseline) == (0, None)
    assert "layer 0, idf, not rescaled" in scorer.describe()


def test_rescaled_by_hand(model_of: Callable[..., Path]) -> None:
    folder = model_of(0)
    (folder / bert.BASELINE).write_text("LAYER,P,R,F\n0,0.1,0.2,0.25\n")
    scorer = BertScorer(folder)
    assert scorer.score(PREDICTIONS, REFERENCES) == pytest.approx(100 * ((F1 - 0.25) / 0.75 + 1) / 2, rel=1e-4)
    # Nothing said is a raw 0.
    assert scorer.score(["", "a d"], REFERENCES) == pytest.approx(100 * (-0.25 / 0.75 + 1) / 2, rel=1e-4)
    assert scorer.score(["", " "], REFERENCES) == pytest.approx(-100 / 3, rel=1e-4)
    assert f"rescaled with {folder / bert.BASELINE}" in scorer.describe()


def test_the_package_itself_agrees(deep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import bert_score

    predictions = ["a b c d", "c c h", "g"]
    references = [["a b c", "h g f e d"], ["b c h"], ["a", "b", "g g"]]
    found = BertScorer(deep).score(predictions, references)
    assert capsys.readouterr() == ("", "")
    with bert._quiet():
        scorer = bert_score.BERTScorer(str(deep), num_layers=3, idf=True, device="cpu", nthreads=0)
        scorer._tokenizer.model_max_length = 20
        scorer.compute_idf([text for group in references for text in group])
        _, _, values = scorer.score(predictions, references)
    assert found == pytest.approx(100 * float(values.mean()), rel=1e-5)


def test_references_of_one_call_do_not_count_in_the_next(deep: Path) -> None:
    scorer = BertScorer(deep)
    first = scorer.score(["a b c"], [["a c"]])
    scorer.score(["a b c", "a"], [["b h"], ["c c"]])
    assert scorer.score(["a b c"], [["a c"]]) == first


def test_captions_longer_than_the_model_are_cut(deep: Path) -> None:
    assert math.isfinite(BertScorer(deep).score(["a b c d " * 30], [["e f " * 30]]))


def test_the_path_is_no_name(model_of: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # bert-score itself would take these for models of other kinds.
    folder = model_of(1)
    monkeypatch.chdir(tmp_path)
    for name in ("scibert-scivocab-cased", "t5-small/mine"):
        shutil.copytree(folder, name)
        assert BertScorer(name).score(["a b", "c"], [["a b"], ["c"]]) == pytest.approx(100.0, rel=1e-4)


@pytest.mark.parametrize("place", ["bert-base-uncased", "hub/models--google-bert--bert-base-uncased/snapshots/1a2b"])
def test_a_known_name_decides_layer_and_baseline(model_of: Callable[..., Path], tmp_path: Path, place: str) -> None:
    folder = Path(shutil.copytree(model_of(9), tmp_path / place))
    scorer = BertScorer(folder)
    assert scorer.layer == 9 and scorer.baseline is not None
    assert "layer 9, idf, rescaled with the baseline of bert-base-uncased" in scorer.describe()


def test_the_name_in_the_configuration(model_of: Callable[..., Path]) -> None:
    folder = model_of(9)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_name_or_path": "bert-base-uncased"}))
    assert BertScorer(folder).baseline is not None


def test_a_known_name_with_too_few_layers_means_nothing(model_of: Callable[..., Path]) -> None:
    scorer = BertScorer(model_of(2, "roberta-large"))
    assert (scorer.layer, scorer.baseline) == (2, None)


def _forget(folder: Path, name: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    kept = {key: tensor for key, tensor in tensors.items() if name not in key}
    assert len(kept) < len(tensors)
    save_file(kept, folder / "model.safetensors", {"format": "pt"})


def test_the_pooler_is_not_needed(deep: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(deep, tmp_path / "model"))
    _forget(folder, "pooler")
    predictions, references = ["a b c d", "c c h"], [["a b c", "h g"], ["b c h"]]
    assert BertScorer(folder).score(predictions, references) == BertScorer(deep).score(predictions, references)


def test_weights_in_half_precision_compute_in_float32(deep: Path, tmp_path: Path) -> None:
    from transformers import BertModel

    with bert._quiet():
        BertModel.from_pretrained(deep).half().save_pretrained(tmp_path)
    shutil.copy(deep / "vocab.txt", tmp_path)
    predictions, references = ["a b c d", "c c h"], [["a b c", "h g"], ["b c h"]]
    scorer = BertScorer(tmp_path)
    assert scorer._model.dtype == torch.float32
    assert scorer.score(predictions, references) == pytest.approx(
        BertScorer(deep).score(predictions, references), abs=0.1
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: shutil.rmtree(f), "no such folder"),
        (lambda f: (f / "config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "config.json").write_text("{"), "cannot load the model"),
        (lambda f: (f / "config.json").write_text("[]"), "cannot load the model"),
        (lambda f: (f / "model.safetensors").write_bytes(b"weights"), "cannot load the model"),
        (lambda f: (f / "model.safetensors").unlink(), "cannot load the model"),
        (lambda f: (f / "vocab.txt").unlink(), "its tokenizer has 5 tokens"),
        (lambda f: (f / "vocab.txt").open("a").write("i\nj\n"), "its tokenizer has 15 tokens .*, the model 13"),
        (lambda f: _forget(f, "layer.1.attention"), "cannot load the model: its weights lack"),
        (lambda f: (f / "baseline.tsv").write_text("LAYER,P,R,F\n0,0.1,0.2,0.3\n"), "no baseline for layer 3"),
        (lambda f: (f / "baseline.tsv").write_text("LAYER,P,R,F\n" + "0,a,b,c\n" * 4), "no baseline for layer 3"),
        (lambda f: (f / "baseline.tsv").write_text("LAYER,P,R,F\n" + "0,.1,.2,1\n" * 4), "no baseline for layer 3"),
        (lambda f: (f / "baseline.tsv").write_text(""), "no baseline for layer 3"),
    ],
)
def test_folders_refused(deep: Path, tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    folder = Path(shutil.copytree(deep, tmp_path / "model"))
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        BertScorer(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bert.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'm2t_fast[eval]'" in str(bert.why_unavailable())
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="bert-score is not installed"):
        BertScorer(tmp_path)
