"""Keys: each has a name and an explanation, is in the palette and the help, and can be another one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.pilot import Pilot
from textual.widgets import OptionList

from edgechat.engine.scripted import ScriptedEngine
from edgechat.settings.loader import Settings, config_path, load_settings
from edgechat.settings.schema import Config
from edgechat.slash import commands as slash
from edgechat.tui.dialogs.base import Card
from edgechat.tui.dialogs.help import HelpScreen, Pairs
from edgechat.tui.dialogs.keys import KeysScreen, PressScreen
from edgechat.tui.keys import GROUPS, Entry, entries, key_words, normalised, problems
from tests.tui.conftest import MakeApp
from tests.tui.helpers import app_of, ready, say, screen_text, until, write


def declared(root: type[DOMNode] = DOMNode) -> Iterator[tuple[type[DOMNode], Any]]:
    entries()  # imports them all
    for owner in root.__subclasses__():
        if owner.__module__.startswith("edgechat.tui"):
            for binding in owner.__dict__.get("BINDINGS", ()):
                yield owner, binding
        yield from declared(owner)


def with_keys(**keys: str) -> Settings:
    named = {name.replace("_", ".", 1): wanted for name, wanted in keys.items()}
    return Settings(Config(keys=named), {"keys": "file"})


def told(pilot: Pilot[Any]) -> str:
    return " ".join(notice.message for notice in pilot.app._notifications)


def test_every_binding_has_a_name_a_title_and_an_explanation() -> None:
    found = list(declared())
    assert len(found) > 20
    for owner, binding in found:
        assert isinstance(binding, Binding), owner
        assert binding.id, (owner, binding.key)
        assert "." in binding.id
        assert binding.description, binding.id
        assert binding.tooltip, binding.id


def test_a_name_means_one_thing() -> None:
    meanings: dict[str, set[tuple[str, str]]] = {}
    for _, binding in declared():
        meanings.setdefault(binding.id, set()).add((binding.key, binding.action))
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def test_the_keys_that_are_shipped_do_not_get_in_each_others_way() -> None:
    """Each set to what it is already: whatever is said then is wrong from the start."""
    assert [words for words in problems({entry.id: entry.keys for entry in entries()}) if "twice" in words] == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("ctrl+j", "Ctrl+J"),
        ("escape", "Esc"),
        ("f12", "F12"),
        ("pageup,ctrl+home", "PgUp, Ctrl+Home"),
        ("j", "j"),
        ("G", "G"),
        ("question_mark", "?"),
        ("plus,minus", "+, -"),
        ("shift+tab", "Shift+Tab"),
        ("space", "Space"),
        ("a,b,c", "a, b"),
    ],
)
def test_keys_are_shown_as_people_write_them(keys: str, words: str) -> None:
    assert key_words(keys) == words


@pytest.mark.parametrize(
    ("written", "meant"),
    [("Ctrl+N, F7", "ctrl+n,f7"), ("Esc", "escape"), ("PgDn", "pagedown"), ("G", "G"), (" alt + Up ", "alt+up")],
)  # fmt: skip
def test_keys_are_read_however_people_write_them(written: str, meant: str) -> None:
    assert normalised(written) == meant


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"chat.nwe": "f7"}, "nothing called chat.nwe. Did you mean chat.new?"),
        ({"zzz": "f7"}, "nothing called zzz."),
        ({"chat.new": "hyper+bogus"}, "hyper+bogus of chat.new is no key"),
        ({"chat.new": " "}, "chat.new is given no key"),
        ({"chat.new": "ctrl+r"}, "Ctrl+R is taken twice, by chat.new and by chat.regenerate"),
        ({"chat.new": "f1"}, "F1 is taken twice, by app.help and by chat.new"),
        ({"chat.new": "ctrl+a"}, "Ctrl+A of chat.new belongs to the text"),
        ({"chat.new": "x"}, "x of chat.new is a letter like any other"),
        ({"chat.new": "ctrl+l", "chat.regenerate": "ctrl+l"}, "Ctrl+L is taken twice"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(keys: dict[str, str], words: str) -> None:
    found = problems(keys)
    assert any(words in sentence for sentence in found), found


@pytest.mark.parametrize(
    "keys",
    [{}, {"chat.new": "alt+n"}, {"chat.new": "ctrl+r", "chat.regenerate": "ctrl+n"}, {"settings.save": "ctrl+r"}],
)
def test_what_is_right_is_let_be(keys: dict[str, str]) -> None:
    assert problems(keys) == []


async def test_another_key_does_it_and_the_old_one_no_longer(make_app: MakeApp) -> None:
    engine = ScriptedEngine(["one", "two"])
    async with make_app(engine, settings=with_keys(chat_new="Ctrl+L", composer_send="alt+s")).run_test() as pilot:
        await ready(pilot)
        await write(pilot, "Hello")
        await pilot.press("enter")
        await pilot.pause()
        assert not engine.requests, "Enter no longer sends"
        await pilot.press("alt+s")
        await until(pilot, lambda: bool(engine.requests) and not app_of(pilot).chat.sending)
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert app_of(pilot).session.conversation.turns
        await pilot.press("ctrl+l")
        await until(pilot, lambda: not app_of(pilot).session.conversation.turns)


async def test_what_is_wrong_with_the_keys_is_told_at_the_start_and_the_rest_works(make_app: MakeApp) -> None:
    settings = with_keys(chat_nwe="f7", chat_new="ctrl+r", app_help="f12")
    async with make_app(settings=settings).run_test() as pilot:
        await until(pilot, lambda: "chat.nwe" in told(pilot) and "Ctrl+R is taken twice" in told(pilot))
        await pilot.press("f12")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (200, 50)])
async def test_the_help_lists_everything_with_the_keys_in_force(make_app: MakeApp, size: tuple[int, int]) -> None:
    async with make_app(settings=with_keys(chat_new="alt+n")).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen))
        text = "\n".join(str(pairs.render()) for pairs in pilot.app.screen.query(Pairs))
        squeezed = "".join(text.split())
        assert "Alt+N" in squeezed
        for entry in entries():
            assert any("".join(word.split()) in squeezed for word in entry.about.split()), entry.id
        for command in slash.COMMANDS:
            assert f"/{command.name}" in squeezed
        assert pilot.app.screen.region.contains_region(pilot.app.screen.query_one("#card").region)
        assert "Esc closes" in screen_text(pilot)
        before = screen_text(pilot)
        await pilot.press("end")
        await until(pilot, lambda: screen_text(pilot) != before or size[1] > 49)
        await pilot.press("f1")
        await until(pilot, lambda: not isinstance(pilot.app.screen, HelpScreen))


def reachable(entry: Entry, pilot: Pilot[Any]) -> bool:
    app = app_of(pilot)
    return any(isinstance(place, entry.owner) for place in (app.chat.composer, app.chat, app))


async def test_the_palette_has_everything_that_has_a_key(make_app: MakeApp) -> None:
    async with make_app(ScriptedEngine(["one"]), settings=with_keys(chat_new="alt+n")).run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        commands = list(pilot.app.get_system_commands(pilot.app.screen))
        helps = [command.help for command in commands]
        for entry in entries():
            if reachable(entry, pilot) and entry.id != "app.commands":
                assert [words for words in helps if words.startswith(f"{entry.about} (")], entry.id
        assert any(words.endswith("(Alt+N)") for words in helps), "with the keys in force"
        new = next(command for command in commands if command.help.endswith("(Alt+N)"))
        assert len({(command.title, command.help) for command in commands}) == len(commands)
        await new.callback()
        await until(pilot, lambda: not app_of(pilot).session.conversation.turns)


def test_the_app_itself_is_among_the_owners() -> None:
    assert any(issubclass(entry.owner, App) for entry in entries())


async def test_a_key_is_changed_by_pressing_it_and_written(make_app: MakeApp) -> None:
    async with make_app(settings=load_settings()).run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        app_of(pilot).action_keys()
        await until(pilot, lambda: isinstance(pilot.app.screen, KeysScreen))
        options = pilot.app.screen.query_one(OptionList)
        options.highlighted = [entry.id for entry in entries()].index("chat.new")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, PressScreen))
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "Ctrl+R is taken twice" in told(pilot))
        assert not config_path().exists()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, PressScreen))
        await pilot.press("ctrl+l")
        await until(pilot, lambda: config_path().exists() and "Ctrl+L" in screen_text(pilot))
        assert load_settings().config.keys == {"chat.new": "ctrl+l"}
        await pilot.press("escape")
        await say(pilot, "Hello")
        await pilot.press("ctrl+l")
        await until(pilot, lambda: not app_of(pilot).session.conversation.turns)
        app_of(pilot).action_keys()
        await until(pilot, lambda: isinstance(pilot.app.screen, KeysScreen))
        pilot.app.screen.query_one(OptionList).highlighted = [entry.id for entry in entries()].index("chat.new")
        await pilot.press("delete")
        await until(pilot, lambda: load_settings().config.keys == {})


async def test_a_card_that_is_closed_while_it_saves_closes_no_other(make_app: MakeApp) -> None:
    async with make_app(settings=load_settings()).run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        app_of(pilot).action_keys()
        await until(pilot, lambda: isinstance(pilot.app.screen, KeysScreen))
        card = pilot.app.screen
        assert isinstance(card, KeysScreen)
        await pilot.press("escape")
        await until(pilot, lambda: not card.query(OptionList))
        entry = next(entry for entry in entries() if entry.id == "chat.new")
        await card._save(entry, "ctrl+l")
        assert load_settings().config.keys == {"chat.new": "ctrl+l"}
        await card.dismiss(None)
        assert pilot.app.screen is app_of(pilot).chat
        await say(pilot, "Hello")


async def test_the_palette_begins_with_what_has_a_key(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(200, 60)) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: "Change the settings" in screen_text(pilot))
        shown = screen_text(pilot)
        assert shown.index("Help") < shown.index("Settings") < shown.index("New chat")
        assert pilot.app.screen.query_one("#--container").region.width <= 104
        titles = [command.title for command in pilot.app.get_system_commands(app_of(pilot).chat)]
        slashes = [title.startswith("/") for title in titles]
        assert slashes == sorted(slashes), "what is written comes last"
        assert sorted(set(titles)) == sorted(titles), "nothing has the name of another"


def test_every_heading_of_the_help_is_one_of_the_table() -> None:
    assert {entry.id.partition(".")[0] for entry in entries()} == set(GROUPS)
    assert entries()[0].id == "app.help"


async def test_every_card_keeps_its_line_of_keys_in_a_small_window(make_app: MakeApp) -> None:
    async with make_app(ScriptedEngine(["one"])).run_test(size=(40, 12)) as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        app = app_of(pilot)
        opened = (app.action_keys, app.action_personas, app.action_doctor, app.action_log, app.chat.action_show_prompt)
        for action in opened:
            action()
            await until(pilot, lambda: isinstance(app.screen, Card))
            card, keys = app.screen.query_one("#card").region, app.screen.query_one("#card-keys").region
            assert app.screen.region.contains_region(card), action
            assert card.shrink((1, 1, 1, 1)).contains_region(keys), action
            squeezed = "".join(screen_text(pilot).replace("\u2502", "").split())
            assert "Esc" in squeezed, action
            if action == app.action_keys:
                assert "Show or close this" in screen_text(pilot), "and what a key does"
            await pilot.press("escape")
            await until(pilot, lambda: app.screen is app.chat)
