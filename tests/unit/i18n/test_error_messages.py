"""Errors that are kept with a reply are told in the language of whoever reads them, not of whoever met them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from pathlib import Path

import pytest

from edgechat.chat.conversation import Reply, ReplyState
from edgechat.engine.protocol import Event, Request
from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import EdgechatError, EngineError, ModelError
from edgechat.history.store import HistoryStore
from edgechat.i18n import catalog
from edgechat.i18n.sentence import Sentence
from edgechat.session.session import Session
from edgechat.tui.widgets.notices import mark_of


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    yield
    catalog.use("en")


class FailingEngine(ScriptedEngine):
    """Fails with an error of plain texts, or with one that has parameters."""

    spoken = False

    async def stream(self, request: Request) -> AsyncGenerator[Event, None]:
        """See `Engine.stream`."""
        self._fail()
        async with aclosing(super().stream(request)) as events:
            async for event in events:
                yield event

    def _fail(self) -> None:
        if self.spoken:
            words = Sentence("There is no language {name}. There are: {names}.", name="xx", names="en")
            raise ModelError("The model does not fit into memory", words)
        raise EngineError("The model process crashed", "It was ended by signal SIGSEGV.")


async def failed(path: Path, *, language: str, spoken: bool) -> None:
    catalog.use(language)
    engine = FailingEngine()
    engine.spoken = spoken
    session = Session(engine, HistoryStore.open(path))
    with suppress(EdgechatError):
        async for _event in session.send("hi"):
            pass
    await session.aclose()


def read(path: Path, language: str) -> str:
    catalog.use(language)
    store = HistoryStore.open(path)
    chat = store.latest()
    store.close()
    assert chat is not None
    assert chat.turns[0].reply is not None
    return mark_of(chat.turns[0].reply)


@pytest.mark.parametrize("spoken", [False, True])
async def test_the_reader_s_language_is_spoken(tmp_path: Path, spoken: bool) -> None:
    told: dict[tuple[str, str], str] = {}
    for met in ("en", "he"):
        path = tmp_path / f"{met}.db"
        await failed(path, language=met, spoken=spoken)
        for reads in ("en", "he"):
            told[met, reads] = read(path, reads)
    assert told["en", "en"] == told["he", "en"]
    assert told["en", "he"] == told["he", "he"]
    assert told["en", "en"].isascii()
    assert any("\u05d0" <= letter <= "\u05ea" for letter in told["en", "he"])
    assert ("SIGSEGV" in told["he", "he"]) is not spoken
    title = "The model does not fit into memory" if spoken else "The model process crashed"
    assert title in told["he", "en"]
    assert title not in told["he", "he"]


def test_what_is_no_text_of_edgechat_stays_as_it_is() -> None:
    old = Reply(1, "", ReplyState.FAILED, error="Something else. With a sentence. And another.")
    catalog.use("he")
    assert "Something else. With a sentence. And another." in mark_of(old)
