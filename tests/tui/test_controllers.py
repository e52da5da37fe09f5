"""The controllers of the chat screen, each without the screen."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from edgechat.chat.context_window import ContextFullError
from edgechat.chat.conversation import Conversation, Turn, Window
from edgechat.engine.protocol import TextDelta
from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import EdgechatError, FaultError, StorageError
from edgechat.history.drafts import Draft
from edgechat.history.store import HistoryStore
from edgechat.session.session import Session, SessionEvent
from edgechat.tui.chat.context_notices import ContextNotices
from edgechat.tui.chat.draft_controller import DraftController
from edgechat.tui.chat.draft_length import DraftLength
from edgechat.tui.chat.message_edit import MessageEdit
from edgechat.tui.chat.model_loader import ModelLoader
from edgechat.tui.chat.model_switch import ModelSwitch
from edgechat.tui.chat.reply_controller import ReplyController
from edgechat.tui.chat.session_changes import SessionChanges
from edgechat.tui.chat.status_reporter import StatusReporter
from edgechat.tui.messages import ModelFailed, ModelStarted, SendEnded, SessionYielded, TokensCounted
from edgechat.tui.widgets.composer import Composer
from edgechat.tui.widgets.status import Activity, StatusLine
from tests.tui.fake_host import FakeHost


@pytest.fixture
async def session(tmp_path: Path) -> AsyncIterator[Session]:
    session = Session(ScriptedEngine(["a reply"]), HistoryStore.open(tmp_path / "history.db"))
    yield session
    await session.aclose()


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def composer(monkeypatch: pytest.MonkeyPatch) -> Composer:
    monkeypatch.setattr(Composer, "focus", lambda composer: composer)  # there is no screen whose focus it could be
    return Composer()


# Drafts


async def test_a_draft_is_saved_once_it_was_restored(session: Session, host: FakeHost, composer: Composer) -> None:
    await session.library.save_draft(0, Draft("from the last time"))
    drafts = DraftController(session, host, composer)
    composer.insert("now")
    drafts.changed()
    drafts.changed()
    assert len(host.timers) == 1, "one timer for all keys of its time"
    await host.run_all()
    assert (await session.chat.draft()).text == "from the last time", "nothing is written over before it was restored"
    await drafts.restore()
    assert composer.text == "from the last time\nnow"
    drafts.changed()
    await host.run_all()
    assert (await session.chat.draft()).text == drafts.saved.text == "from the last time\nnow"


async def test_a_draft_that_cannot_be_saved_is_left_for_the_end(
    session: Session, host: FakeHost, composer: Composer, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = DraftController(session, host, composer)
    await drafts.restore()

    async def fail(_chat: int, _draft: Draft) -> None:
        raise StorageError("The disk is full")

    monkeypatch.setattr(session.library, "save_draft", fail)
    composer.insert("precious")
    drafts.changed()
    await drafts.close()
    assert drafts.unsaved_text == "precious"
    assert not host.notices, "what is wrong with the disk is said when the message is sent"


# The length


async def test_a_count_of_another_text_is_not_shown(session: Session, host: FakeHost, composer: Composer) -> None:
    await session.start()
    length = DraftLength(session, host, composer)
    composer.insert("one two three")
    length.update()
    host.timers.pop()()
    await host.work.pop()
    counted = host.posted.pop()
    assert isinstance(counted, TokensCounted)
    assert counted.tokens == 3
    composer.insert(" four")
    length.counted(counted)
    assert len(host.timers) == 1, "it is counted again"
    await host.run_all()
    counted = host.posted.pop()
    assert isinstance(counted, TokensCounted)
    length.counted(counted)
    assert str(composer.border_subtitle).startswith("4 tokens")


# A reply


def _sending(parts: Parts) -> bool:
    """Asked anew each time, which mypy would not do with the attribute."""
    return parts.replies.sending


def _accepting(composer: Composer) -> bool:
    return composer.accepting


class View:
    """A conversation that nobody looks at."""

    live = None

    def __init__(self) -> None:
        self.written: list[str] = []
        self.errors: list[EdgechatError] = []

    async def begin_turn(self, turn: Turn, *_arguments: Any, **_options: Any) -> None:
        pass

    def write(self, text: str) -> None:
        self.written.append(text)

    def query(self, _kind: object) -> tuple[()]:
        return ()

    async def end_turn(self) -> None:
        pass

    async def tell(self, _turns: object) -> None:
        pass

    async def clear_passing(self) -> None:
        pass

    async def show_error(self, error: EdgechatError, *, passing: bool = True) -> None:
        self.errors.append(error)


class Parts:
    """The controllers around a reply."""

    def __init__(self, session: Session, host: FakeHost, composer: Composer) -> None:
        self.view = View()
        view = cast("Any", self.view)
        self.line = StatusLine()
        status = StatusReporter(session, self.line)
        self.context = ContextNotices(session, host, composer)
        self.drafts = DraftController(session, host, composer)
        self.loader = ModelLoader(session, host, view, status)
        self.switch = ModelSwitch(session, host, composer, view, status, self.loader)
        self.replies = ReplyController(
            session,
            host,
            composer,
            view,
            status,
            self.context,
            self.drafts,
            DraftLength(session, host, composer),
            self.loader,
            self.switch,
        )


@pytest.fixture
def parts(session: Session, host: FakeHost, composer: Composer) -> Parts:
    return Parts(session, host, composer)


async def test_a_reply_is_followed_to_its_end(
    parts: Parts, session: Session, host: FakeHost, composer: Composer
) -> None:
    await session.start()
    composer.insert("question")
    composer.action_submit()
    parts.replies.start(session.send("question"), "question")
    assert _sending(parts)
    assert not _accepting(composer)
    await host.work.pop()
    *events, end = host.posted
    for message in events:
        assert isinstance(message, SessionYielded)
        await parts.replies.show(message.event)
    assert "".join(parts.view.written) == "a reply"
    assert composer.unsent == Draft(), "the message is in the history"
    assert isinstance(end, SendEnded)
    await parts.replies.finish(end)
    assert not _sending(parts)
    assert _accepting(composer)
    assert parts.line.status.activity is Activity.READY


async def test_a_message_that_is_not_saved_is_given_back(
    parts: Parts, session: Session, host: FakeHost, composer: Composer
) -> None:
    await session.start()
    composer.insert("question")
    composer.action_submit()
    composer.insert("next")

    async def fail() -> AsyncGenerator[SessionEvent, None]:
        if not session.busy:
            raise StorageError("The disk is full")
        yield TextDelta("never")

    parts.replies.start(fail(), "question")
    await host.work.pop()
    end = host.posted.pop()
    assert isinstance(end, SendEnded)
    await parts.replies.finish(end)
    assert composer.text == "question\nnext"
    assert [error.title for error in parts.view.errors] == ["The disk is full"]
    assert parts.line.status.activity is Activity.ERROR


async def test_a_fault_in_a_reply_ends_it(parts: Parts, session: Session, host: FakeHost) -> None:
    await session.start()

    async def fail() -> AsyncGenerator[SessionEvent, None]:
        yield TextDelta("some")
        raise ZeroDivisionError

    parts.replies.start(fail())
    await host.work.pop()
    end = host.posted.pop()
    assert isinstance(end, SendEnded)
    assert isinstance(end.error, FaultError)
    await parts.replies.finish(end)
    assert not _sending(parts)


async def test_a_new_chat_waits_for_the_reply_to_stop(parts: Parts, session: Session, host: FakeHost) -> None:
    await session.start()
    parts.replies.start(session.send("question"))
    await parts.replies.new_chat()
    assert host.redraws == []
    for work in host.work:
        await work
    await parts.replies.finish(SendEnded(""))
    assert len(host.redraws) == 1
    assert not session.conversation.turns


async def test_the_model_is_loaded_once(parts: Parts, session: Session, host: FakeHost) -> None:
    parts.loader.start()
    parts.replies.start(session.send("question"))
    assert parts.loader.loading
    load, send = host.work
    await load
    assert isinstance(host.posted[-1], ModelStarted)
    await parts.loader.started(sending=True)
    assert parts.line.status.activity is Activity.READING
    await send


async def test_a_load_that_fails_is_shown_once(parts: Parts, host: FakeHost) -> None:
    failed = ModelFailed(EdgechatError("No model"))
    await parts.loader.failed(failed.error, sending=True)
    assert not parts.view.errors, "the message that waits shows it"
    await parts.loader.failed(failed.error, sending=False)
    assert [error.title for error in parts.view.errors] == ["No model"]


async def test_no_other_model_is_loaded_during_a_reply(parts: Parts, session: Session, host: FakeHost) -> None:
    await session.start()
    parts.switch.start("beta", sending=True)
    await host.work.pop()
    assert [error.title for error in parts.view.errors] == ["A reply is being written"]
    assert session.info is not None


# The context


async def test_a_policy_sends_what_waited_for_it(parts: Parts, composer: Composer, host: FakeHost) -> None:
    sent: list[str] = []
    full = ContextFullError(Conversation(0), Window(), 4096)
    composer.action_submit = lambda: sent.append(composer.text)  # type: ignore[method-assign]
    composer.insert("question")
    parts.context.choose_policy("oldest")
    assert not sent
    assert len(host.notices) == 1
    assert "F5" in parts.context.explain(full).hint
    parts.context.choose_policy("oldest")
    assert sent == ["question"]
    parts.context.choose_policy("oldest")
    assert len(sent) == 1, "it is sent once"


# Changes of the session


async def test_a_change_is_drawn_or_explained(parts: Parts, host: FakeHost) -> None:
    changes = SessionChanges(host, parts.replies)

    async def change(result: bool) -> bool:
        return result

    async def fail() -> bool:
        raise StorageError("The disk is full")

    assert await changes.apply(change(True), "nothing")
    assert len(host.redraws) == 1
    assert not await changes.apply(change(False), "nothing to do")
    assert not await changes.apply(fail(), "nothing")
    assert len(host.redraws) == 1
    assert host.notices[0] == "nothing to do"
    assert "The disk is full" in host.notices[1]


async def test_an_edit_is_sent_as_another_version(session: Session, composer: Composer) -> None:
    await session.start()
    async for _event in session.send("first"):
        pass
    edits = MessageEdit(session, composer)
    composer.insert("a draft")
    edits.start(session.conversation.turns[0])
    assert composer.text == "first"
    async for _event in edits.send("second"):
        pass
    assert composer.text == "a draft"
    assert [turn.user for turn in session.conversation.turns] == ["second"]
    assert len(session.conversation.turns[0].siblings) == 2
    edits.start(session.conversation.turns[0])
    edits.cancel()
    assert not edits.active
    assert composer.text == "a draft"
