"""BERTScore with a language model from a local folder; nothing is ever downloaded."""

from __future__ import annotations

import csv
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch

from m2t_fast.errors import UserError
from m2t_fast.files import resolved
from m2t_fast.reading import Malformed, Unreadable, read_json, read_text

BASELINE = "baseline.tsv"
"""A file of this name in the model's folder holds the baseline: LAYER,P,R,F and one line per layer from 0 on."""

HOW_TO_GET_IT = "hf download roberta-large --local-dir roberta-large, then --bert-model roberta-large"


def why_unavailable() -> str | None:
    """Why BERTScore cannot be computed here, with what to do; None if it can."""
    if importlib.util.find_spec("bert_score") is None or importlib.util.find_spec("transformers") is None:
        return "the package bert-score is not installed (pip install 'm2t_fast[eval]')"
    try:
        with _quiet():
            import bert_score  # noqa: F401
    except ImportError as error:  # one of its own dependencies is missing or too new
        return f"the package bert-score cannot be imported: {' '.join(str(error).split())}"
    return None


class BertScorer:
    """BERTScore as the paper reports it: English, words weighted by their inverse document frequency in the references,
    rescaled with the model's baseline.

    Which layer is read and which baseline applies follows from the model's name: that of the folder, the repository of
    a hub cache that it lies in, or the name in its ``config.json``. A model that bert-score does not know is read at
    its last layer and not rescaled, unless the folder has a ``baseline.tsv``.

    Args:
        folder: a model and its tokenizer as ``save_pretrained`` or a download from the hub leaves them.
        device: where the model computes.

    Attributes:
        layer: hidden layer whose vectors are compared.
        baseline: the file that rescales, None if there is none.

    Raises:
        UserError: bert-score is not installed, no such folder, or it does not hold a usable model.
    """

    def __init__(self, folder: str | Path, device: str | torch.device = "cpu") -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise UserError(f"{folder}: no such folder; expected a folder with a transformers model ({HOW_TO_GET_IT})")
        if not (self.folder / "config.json").is_file():
            raise UserError(f"{folder}: no model (config.json is missing); expected a folder with a transformers model")
        if (reason := why_unavailable()) is not None:
            raise UserError(f"{folder}: {reason}")
        with _quiet():
            try:
                self._load(torch.device(device))
            except Exception as error:  # damaged files make transformers raise nearly anything
                raise UserError(f"{folder}: cannot load the model: {_one_line(error)}") from error
        self._offset = 0.0 if self.baseline is None else _read_baseline(self.baseline, self.layer)

    def _load(self, device: torch.device) -> None:
        # Not bert_score.BERTScorer: it takes a folder for a T5 model wherever its path has "t5" in it.
        import bert_score
        from bert_score.utils import model2layers
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        place = str(resolved(self.folder))
        config = AutoConfig.from_pretrained(place, local_files_only=True)
        layers = int(config.num_hidden_layers)
        known = [name for name in _names(self.folder) if model2layers.get(name, layers + 1) <= layers]
        self.layer: int = model2layers[known[0]] if known else layers
        shipped = Path(bert_score.__file__).parent / "rescale_baseline" / "en" / f"{known[0]}.tsv" if known else None
        self.baseline = next((file for file in (self.folder / BASELINE, shipped) if file and file.is_file()), None)
        # Layers above the one that is read are not even loaded.
        model, told = AutoModel.from_pretrained(
            place, local_files_only=True, num_hidden_layers=self.layer, output_loading_info=True
        )
        # The pooler is not used; anything else that is missing would be random numbers.
        if missing := sorted(name for name in told["missing_keys"] if "pooler" not in name):
            raise ValueError(f"its weights lack {missing[0]}")
        self._model = (model.get_encoder() if config.is_encoder_decoder else model).to(device, torch.float32).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
        # transformers makes a tokenizer even of no vocabulary at all.
        tokens, vectors = len(self._tokenizer), self._model.get_input_embeddings().num_embeddings
        if not len(self._tokenizer.all_special_ids) < tokens <= vectors:
            raise ValueError(f"its tokenizer has {tokens} tokens (is a vocabulary file missing?), the model {vectors}")
        # A tokenizer saved without a limit has one of 10^30, which it cannot itself take. RoBERTa needs two positions.
        positions = getattr(config, "max_position_embeddings", None) or 514
        self._tokenizer.model_max_length = min(self._tokenizer.model_max_length, max(positions - 2, 3))

    def score(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        """The mean F1 of predictions against their best reference each, times 100; rescaled, it can be negative.

        An empty prediction has a raw score of 0, as in bert-score, and so has a pair of which every word is in all
        references and therefore weighs nothing.
        """
        from bert_score.utils import bert_cos_score_idf, get_idf_dict

        # bert-score cannot encode an empty prediction with transformers 5.
        groups = [(text, group) for text, group in zip(predictions, references, strict=True) if text.strip()]
        best = torch.zeros(len(predictions), device="cpu")
        if groups:
            said = [text for text, group in groups for _ in group]
            given = [reference for _, group in groups for reference in group]
            with _quiet():
                # 0 processes: bert-score would fork this one, which has threads of its own.
                weights = get_idf_dict([text for group in references for text in group], self._tokenizer, nthreads=0)
                device = self._model.device
                found = bert_cos_score_idf(self._model, given, said, self._tokenizer, weights, device=device)
            of_each = found[:, 2].split([len(group) for _, group in groups])
            best[: len(groups)] = torch.stack([scores.max() for scores in of_each])
        return 100.0 * float((best.double() - self._offset).mean() / (1 - self._offset))

    def describe(self) -> str:
        """What a reader needs to compare scores: model, layer, and whether and how they are rescaled."""
        if self.baseline is None:
            rescaled = f"not rescaled: bert-score has no baseline for this model and the folder no {BASELINE}"
        else:
            own = self.baseline.parent == self.folder
            rescaled = f"rescaled with {self.baseline if own else f'the baseline of {self.baseline.stem}'}"
        return f"{self.folder}, layer {self.layer}, idf, {rescaled}"


def _names(folder: Path) -> list[str]:
    """Names by which bert-score may know the model of a folder, the most reliable first."""
    whole = resolved(folder)
    hub = [part[8:].replace("--", "/") for part in whole.parts if part.startswith("models--")]
    try:
        own = read_json(folder / "config.json", {"_name_or_path?": Any}).get("_name_or_path", "")
    except Malformed as error:
        raise UserError(f"{folder / 'config.json'}: {error}") from None
    return [part for name in (whole.name, *hub, str(own)) for part in (name, name.rpartition("/")[2])]


def _read_baseline(path: Path, layer: int) -> float:
    """F1 of unrelated sentences at a layer."""
    try:
        rows = csv.DictReader(io.StringIO(read_text(path)))
        values = {int(row["LAYER"]): float(row["F"]) for row in rows}
        if not 0 <= values[layer] < 1:
            raise ValueError(f"F is {values[layer]}")
        return values[layer]
    except (Unreadable, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path}: no baseline for layer {layer} ({_one_line(error)}); expected the line LAYER,P,R,F and then one "
            "per layer from 0 on, F at least 0 and below 1"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside the block transformers and bert-score print nothing about unused heads, progress and empty captions."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
