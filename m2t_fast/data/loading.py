"""A data folder, or generated data, as ready-made splits: read and prepared, or taken from the cache."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from m2t_fast.data import cache, storage
from m2t_fast.data.dataset import Prepared, prepare
from m2t_fast.data.faults import refusal, summary
from m2t_fast.data.folder import SPLITS, read_folder
from m2t_fast.data.preprocessing import DataSettings, Statistics
from m2t_fast.data.tagging import tagger_name
from m2t_fast.data.vocabulary import Vocabulary


def load_data(
    source: str | Path,
    settings: DataSettings | None = None,
    *,
    vocabulary: Vocabulary | None = None,
    statistics: Statistics | None = None,
    splits: Sequence[str] = SPLITS,
    seed: int = 0,
    joints: int = 22,
    use_cache: bool = True,
    strict: bool = False,
    grow: bool = False,
    synthetic_count: int | Mapping[str, int] | None = None,
) -> Prepared:
    """A data folder, or ``"synthetic"``, as ready-made splits.

    Args:
        source: a folder in HumanML3D's layout, or ``"synthetic"`` for generated data.
        settings: the preprocessing; None: downsampling by 2 and no filters.
        vocabulary, statistics: those of a trained model; None: made from the training split.
        splits: which splits to load.
        seed, joints, synthetic_count: for ``"synthetic"`` only: seed, 21 or 22 joints, number of motions
            in all or by split (None: the generator's default).
        use_cache: keep the preprocessed folder on disk (see ``cache``) and take it from there while neither the folder
            nor the arguments change.
        strict: refuse any fault in ``splits``. Otherwise what cannot be used is left out with a warning, and listed in
            ``faults`` of the result (see :func:`m2t_fast.data.read_folder`).
        grow: add the words of the training split to the vocabulary that is given, behind its own.

    Raises:
        UserError: a mistake in the folder, or a split is left empty.
        ValueError: an unknown split, or no training split to make vocabulary and statistics from.
    """
    settings = settings or DataSettings()
    if not splits or not set(splits) <= set(SPLITS):
        raise ValueError(f"splits: got {splits!r}, expected some of {', '.join(SPLITS)}")
    if str(source) == "synthetic":
        from m2t_fast.data import synthetic  # only this source needs the generator

        raw = synthetic.generate(count=synthetic_count, seed=seed, joints=joints)
        raw.splits = {split: raw.splits[split] for split in splits}
        return prepare(raw, settings, vocabulary, statistics, grow)
    prepared = _load_folder(source, settings, vocabulary, statistics, splits, use_cache, grow)
    if prepared.faults and strict:
        raise refusal(str(source), prepared.faults)
    if prepared.faults:
        warnings.warn(summary(str(source), prepared.faults), stacklevel=2)
    return prepared


def _load_folder(
    source: str | Path,
    settings: DataSettings,
    vocabulary: Vocabulary | None,
    statistics: Statistics | None,
    splits: Sequence[str],
    use_cache: bool,
    grow: bool,
) -> Prepared:
    """A folder, from the cache if it is there; what cannot be used is left out."""
    if not use_cache or not Path(source).is_dir():
        return prepare(read_folder(source, splits, strict=False), settings, vocabulary, statistics, grow)
    shared = {
        "settings": settings.to_dict(),
        "splits": list(splits),
        "vocabulary": vocabulary and vocabulary.words,
        "statistics": statistics and statistics.to_dict(),
        "grow": grow,
    }
    file = cache.path_of(Path(source), shared)
    if (stored := cache.fetch(file)) is not None and (found := storage.unpack(*stored, str(source))) is not None:
        own_words = vocabulary is None or grow or found.vocabulary.words == vocabulary.words
        if own_words and set(found.splits) == set(splits):
            return found
    raw = read_folder(source, splits, strict=False)
    prepared = prepare(raw, settings, vocabulary, statistics, grow)
    untagged = any(not c.tags for motions in raw.splits.values() for m in motions for c in m.captions)
    cache.store(file, *storage.pack(prepared, tagger_name() if untagged else None))
    return prepared
