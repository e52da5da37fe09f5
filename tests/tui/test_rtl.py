"""Hebrew and Arabic on the screen: in order, on the right, and in the order of reading wherever it is taken from."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from textual.pilot import Pilot

from edgechat.engine.scripted import ScriptedEngine
from edgechat.i18n import catalog
from edgechat.tui import rtl
from edgechat.tui.rtl import EXPLICIT, Ordering, ordering_of
from edgechat.tui.widgets.reply_view import ReplyView
from tests.tui.conftest import MakeApp
from tests.tui.helpers import app_of, ready, say, screen_text, until, write

QUESTION = "מה שלומך, edgechat (גרסה 2)?"
SHOWN = "?(2 הסרג) edgechat ,ךמולש המ"

REPLY = """# כותרת

שלום **עולם** וגם `code` 3.5.

- פריט
1. ראשון

> ציטוט

English first, then עברית here.

```python
print("שלום")
```

| שם | n |
|---|---:|
| אחת | 1 |
"""


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    catalog.use("en")
    rtl.use("auto", {})


def row_with(pilot: Pilot[None], words: str) -> str:
    """The row of the screen that shows the words."""
    rows = [row for row in screen_text(pilot).splitlines() if words in row]
    assert rows, screen_text(pilot)
    return rows[0]


async def test_a_message_stands_on_the_right_in_order(make_app: MakeApp) -> None:
    async with make_app(ScriptedEngine(script=["Fine."])).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, f"{QUESTION}\nEnglish with עברית inside")
        row = row_with(pilot, SHOWN)
        assert row.index(SHOWN) > 40
        assert row.rstrip().endswith(SHOWN)
        assert row_with(pilot, "English with תירבע inside").index("English") < 10


async def test_each_block_of_a_reply_has_its_own_direction(make_app: MakeApp) -> None:
    async with make_app(ScriptedEngine(script=[REPLY])).run_test(size=(80, 50)) as pilot:
        await ready(pilot)
        await say(pilot, "x")
        for words in ("תרתוכ", ".code 3.5 םגו םלוע םולש", "טירפ •", "ןושאר .1", "טוטיצ ▎"):
            assert row_with(pilot, words).index(words) > 40, words
        for words in ("English first, then תירבע here.", 'print("םולש")'):
            assert row_with(pilot, words).index(words) < 10, words
        header, body = row_with(pilot, "םש"), row_with(pilot, "תחא")
        assert header.index("n ") < header.index("םש")  # the first column is the right one
        assert body.index("1") < body.index("תחא")


async def test_wrapped_lines_keep_the_direction_of_their_paragraph(make_app: MakeApp) -> None:
    words = "מילה " * 11 + "Latin words only on this line of the paragraph, which goes on. " + "סוף"
    async with make_app(ScriptedEngine(script=[words])).run_test(size=(60, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "x")
        rows = [row.rstrip() for row in screen_text(pilot).splitlines() if "Latin" in row or "paragraph" in row]
        assert rows
        assert all(len(row) > 50 for row in rows)


async def test_what_streams_grows_to_the_left(make_app: MakeApp) -> None:
    words = "מילה אחרי מילה נכתבת כאן"
    app = make_app(ScriptedEngine(script=[words], delay=0.03))
    ends = set()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await write(pilot, "x")
        await pilot.press("enter")
        over = False
        while not over:
            over = bool(app.chat.query(ReplyView)) and not app.chat.sending
            await pilot.pause(0.02)
            ends |= {len(row.rstrip()) for row in screen_text(pilot).splitlines() if "הלימ" in row}
        assert len(ends) == 1, ends


async def test_copying_gives_the_order_of_reading(make_app: MakeApp, clipboard: list[str]) -> None:
    async with make_app(ScriptedEngine(script=["שלום עולם abc"])).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, QUESTION)
        app_of(pilot).chat.action_copy_reply()
        await until(pilot, lambda: bool(clipboard))
        assert clipboard == ["שלום עולם abc"]
        # The mouse goes over the word that is seen first from the right.
        row = next(n for n, line in enumerate(screen_text(pilot).splitlines()) if "םלוע םולש" in line)
        line = screen_text(pilot).splitlines()[row]
        begin = line.index("םולש")
        await pilot.mouse_down(offset=(begin + 3, row))
        await pilot.hover(offset=(begin, row))
        await pilot.mouse_up(offset=(begin, row))
        assert app_of(pilot).chat.get_selected_text() == "שלום"


async def test_selecting_a_message_gives_the_order_of_reading(make_app: MakeApp) -> None:
    async with make_app(ScriptedEngine(script=["Fine."])).run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, QUESTION)
        row = next(n for n, line in enumerate(screen_text(pilot).splitlines()) if SHOWN in line)
        left = screen_text(pilot).splitlines()[row].index("edgechat")
        await pilot.mouse_down(offset=(left, row))
        await pilot.hover(offset=(left + 7, row))
        await pilot.mouse_up(offset=(left + 7, row))
        assert app_of(pilot).chat.get_selected_text() == "edgechat"


async def test_the_composer_writes_from_the_right(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        composer = app_of(pilot).chat.composer
        for key in "שלום":
            await pilot.press(key)
        row = row_with(pilot, "םולש")
        assert row.rstrip(" │").endswith("םולש")
        region = composer.content_region
        assert composer.cursor_screen_offset.x == region.right - 5  # the cell left of the last letter
        await pilot.press("right")  # visually back towards the first letter
        assert composer.cursor_location == (0, 3)
        assert composer.cursor_screen_offset.x == region.right - 4
        await pilot.press("x")
        assert composer.text == "שלוxם"
        await pilot.press("left", "left")
        assert composer.cursor_location == (0, 5)
        await pilot.click(offset=(region.right - 1, region.y))
        assert composer.cursor_location == (0, 0)
        await pilot.click(offset=(region.right - 3, region.y))
        assert composer.cursor_location == (0, 2)


@pytest.mark.parametrize("ordering", ["terminal", "off"])
async def test_a_terminal_that_orders_gets_the_order_of_reading(make_app: MakeApp, ordering: Ordering) -> None:
    app = make_app(ScriptedEngine(script=["שלום עולם"]))
    rtl.use(ordering, os.environ)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, QUESTION)
        for words in (QUESTION, "שלום עולם"):
            row = row_with(pilot, words)
            assert (row.index(words) > 40) == (ordering == "terminal")


@pytest.mark.parametrize(
    ("variables", "ordering", "opening"),
    [
        ({"TERM": "xterm-256color"}, "app", ""),
        ({"TERM": "tmux-256color", "TMUX": "socket,1,0"}, "app", ""),
        ({"VTE_VERSION": "7603"}, "app", EXPLICIT),
        ({"VTE_VERSION": "5202"}, "app", ""),
        ({"VTE_VERSION": "7603", "TMUX": "socket,1,0"}, "terminal", ""),
        ({"KONSOLE_VERSION": "220801"}, "terminal", ""),
        ({"TERM": "mlterm"}, "terminal", ""),
        ({"TERM_PROGRAM": "Apple_Terminal"}, "terminal", ""),
        ({"TERM_PROGRAM": "iTerm.app"}, "app", ""),
        ({"WT_SESSION": "1"}, "app", ""),
    ],
)
def test_the_terminal_decides_who_orders(variables: dict[str, str], ordering: str, opening: str) -> None:
    assert ordering_of(variables) == ordering
    rtl.use("auto", variables)
    assert (rtl.ordering(), rtl.opening()) == (ordering, opening)
    rtl.use("off", variables)
    assert (rtl.ordering(), rtl.opening()) == ("off", "")


async def test_an_interface_in_hebrew_is_read_from_the_right(make_app: MakeApp) -> None:
    catalog.use("he")
    async with make_app().run_test(size=(80, 30)) as pilot:
        await ready(pilot)
        assert "ןכומ" in screen_text(pilot).splitlines()[-1]
        assert "השדח החיש" in screen_text(pilot)
        await say(pilot, "x")
        await pilot.press("f2")
        await until(pilot, lambda: "החישה תרתוכ" in screen_text(pilot))
        assert row_with(pilot, "החישה תרתוכ").index("החישה תרתוכ") > 50


@pytest.mark.parametrize("key", ["f1", "ctrl+p"])
async def test_what_shows_through_a_card_stays_in_order(make_app: MakeApp, key: str) -> None:
    async with make_app(ScriptedEngine(script=["Fine."])).run_test(size=(200, 30)) as pilot:
        await ready(pilot)
        await say(pilot, QUESTION)
        row_with(pilot, SHOWN)
        await pilot.press(key)
        await until(pilot, lambda: len(pilot.app.screen_stack) == 2)
        assert "הסרג" in screen_text(pilot)  # on the right, where no card is
        assert "גרסה" not in screen_text(pilot)


async def test_the_mouse_finds_nothing_where_nothing_is(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        chat = app_of(pilot).chat
        assert chat.get_widget_and_offset_at(500, 500) == (None, None)
        assert chat.get_widget_and_offset_at(3, 3)[0] is not None
