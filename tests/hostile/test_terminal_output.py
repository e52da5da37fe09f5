"""Texts of users, models and files that want a terminal to obey them, in every place where they are shown."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.content import Content
from textual.drivers.headless_driver import HeadlessDriver
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.widgets._text_area import TextArea

from edgechat.chat.conversation import ReplyState
from edgechat.cli.main import run
from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import EdgechatError
from edgechat.history.store import HistoryStore
from edgechat.session.session import Session
from edgechat.tui.app import EdgechatApp
from edgechat.tui.dialogs.text import AnswerScreen
from edgechat.tui.dialogs.text_prompt import AskCard
from edgechat.tui.terminal import output_gate
from edgechat.tui.widgets.composer import Composer
from tests.hostile.conftest import Campaign, sample
from tests.hostile.terminal_stream import injected, obeyed, obeyed_of_lines
from tests.tui.helpers import screen_text, until

STARTS = Callable[[str, str], Campaign]

BATCH = 120
"""Texts that one app shows."""

SIZE = (110, 70)


class Captured(HeadlessDriver):
    """Keeps what would be written to a terminal, before the driver's gate and behind it."""

    @property
    def is_headless(self) -> bool:
        """See `Driver.is_headless`: an app draws for nobody who is."""
        return False

    def write(self, data: str) -> None:
        """See `Driver.write`."""
        self._app.__dict__.setdefault("drawn", []).append(data)

    def flush(self) -> None:
        """See `Driver.flush`."""


class CapturedApp(EdgechatApp):
    """The real app, drawing into a list."""

    drawn: list[str]

    def get_driver_class(self) -> Any:
        """See `App.get_driver_class`."""
        return Captured


def history_of(path: Path, texts: Sequence[str]) -> int:
    """A chat with texts as its title, its system message, its messages and its replies. Returns its id."""
    with closing(HistoryStore.open(path)) as store:
        title, system, *rest = texts
        chat = store.create_conversation(model=title, title=title, system=system)
        parent = None
        for user, answer in zip(rest[::2], rest[1::2], strict=False):
            turn = store.add_turn(chat.id, parent, user)
            reply = store.add_reply(turn.id, answer)
            store.close_reply(reply.id, ReplyState.COMPLETE, text=f"{answer}\n\n```\n{answer}\n```\n\n- {answer}\n")
            parent = turn.id
        return chat.id


class Forgetful(Screen[None]):
    """Widgets that take no care of what they show."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__()
        self._texts = texts

    def compose(self) -> Iterator[Widget]:
        """Every kind that takes text."""
        plain, listed, area, line = (self._texts[n::4] for n in range(4))
        yield Static(Content("\n".join(plain)))
        yield OptionList(*(Content(text) for text in listed), markup=False)
        yield TextArea("\n".join(area))
        yield from (Input(text) for text in line)


async def show(pilot: Pilot[Any], texts: list[str], shown: list[str]) -> None:
    """Show texts in all places, one after the other, and keep what is seen of the screen."""
    app = pilot.app
    assert isinstance(app, CapturedApp)

    async def look(text: str = "") -> None:
        await until(pilot, lambda: text.partition(" ")[0] in screen_text(pilot))
        shown.append(screen_text(pilot))

    def take(count: int) -> list[str]:
        taken = texts[:count]
        del texts[:count]
        return taken

    composer = app.chat.composer
    for text in take(8):  # as a message that is edited or called back is
        composer.text = text
        composer.focus()
        await look(text)
    composer.text = ""
    for text in take(8):
        app.notify(text, title=text, markup=False)
        await look(text)
        app.clear_notifications()
    for text in take(4):
        await app.chat.view.show_error(EdgechatError(text, text, text))
        await look(text)
    await until(pilot, lambda: app.chat.chat_list.chats is not None)
    assert app.chat.chat_list.chats is not None
    for text in take(4):
        app.chat.chat_list.chats.search.value = text
        app.chat.chat_list.chats.search.cursor_position = 0
        await look(text)
    for text in take(4):
        await app.push_screen(AskCard(text, text))
        await look(text)
        app.pop_screen()
    bulk = take(40)
    await app.push_screen(AnswerScreen(bulk[0], bulk[1:]))
    await look(bulk[1])
    app.pop_screen()
    while texts:
        some = take(40)
        await app.push_screen(Forgetful(some))
        await look(some[-1])
        app.pop_screen()


def _is_shown(number: int, screens: str) -> bool:
    return f"k{number}k" in screens


async def test_the_interface(campaign: STARTS, tmp_path: Path) -> None:
    texts = campaign("C", "Texts in the interface that a terminal would obey")
    unseen = 0
    for batch in sample(2, 205):
        numbers = range(batch * BATCH, (batch + 1) * BATCH)
        made = [injected(number) for number in numbers]
        path = tmp_path / f"{batch}.db"
        chat = history_of(path, made[:12])
        store = HistoryStore.open(path)
        app = CapturedApp(Session(ScriptedEngine(), store, conversation=store.conversation(chat)))
        screens: list[str] = []
        wrong: list[str] = []
        try:
            async with app.run_test(headless=False, size=SIZE, notifications=True) as pilot:
                await until(pilot, lambda: "k" in screen_text(pilot))
                await pilot.pause()
                screens.append(screen_text(pilot))
                await show(pilot, made[12:], screens)
        except Exception as error:  # the other batches are tried all the same
            wrong.append(f"{type(error).__name__}: {str(error)[:200]}")
        drawn = "".join(getattr(app, "drawn", ()))
        seen = "\n".join(screens)
        wrong += [*obeyed(drawn), *obeyed(output_gate.passed(drawn)), *obeyed(seen.replace("\n", ""))]
        unseen += sum(not _is_shown(number, seen) for number in numbers)
        texts.note(numbers[0], f"{wrong[:5]!r}" if wrong else None)
        for number in numbers[1:]:
            texts.note(number, None)
    texts.judge()
    # A text counts only if it was on the screen; a system message is not, and a few are scrolled away or cut.
    assert unseen <= texts.tried // 50


async def test_a_message_that_is_called_back(campaign: STARTS, tmp_path: Path) -> None:
    recalled = campaign("C", "Messages called back into the composer")
    for number in sample(4, 40):
        text = injected(200_000 + number)
        path = tmp_path / f"{number}.db"
        with closing(HistoryStore.open(path)) as store:
            chat = store.create_conversation(title="x")
            turn = store.add_turn(chat.id, None, text)
            store.close_reply(store.add_reply(turn.id, "m").id, ReplyState.COMPLETE, text="x")
        store = HistoryStore.open(path)
        app = CapturedApp(Session(ScriptedEngine(), store, conversation=store.latest()))
        async with app.run_test(headless=False, size=(80, 24)) as pilot:
            await until(pilot, lambda: "k2" in screen_text(pilot))
            key = ("up", "ctrl+up", "ctrl+e")[number % 3]
            await pilot.press(key)
            await pilot.pause()
            composer = app.chat.query_one(Composer)
            held = composer.text
        wrong = list(obeyed("".join(app.drawn)))
        failure = f"{wrong[:3]!r}" if wrong else None
        # The text area takes any end of a line for one, and writes it as its own.
        if number % 3 == 0 and held.splitlines() != text.replace("\0", "\ufffd").splitlines():
            failure = f"the message is {held!r} in the composer, and was {text!r}"
        recalled.note(number, failure)
    recalled.judge()


# The command line


class Tty(io.BytesIO):
    """A terminal that keeps what was written."""

    def isatty(self) -> bool:
        """See `io.IOBase.isatty`."""
        return True


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Standard output and error on one terminal; what was written is in the list afterwards."""
    written: list[str] = []
    held = Tty()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", io.TextIOWrapper(held, "utf-8", "replace", write_through=True))
        patched.setattr(sys, "stderr", io.TextIOWrapper(held, "utf-8", "backslashreplace", write_through=True))
        yield written
        written.append(held.getvalue().decode())


