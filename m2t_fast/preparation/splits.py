"""Splits by source: no person and no take is in two of them."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from m2t_fast.data.folder import SPLITS

SHARES: tuple[float, ...] = (0.8, 0.05, 0.15)
"""HumanML3D's shares of train, val and test."""


def assign_splits(
    sources: Mapping[str, int],
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    given: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The split of every source.

    Sources are shuffled by ``seed`` and distributed so that the splits come as near to their shares as whole
    sources allow; train always gets one, val and test if there are enough sources and their share is not 0.

    Args:
        sources: source -> how many motions it has.
        shares: of train, val and test; they are scaled to a sum of 1.
        seed: of the order.
        given: sources whose split is settled.

    Raises:
        ValueError: shares that are not three numbers of at least 0 with train above 0.
    """
    good = len(shares) == len(SPLITS) and all(math.isfinite(share) and share >= 0 for share in shares)
    if not good or shares[0] <= 0:
        raise ValueError(f"shares: got {list(shares)}, expected those of train, val and test, train's above 0")
    result = dict(given or {})
    free = sorted(name for name in sources if name not in result)
    random.Random(seed).shuffle(free)
    total, whole = sum(sources.values()), sum(shares)
    wanted = {split: total * share / whole for split, share in zip(SPLITS, shares, strict=True)}
    has = dict.fromkeys(SPLITS, 0)
    for name, split in result.items():
        has[split] += sources.get(name, 0)
    for name in free:
        empty = [split for split in SPLITS if wanted[split] > 0 and has[split] == 0]
        split = empty[0] if empty else max(SPLITS, key=lambda one: (wanted[one] - has[one]) / max(wanted[one], 1e-9))
        result[name] = split
        has[split] += sources[name]
    return result
