"""The backends that every op test runs on."""

from __future__ import annotations

import pytest

from m2t_fast import available_backends


@pytest.fixture(params=available_backends())
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that can run on this machine."""
    return request.param
