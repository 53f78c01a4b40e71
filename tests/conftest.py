"""Makes every test start from the same state: seeds, hypothesis settings and a cache folder of its own."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
import torch

# derandomize: the same examples in every run; database None: no folder of past failures in the checkout.
hypothesis.settings.register_profile("m2t_fast", deadline=None, max_examples=25, derandomize=True, database=None)
hypothesis.settings.load_profile("m2t_fast")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Preprocessed data goes to a temporary folder, never to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("M2T_FAST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test draws the same random numbers, alone or among others."""
    torch.manual_seed(0)
