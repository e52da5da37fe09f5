"""Nothing the interface says stays English in another language: a language in which every letter has an accent."""

from __future__ import annotations

import re

import pytest
from textual.pilot import Pilot

from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import EngineError
from edgechat.i18n import catalog
from edgechat.settings.schema import Config
from edgechat.slash.commands import COMMANDS
from edgechat.tui.widgets.status import Activity
from tests.tui.conftest import MakeApp
from tests.tui.helpers import activity, app_of, ready, say, screen_text, until, write

_ACCENTED = str.maketrans(
    "ABCDEFGHIJKLMNOPRSTUWYZabcdefghijklmnoprstuwyz", "ÁƁĆĎÉƑǴĤÍĴĶĹḾŃÓṔŔŚŤÚŴÝŹáƀćďéƒǵĥíĵķĺḿńóṕŕśťúŵýź"
)
_LETTERS = re.compile(r"[A-Za-z]{2,}")

NAMES = {
    "edgechat",  # its name
    "scripted",  # the model's
    "xxyyzz",  # what the tests write and answer
}
KEYS = {"Ctrl", "Shift", "Alt", "Esc", "Enter", "Home", "End", "PgUp", "PgDn", "Up", "Down", "Left", "Right", "Tab"}
KEYS |= {"Delete", "Del", "Space", "Insert"}


class Accented:
    """A catalogue of every text there is."""

    def gettext(self, text: str) -> str:
        parts = re.split(r"(\{[^{}]*\})", text)
        return "".join(part if number % 2 else part.translate(_ACCENTED) for number, part in enumerate(parts))

    def ngettext(self, one: str, many: str, count: int) -> str:
        return self.gettext(one if count == 1 else many)


@pytest.fixture(autouse=True)
def accented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog._Current, "language", "xx")
    monkeypatch.setattr(catalog._Current, "catalogue", Accented())


def english(pilot: Pilot[None], *also: str) -> set[str]:
    """The words on the screen that did not come through the catalogue."""
    return set(_LETTERS.findall(screen_text(pilot))) - NAMES - KEYS - set(also)


async def test_the_empty_chat(make_app: MakeApp) -> None:
    async with make_app(notices=[]).run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        assert english(pilot) == set()


async def test_a_reply_that_was_stopped_and_one_of_several(make_app: MakeApp) -> None:
    async with make_app(ScriptedEngine(script=["xxyyzz"])).run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await say(pilot, "xxyyzz")
        await pilot.press("ctrl+r")
        await until(pilot, lambda: not app_of(pilot).chat.sending and activity(pilot) is Activity.READY)
        await until(pilot, lambda: "ŕéṕĺý 2" in screen_text(pilot))
        await write(pilot, "xxyyzz")
        await until(pilot, lambda: "ťóķéń" in screen_text(pilot))
        assert english(pilot) == set()


async def test_an_error(make_app: MakeApp) -> None:
    failure = EngineError("The model failed", "It said nothing.", "Try again; if it stays, verify the model.")
    engine = ScriptedEngine(script=["xxyyzz"], fail_after=0, failure=failure)
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await say(pilot, "xxyyzz", Activity.ERROR)
        await until(pilot, lambda: "ŕéáĺĺý" in screen_text(pilot) or "véŕíƒý" in screen_text(pilot))
        assert english(pilot) == set()


COMMAND_NAMES = {word for command in COMMANDS for word in _LETTERS.findall(command.usage)}
SETTINGS = {"auto", "info", *_LETTERS.findall(Config().system)}
"""What the fields of the settings hold."""


@pytest.mark.parametrize(
    ("key", "also"),
    [
        ("f1", {"left", "right", "tab"}),
        ("f2", set()),
        ("ctrl+p", COMMAND_NAMES),
        ("ctrl+b", set()),
        ("ctrl+s", SETTINGS),
        ("shift+tab", set()),
        ("f8", set()),
        ("slash", COMMAND_NAMES),
        ("f10", set()),
    ],
)
async def test_what_a_key_opens(make_app: MakeApp, key: str, also: set[str]) -> None:
    async with make_app(ScriptedEngine(script=["xxyyzz"])).run_test(size=(104, 60)) as pilot:
        await ready(pilot)
        await say(pilot, "xxyyzz")
        before = screen_text(pilot)
        await pilot.press(key)
        await until(pilot, lambda: screen_text(pilot) != before)
        await pilot.pause(0.3)
        assert english(pilot, *also) == set()
