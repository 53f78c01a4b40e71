"""R-precision and MM-Dist: how well captions match the motions they are about, in the space of matching networks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m2t_fast.data.arrays import check_finite, load_array
from m2t_fast.data.folder import split_captions
from m2t_fast.data.tagging import processed_words, tag_words
from m2t_fast.data.text import tokenise
from m2t_fast.errors import UserError
from m2t_fast.evaluation.lemmas import Lemmas
from m2t_fast.evaluation.matching_networks import MAX_FRAMES, UNIT, MatchingNetworks
from m2t_fast.evaluation.word_vectors import NAME, TAGS, WordVectors
from m2t_fast.files import resolved
from m2t_fast.motion.features import feature_size
from m2t_fast.skeleton import Skeleton
from m2t_fast.tensor_files import load_checkpoint
from m2t_fast.wording import counted

POOL, REPEATS, SEED = 32, 20, 0
"""Motions that a caption is compared with; how often they are dealt into pools; the seed of that."""

BEST = (1, 2, 3)
"""Ranks within which R-precision counts the caption's own motion."""

CONTACTS = 4  # numbers at the end of a feature vector that the networks do not read
_SHORTEST = {"humanml3d": 40, "kit": 24}
_LONGEST = 200  # the first number of frames that is too many
_FOLDERS = {"humanml3d": "t2m", "kit": "kit"}
_BATCH = 64


