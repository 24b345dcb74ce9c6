"""Fixtures that several modules of these tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_openai import FakeOpenAI, fake_openai


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    """A server that speaks OpenAI's protocol."""
    with fake_openai() as server:
        yield server
