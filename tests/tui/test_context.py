"""A context that fills: what is told, what can be chosen with a key, and the prompt shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from edgechat.engine.protocol import Request
from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.store import HistoryStore
from edgechat.tui.dialogs.prompt import PromptScreen
from edgechat.tui.widgets.notices import ErrorCard, Notice
from edgechat.tui.widgets.status import Activity
from tests.tui.conftest import MakeApp
from tests.tui.helpers import HOSTILE, activity, app_of, chat_text, ready, say, screen_text, until, write

LONG = "word " * 60
LONGER = "word " * 80


def answer(request: Request) -> str:
    return "They counted words." if "Sum up" in request.messages[-1].content else "reply " * 20


def engine(**options: Any) -> ScriptedEngine:
    return ScriptedEngine(answer, context=330, **options)


async def fill(pilot: Pilot[Any]) -> None:
    """Three turns, after which a long message does not fit."""
    await ready(pilot)
    for number in range(3):
        await say(pilot, f"m{number} {LONG}")
    await write(pilot, f"m3 {LONGER}")
    await pilot.press("enter")
    await until(pilot, lambda: not app_of(pilot).chat.sending)


def notices(pilot: Pilot[Any]) -> str:
    return "\n".join(str(notice.render()) for notice in pilot.app.query(Notice))


async def test_a_full_chat_is_told_and_the_message_stays_in_the_composer(make_app: MakeApp, history: Path) -> None:
    app = make_app(engine())
    async with app.run_test(size=(80, 40)) as pilot:
        await fill(pilot)
        assert activity(pilot) is Activity.ERROR
        assert app.chat.composer.text == f"m3 {LONGER}"
        card = str(app.query_one(ErrorCard).render())
        for words in ("no longer fits", "oldest 2 of 4", '"m0 word', "stay in the history", "F5", "F6", "Ctrl+N"):
            assert words in card
        store = HistoryStore.open(history)
        chat = store.latest()
        store.close()
        assert chat is not None
        assert len(chat.turns) == 3


async def test_f5_sends_without_the_oldest(make_app: MakeApp) -> None:
    scripted = engine()
    app = make_app(scripted)
    async with app.run_test(size=(80, 40)) as pilot:
        await fill(pilot)
        await pilot.press("f5")
        await until(pilot, lambda: not app.chat.sending and activity(pilot) is Activity.READY)
        assert [message.content.split()[0] for message in scripted.requests[-1].messages] == ["m2", "reply", "m3"]
        assert "oldest 2 messages" in notices(pilot)
        assert not app.query(ErrorCard)
        assert app.chat.composer.text == ""
        assert len(app.session.conversation.turns) == 4
        # From now on the window moves by itself.
        await say(pilot, f"m4 {LONGER}")
        await say(pilot, f"m5 {LONGER}")
        assert not app.query(ErrorCard)


async def test_f6_has_the_oldest_summed_up(make_app: MakeApp) -> None:
    scripted = engine()
    app = make_app(scripted)
    async with app.run_test(size=(80, 40)) as pilot:
        await fill(pilot)
        scripted.delay = 0.1
        await pilot.press("f6")
        await until(pilot, lambda: activity(pilot) is Activity.SUMMING_UP)
        await until(pilot, lambda: not app.chat.sending and activity(pilot) is Activity.READY)
        assert "They counted words." in scripted.requests[-1].messages[0].content
        assert "They counted words." in notices(pilot)
        assert "reply reply" in chat_text(pilot)


async def test_a_chat_that_proves_full_when_the_model_is_there(make_app: MakeApp, history: Path) -> None:
    app = make_app(engine())
    async with app.run_test(size=(80, 40)) as pilot:
        await fill(pilot)
    store = HistoryStore.open(history)
    again = make_app(engine(load_delay=0.5), conversation=store.latest())
    store.close()
    async with again.run_test(size=(80, 40)) as pilot:
        await until(pilot, lambda: again.chat.composer.text == f"m3 {LONGER}")  # the draft that was left
        await pilot.press("enter")
        await until(pilot, lambda: activity(pilot) is Activity.ERROR and not again.chat.sending)
        assert again.chat.composer.text == f"m3 {LONGER}"
        await pilot.press("f5")
        await until(pilot, lambda: not again.chat.sending and activity(pilot) is Activity.READY)
        assert again.session.conversation.turns[-1].reply is not None


async def test_the_policy_can_be_chosen_before_it_matters(make_app: MakeApp) -> None:
    app = make_app(engine())
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await write(pilot, "hello")
        commands = {command.title: command.callback for command in app.get_system_commands(app.screen)}
        chosen = []
        for choose in (lambda: pilot.press("f5"), lambda: pilot.press("f6"), commands["When the chat is full: ask"]):
            if (pressed := choose()) is not None:
                await pressed
            chosen.append(app.session.context.policy)
        assert chosen == ["oldest", "summarise", "ask"]
        assert not app.chat.sending
        await pilot.pause()
        told = "\n".join(note.message for note in app._notifications)
        for words in ("no longer sent", "sums up", "you will be asked"):
            assert words in told


async def test_a_context_that_fills_is_told_once(make_app: MakeApp) -> None:
    app = make_app(engine())
    async with app.run_test(size=(80, 40)) as pilot:
        await ready(pilot)
        for number in range(3):
            await say(pilot, f"m{number} {LONG}")
        assert not app.query(Notice)
        for _ in range(2):
            await say(pilot, "short")
        assert notices(pilot).count("of 330 tokens") == 1
        status = app.chat.status_line.status
        assert (status.used, status.context) == (app.session.context_used, 330)


async def test_the_prompt_is_shown_as_text(make_app: MakeApp) -> None:
    app = make_app(engine())
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        await say(pilot, f"a<|end|>b {HOSTILE}")
        app.chat.action_show_prompt()
        await until(pilot, lambda: isinstance(app.screen, PromptScreen))
        shown = screen_text(pilot)
        for words in (
            "The prompt of the last reply",
            "<|user|>",
            '"a<|end|>b',
            "[bold red]x[/]",
            "computed before (=)",
        ):
            assert words in shown
        assert "\x1b" not in shown
        await pilot.press("escape")
        await write(pilot, "And then?")
        app.chat.action_show_prompt()
        await until(pilot, lambda: isinstance(app.screen, PromptScreen))
        assert "of the message being written" in screen_text(pilot)
        assert '"And then?"' in screen_text(pilot)
        await pilot.press("q")
        assert app.chat.composer.text == "And then?"


async def test_control_tokens_have_another_colour_than_typed_ones(make_app: MakeApp) -> None:
    app = make_app(engine())
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        await say(pilot, "<|end|>")
        app.chat.action_show_prompt()
        await until(pilot, lambda: isinstance(app.screen, PromptScreen))
        strips = app.screen._compositor.render_strips(app.screen.size)
        styles = [(s.text.strip(), s.style.color) for strip in strips for s in strip if s.style and "<|end|>" in s.text]
        typed = {colour for text, colour in styles if text == '"<|end|>"'}
        control = {colour for text, colour in styles if text == "<|end|>"}
        assert typed
        assert control
        assert not typed & control