def r_precision(
    texts: Tensor, motions: Tensor, pool: int = POOL, repeats: int = REPEATS, seed: int = SEED
) -> list[float]:
    """For each k of ``BEST`` the share of captions (percent) whose own motion is among the k nearest of its pool.

    Captions and their motions are split into pools of 32 at random, and a remainder is not counted; the mean of all
    repeats.

    Args:
        texts: (N, D), motions: (N, D); row n of one belongs to row n of the other.

    Raises:
        ValueError: fewer rows than a pool has.
    """
    if len(texts) < pool:
        raise ValueError(f"texts: got {len(texts)}, expected at least the {pool} of a pool")
    generator = torch.Generator().manual_seed(seed)
    hits = torch.zeros(len(BEST), dtype=torch.float64)
    for _ in range(repeats):
        order = torch.randperm(len(texts), generator=generator)[: len(texts) // pool * pool].view(-1, pool)
        distances = torch.cdist(texts[order].double(), motions[order].double())  # pools, texts, motions
        own = distances.diagonal(dim1=1, dim2=2)[..., None]
        rank = (distances < own).sum(dim=2)
        hits += torch.tensor([(rank < best).double().mean() for best in BEST])
    return [100.0 * value for value in (hits / repeats).tolist()]


def mm_dist(texts: Tensor, motions: Tensor) -> float:
    """Mean distance between a caption (N, D) and its motion (N, D)."""
    return float((texts.double() - motions.double()).norm(dim=1).mean())


class Evaluator:
    """The public matching networks and what they need, from a folder.

    The folder holds, anywhere in it, ``t2m/text_mot_match/model/finest.tar`` (21 joints: ``kit/...``), a
    ``meta/mean.npy`` and ``std.npy`` of the same data set (those of ``Comp_v6*`` first), and ``our_vab_data.npy``,
    ``our_vab_words.pkl`` and ``our_vab_idx.pkl``: what the text-to-motion project hands out. Nothing in it is run.

    Args:
        folder: that folder.
        skeleton: of the motions.
        data: the data folder: its ``new_joint_vecs/`` are embedded, and its training captions give lemmas and tags.

    Raises:
        UserError: anything is missing or unreadable.
    """

    def __init__(self, folder: str | Path, skeleton: Skeleton, data: str | Path) -> None:
        self.folder, self.data, self.skeleton = Path(folder), Path(data), skeleton
        if not self.folder.is_dir():
            raise UserError(f"{self.folder}: no such folder; expected the public text-to-motion checkpoints")
        self.vectors_folder = self.data / "new_joint_vecs"
        if not self.vectors_folder.is_dir():
            raise UserError(
                f"{self.data}: no new_joint_vecs/, whose feature vectors R-precision and MM-Dist compare captions with"
            )
        checkpoint = self._find("text_mot_match/model/finest.tar")
        content = load_checkpoint(checkpoint)
        try:
            self.networks = MatchingNetworks(content)
        except UserError as error:
            raise UserError(f"{checkpoint}: {error}") from None
        self.mean, self.std = (self._statistics(name) for name in ("mean", "std"))
        self.words = WordVectors(self._find(f"{NAME}_data.npy", of_data_set=False).parent)
        size = feature_size(skeleton)
        if self.networks.features != size - CONTACTS or self.networks.tags != len(TAGS):
            raise UserError(f"{checkpoint}: reads {self.networks.features} features, expected {size - CONTACTS}")
        if self.words.size != self.networks.word_size:
            raise UserError(
                f"{self.folder}: word vectors of {self.words.size} numbers, but {checkpoint.name} reads "
                f"{self.networks.word_size}"
            )
        self._learn_words()

    def describe(self) -> str:
        """What the scores were computed by, for the protocol."""
        return (
            f"R-precision and MM-Dist by {resolved(self.folder).name}, pools of {POOL}, mean of {REPEATS} deals, "
            f"motions of {_SHORTEST[self.skeleton.name]} to {_LONGEST - 1} frames"
        )

    def _find(self, ending: str, of_data_set: bool = True) -> Path:
        """The file of the folder whose path has this ending; of several the one in the folder of the data set."""
        found = sorted(self.folder.rglob(ending), key=lambda path: (len(path.parts), str(path)))
        name = _FOLDERS[self.skeleton.name]
        others = [other for other in _FOLDERS.values() if other != name]
        if of_data_set:
            inside = [(path, path.relative_to(self.folder).parts) for path in found]
            found = [path for path, parts in inside if name in parts] or [
                path for path, parts in inside if not set(parts) & set(others)
            ]
        if not found:
            text = f"no {ending}; expected the public text-to-motion checkpoints ({name}/, glove/)"
            raise UserError(f"{self.folder}: {text}")
        return found[0]

    def _statistics(self, name: str) -> np.ndarray:
        """The mean or the standard deviation of the networks' input (features,)."""
        try:
            path = self._find(f"Comp_v6*/meta/{name}.npy")
        except UserError:
            path = self._find(f"meta/{name}.npy")
        values = load_array(path, "(features,)").astype(np.float64).reshape(-1)
        if values.shape != (feature_size(self.skeleton),) or not np.isfinite(values).all():
            raise UserError(f"{path}: shape {values.shape}, expected ({feature_size(self.skeleton)},) finite numbers")
        return values if name == "mean" else np.maximum(values, 1e-8)

    def _learn_words(self) -> None:
        captions = [caption for caption in split_captions(self.data, "train") if caption.tags]
        pairs = [(tokenise(caption.text), processed_words(caption.tags or ())) for caption in captions]
        self.lemmas = Lemmas(pairs)
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for caption in captions:
            for token, tag in caption.tags or ():
                counts[token.lower()][tag.upper()] += 1
        self.tag_of = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}

    def tokens_of(self, caption: str) -> list[tuple[str, str]]:
        """The lemmatised words of a caption with their parts of speech: those that the data set's training captions
        give them most often, else the tagger's."""
        words = self.lemmas.apply(tokenise(caption))
        missing = [word for word in words if word not in self.tag_of]
        tags = dict(zip(missing, tag_words(missing), strict=True)) if missing else {}
        return [(word, self.tag_of.get(word) or tags[word] or "OTHER") for word in words]

    def embed_texts(self, captions: Sequence[str]) -> Tensor:
        """(N, D) float32."""
        found = []
        for start in range(0, len(captions), _BATCH):
            encoded = [self.words.encode(self.tokens_of(caption)) for caption in captions[start : start + _BATCH]]
            lengths = torch.tensor([len(words) for words, _ in encoded])
            words, tags = (
                torch.nn.utils.rnn.pad_sequence([torch.from_numpy(one[place]) for one in encoded], batch_first=True)
                for place in (0, 1)
            )
            found.append(self.networks.embed_texts(words, tags, lengths))
        return torch.cat(found)

    def embed_motions(self, ids: Sequence[str]) -> tuple[Tensor, list[int]]:
        """(M, D) float32 of the motions whose length the protocol allows, and their places in ``ids``."""
        found, places = [], []
        batch: list[np.ndarray] = []

        def embed() -> None:
            if batch:
                padded = np.zeros((len(batch), MAX_FRAMES, self.networks.features), dtype=np.float32)
                for row, motion in enumerate(batch):
                    padded[row, : len(motion)] = motion
                lengths = torch.tensor([len(motion) for motion in batch])
                found.append(self.networks.embed_motions(torch.from_numpy(padded), lengths))
                batch.clear()

        for place, motion_id in enumerate(ids):
            path = self.vectors_folder / f"{motion_id}.npy"
            features = load_array(path, f"(frames, {len(self.mean)})")
            if features.ndim != 2 or features.shape[1] != len(self.mean):
                raise UserError(f"{path}: shape {features.shape}, expected (frames, {len(self.mean)})")
            if not _SHORTEST[self.skeleton.name] <= len(features) < _LONGEST:
                continue
            check_finite(features, path)
            frames = min(len(features) // UNIT * UNIT, MAX_FRAMES)
            normalised = (features[:frames].astype(np.float64) - self.mean) / self.std
            batch.append(normalised[:, : self.networks.features].astype(np.float32))
            places.append(place)
            if len(batch) == _BATCH:
                embed()
        embed()
        if len(places) < POOL:
            motions = f"{counted(len(places), 'motion')} of {_SHORTEST[self.skeleton.name]} to {_LONGEST - 1} frames"
            raise UserError(f"{self.vectors_folder}: {motions} in this split, but R-precision compares {POOL}")
        return torch.cat(found), places

    def score(self, captions: Sequence[str], ids: Sequence[str]) -> dict[str, float]:
        """``r_precision_1`` to ``_3`` (percent) and ``mm_dist`` of the caption of each motion.

        Raises:
            UserError: the networks give numbers that are not finite, or there are too few motions.
        """
        motions, places = self.embed_motions(ids)
        texts = self.embed_texts([captions[place] for place in places])
        if not (texts.isfinite().all() and motions.isfinite().all()):
            raise UserError(f"{self.folder}: its networks give numbers that are not finite; are the files damaged?")
        shares = r_precision(texts, motions)
        return {
            **{f"r_precision_{best}": share for best, share in zip(BEST, shares, strict=True)},
            "mm_dist": mm_dist(texts, motions),
        }
