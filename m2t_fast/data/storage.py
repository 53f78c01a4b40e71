"""A prepared data set as the tensors and the dictionary of a cache, and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from m2t_fast.data.dataset import MotionDataset, Prepared
from m2t_fast.data.faults import from_rows, to_rows
from m2t_fast.data.preprocessing import DataSettings, Statistics
from m2t_fast.data.raw import Segment
from m2t_fast.data.tagging import tagger_name
from m2t_fast.data.vocabulary import Vocabulary
from m2t_fast.reading import check_form
from m2t_fast.skeleton import PART_NAMES, skeleton_of

_TENSORS = ("frames", "frame_offsets", "tokens", "token_offsets", "gate_targets", "spatial_targets", "caption_motion")
_TIMES = "temporal_targets"  # where there are any

_SPLIT = {"ids": [str], "references": [[str]], "processed": [[str]], "segments": ([Any], None), "faults": [Any]}
_FORM = {
    **{"tagger": (str, None), "vocabulary": [str], "statistics": {}, "settings": {}, "joints": int},
    **{"report": {str: {}}, "splits": {str: _SPLIT}},
}


def pack(prepared: Prepared, tagger: str | None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A prepared data set as named tensors and a JSON-ready dictionary."""
    tensors = {f"{split}.{name}": getattr(d, name) for split, d in prepared.splits.items() for name in _TENSORS}
    timed = {f"{split}.{_TIMES}": d.temporal_targets for split, d in prepared.splits.items()}
    tensors |= {name: times for name, times in timed.items() if times is not None}
    content = {
        "tagger": tagger,
        "vocabulary": prepared.vocabulary.words,
        "statistics": prepared.statistics.to_dict(),
        "settings": prepared.settings.to_dict(),
        "joints": prepared.skeleton.joints,
        "report": prepared.report,
        "splits": {
            split: {
                "ids": d.ids,
                "references": d.references,
                "processed": d.processed,
                "segments": None if d.segments is None else [_rows_of(segments) for segments in d.segments],
                "faults": to_rows(d.faults),
            }
            for split, d in prepared.splits.items()
        },
    }
    return tensors, content


def unpack(tensors: dict[str, Tensor], content: dict[str, Any], source: str) -> Prepared | None:
    """The inverse of :func:`pack`; ``source``: what the data were read from.

    Returns:
        None where these are not the tensors and dictionary of a prepared data set (another program may have written
        them), or their targets come from another tagger than this machine has.
    """
    try:
        check_form(content, _FORM)
        if content["tagger"] is not None and content["tagger"] != tagger_name():  # asked where it matters: it may warn
            return None
        found = _unpack(tensors, content, source)
        whole = all(_consistent(split, len(found.vocabulary)) for split in found.splits.values())
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError):
        return None
    return found if whole else None


def _unpack(tensors: dict[str, Tensor], content: dict[str, Any], source: str) -> Prepared:
    settings, statistics = DataSettings.from_dict(content["settings"]), Statistics.from_dict(content["statistics"])
    skeleton = skeleton_of(content["joints"])
    splits = {}
    for split, lists in content["splits"].items():
        splits[split] = MotionDataset(
            split=split,
            **{name: tensors[f"{split}.{name}"] for name in _TENSORS},
            ids=lists["ids"],
            references=lists["references"],
            processed=lists["processed"],
            segments=lists["segments"] and [_segments_from(rows) for rows in lists["segments"]],
            faults=from_rows(lists["faults"]),
            skeleton=skeleton,
            statistics=statistics,
            settings=settings,
            temporal_targets=tensors.get(f"{split}.{_TIMES}"),
        )
    vocabulary = Vocabulary(content["vocabulary"])
    return Prepared(vocabulary, statistics, settings, skeleton, splits, content["report"], source)


def _consistent(split: MotionDataset, words: int) -> bool:
    """Whether tensors and lists of a split have the shapes, dtypes and bounds that all who read it rely on."""
    captions = [len(listed) for listed in split.references]
    frames, tokens, samples = len(split.frames), len(split.tokens), sum(captions)
    expected = {
        "frames": (torch.float32, (frames, split.skeleton.joints, 3)),
        "frame_offsets": (torch.int64, (split.motions + 1,)),
        "tokens": (torch.int64, (tokens,)),
        "token_offsets": (torch.int64, (samples + 1,)),
        "gate_targets": (torch.int8, (tokens,)),
        "spatial_targets": (torch.int8, (tokens, len(PART_NAMES))),
        "caption_motion": (torch.int64, (samples,)),
        _TIMES: (torch.float32, (tokens, 2)),
    }
    for name, (dtype, shape) in expected.items():
        tensor = getattr(split, name)
        if not (name == _TIMES and tensor is None) and (tensor.dtype, tuple(tensor.shape)) != (dtype, shape):
            return False
    owners = torch.repeat_interleave(torch.arange(len(captions), device="cpu"), torch.tensor(captions, device="cpu"))
    return (
        len(captions) == split.motions
        and captions == [len(listed) for listed in split.processed]
        and (split.segments is None or len(split.segments) == split.motions)
        and _offsets(split.frame_offsets, frames)
        and _offsets(split.token_offsets, tokens)
        and torch.equal(split.caption_motion, owners)
        and _within(split.tokens, 0, words - 1)
        and _within(split.gate_targets, -1, 1)
        and _within(split.spatial_targets, -1, 1)
        and all(bool(x.isfinite().all()) for x in (split.frames, split.temporal_targets) if x is not None)
    )


def _offsets(offsets: Tensor, end: int) -> bool:
    """Whether offsets begin at 0, rise with every item and end where the items do."""
    return int(offsets[0]) == 0 and int(offsets[-1]) == end and bool((offsets.diff() > 0).all())


def _within(values: Tensor, least: int, most: int) -> bool:
    return not values.numel() or (int(values.min()) >= least and int(values.max()) <= most)


def _rows_of(segments: list[Segment] | None) -> list[tuple[Any, ...]] | None:
    return None if segments is None else [dataclasses.astuple(s) for s in segments]


def _segments_from(rows: list[tuple[Any, ...]] | None) -> list[Segment] | None:
    if rows is None:
        return None
    return [
        Segment(action, start, end, tuple(parts), active and tuple(active), tuple(words))
        for action, start, end, parts, active, words in rows
    ]