ON_CHATS = (
    ("list",),
    ("show", "1"),
    ("search", "k"),
    ("export", "1"),
    ("export", "1", "--format", "markdown"),
    ("export", "1", "--format", "openai"),
    ("export", "1", "--format", "phi3"),
)


def test_chats_on_the_command_line(campaign: STARTS, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = campaign("C", "Texts of chats that commands print to a terminal")
    path = own_home / "data" / "history.db"
    path.parent.mkdir(parents=True)
    for batch in sample(2, 80):
        numbers = range(300_000 + batch * 40, 300_000 + (batch + 1) * 40)
        path.unlink(missing_ok=True)
        history_of(path, [injected(number) for number in numbers])
        with terminal(monkeypatch) as written:
            codes = [run(["chats", *arguments]) for arguments in ON_CHATS]
        wrong = obeyed_of_lines(written[0])
        for number in numbers:
            texts.note(number, None if f"k{number}k" in written[0] else "it was not printed")
        if wrong or any(codes):
            texts.failures.append(f"{numbers[0]}: {codes} {wrong[:5]!r}")
    texts.judge()


COMMANDS: tuple[Callable[[str], list[str]], ...] = (
    lambda text: [text],
    lambda text: [f"--{text}"],
    lambda text: ["models", "show", text],
    lambda text: ["models", "add", text],
    lambda text: ["models", "remove", text],
    lambda text: ["models", text],
    lambda text: ["package", text, "--out", "out"],
    lambda text: ["chats", "import", text],
    lambda text: ["chats", "show", text],
    lambda text: ["chats", "export", "--out", f"absent/{text}"],
    lambda text: ["chats", "set", "1", "--temperature", text],
    lambda text: ["personas", text],
    lambda text: ["ask", "--persona", text, "--no-stdin", "x"],
    lambda text: ["ask", "-m", text, "--no-stdin", "x"],
    lambda text: ["--context-policy", text],
)


def test_arguments_on_the_command_line(
    campaign: STARTS, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = campaign("C", "Names and arguments that errors repeat on a terminal")
    monkeypatch.chdir(tmp_path)
    for number in sample(60, 1500):
        text = injected(400_000 + number).replace("\0", "")
        with terminal(monkeypatch) as written:
            code = run(COMMANDS[number % len(COMMANDS)](text))
        wrong = obeyed_of_lines(written[0])
        failure = f"{wrong!r}" if wrong else "it did not fail" if code == 0 else None
        texts.note(number, failure if written[0] or failure else "nothing was told")
    texts.judge()
