"""A history of its own for each test, and one for the many examples of a property."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgechat.history.store import HistoryStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def store(path: Path) -> Iterator[HistoryStore]:
    store = HistoryStore.open(path)
    yield store
    store.close()


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HistoryStore]:
    store = HistoryStore.open(tmp_path_factory.mktemp("long") / "history.db")
    yield store
    store.close()
