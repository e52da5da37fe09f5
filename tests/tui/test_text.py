"""Text stays text: hostile words, every script, every size, and replies cut at any place."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgechat.engine.scripted import ScriptedEngine
from edgechat.errors import EngineError
from edgechat.tui.widgets.markdown_layout import Layout, units_of
from edgechat.tui.widgets.markdown_parser import make_parser
from edgechat.tui.widgets.reply_view import ReplyView
from edgechat.tui.widgets.status import Activity, Status, status_content
from edgechat.tui.widgets.turn_view import UserText
from tests.tui.conftest import MakeApp
from tests.tui.helpers import HOSTILE, activity, chat_text, ready, say, screen_text, until, write

RICH = """# Title

Some **bold**, *italic*, ~~gone~~ and `code`.
The next line.

- one
- two
  - nested
- three

1. first
2. second

   a paragraph of the second

```python
def f():
    return "<div>"
```

| Name | Size |
|------|-----:|
| a    |    1 |
| 日本 |   20 |

> quoted
> words

***

<div>x</div>

[words](https://example.com/a "title") ![picture](p.png) <https://example.org> &amp; &#x202e;

[ref]: https://example.net
"""


def shown(markdown: str, width: int = 60) -> str:
    """What a reply looks like, without styles."""
    layout = Layout()
    lines = [
        line.content.plain
        for unit in units_of(make_parser().parse(markdown))
        for line in layout.lines(unit, width, final=True)
    ]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("markdown", "words"),
    [
        ("<div>x</div>", "<div>x</div>"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("a <b onclick=x>b</b> c", "a <b onclick=x>b</b> c"),
        ("<!-- hidden -->", "<!-- hidden -->"),
        ("[bold red]x[/] [/nonsense]", "[bold red]x[/] [/nonsense]"),
        ("[words](https://example.com)", "words (https://example.com)"),
        ("[run](javascript:alert(1))", "run (javascript:alert(1))"),
        ('[a](b "c")', 'a (b "c")'),
        ("<https://example.org>", "<https://example.org>"),
        ("![alt](p.png)", "[image: alt] (p.png)"),
        ("[ref]: https://example.net", "[ref]: https://example.net"),
        ("one\ntwo", "one\ntwo"),
        ("&#x202e;x &#27;[0m &lt;", "\ufffdx \ufffd[0m <"),
        ("```\n  <a>\n\n  b\n```", "   <a>"),
        ("~~~made up language\ncode\n~~~", "made up language"),
        ("- [ ] task", "[ ] task"),
        ("7. seven\n8. eight", " 8. eight"),
    ],
)
def test_nothing_is_lost_or_obeyed(markdown: str, words: str) -> None:
    assert words in "\n".join(line.rstrip() for line in shown(markdown).split("\n"))


@pytest.mark.parametrize("width", [1, 2, 5, 12, 20, 40, 200])
def test_no_line_is_wider_than_the_screen(width: int) -> None:
    layout = Layout()
    for unit in units_of(make_parser().parse(RICH + HOSTILE)):
        for line in layout.lines(unit, width, final=True):
            # What does not fit at all (the indent of a list in two columns) is cut by the screen.
            assert line.content.cell_length <= max(width, 12)


@settings(deadline=None, max_examples=60)
@given(cuts=st.lists(st.integers(0, len(RICH)), max_size=30))
def test_where_a_reply_is_cut_does_not_matter(cuts: list[int]) -> None:
    """Drawn piece by piece, a reply has the same words, and the same source, as drawn whole."""
    view = ReplyView(streaming=True)
    view._laid_out(60)
    edges = [0, *sorted(cuts), len(RICH)]
    for start, end in itertools.pairwise(edges):
        if start < end:
            view._extend(RICH[start:end])
    assert view.source == RICH
    assert _words(view.plain) == _words(ReplyView(RICH).plain)


def _words(text: str) -> list[str]:
    return sorted(word for word in text.replace("\u2500", "").split() if word.isalnum())


async def test_streamed_and_opened_look_the_same(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine([RICH], delay=0.002))
    async with app.run_test(size=(80, 50)) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        streamed = app.query_one(ReplyView).plain
        conversation = app.session.conversation
    again = make_app(conversation=conversation)
    async with again.run_test(size=(80, 50)) as pilot:
        await until(pilot, lambda: bool(again.query(ReplyView)))
        assert again.query_one(ReplyView).plain == streamed


async def test_hostile_words_everywhere(make_app: MakeApp) -> None:
    failure = EngineError(HOSTILE, HOSTILE, HOSTILE)
    app = make_app(ScriptedEngine([f"{HOSTILE} and more"], fail_after=8, failure=failure), notices=[HOSTILE])
    async with app.run_test(size=(120, 50)) as pilot:
        await ready(pilot)
        await say(pilot, HOSTILE, Activity.ERROR)
        text = chat_text(pilot) + screen_text(pilot)
        assert not {"\x1b", "\u202e"} & set(text)
        assert text.count("\u241b[31mred\u241b[0m [bold red]x[/] [/nonsense] <script>alert(1)</script>") >= 5
        assert "שלום" in text
        assert "日本語" in text


async def test_escape_sequences_cut_between_fragments(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["a \x1b \x1b]8;; http://x \x1b\\ \x9b 31m \x07 b"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        assert not {"\x1b", "\x07", "\x9b"} & set(chat_text(pilot))


async def test_the_message_keeps_lines_and_spaces(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["ok"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "  two\n\n    four   three\n*not markdown*")
        lines = [line.strip("\u258c ") and line for line in screen_text(pilot).splitlines()]
        text = "\n".join(lines)
        for words in ("  two", "    four   three", "*not markdown*"):
            assert words in text


async def test_a_long_paste_is_quick_and_whole(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["ok"], context=1_000_000))
    paste = "\n".join(f"line {number} with [words] in it" for number in range(3_600))
    assert len(paste) > 100_000
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        began = time.process_time()
        await write(pilot, paste)
        await pilot.press("x")
        assert app.chat.composer.outer_size.height <= 8
        await pilot.press("backspace", "enter")
        await until(pilot, lambda: not app.chat.sending and activity(pilot) is Activity.READY)
        assert time.process_time() - began < 10
        assert app.session.conversation.turns[0].user == paste
        folded = app.query_one(UserText)
        assert folded.size.height < 60
        assert "more characters" in chat_text(pilot)
        folded.on_click()
        await until(pilot, lambda: folded.size.height == 3_600)


async def test_one_endless_line(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["x" * 5_000], context=1_000_000))
    async with app.run_test(size=(40, 12)) as pilot:
        await ready(pilot)
        await write(pilot, "y" * 100_000)
        await pilot.press("enter")
        await until(pilot, lambda: not app.chat.sending)
        assert "xxx" in screen_text(pilot)


@pytest.mark.parametrize("size", [(20, 10), (40, 12), (80, 24), (200, 50), (8, 3)])
async def test_every_size(make_app: MakeApp, size: tuple[int, int]) -> None:
    app = make_app(ScriptedEngine([RICH + HOSTILE, "second"]))
    async with app.run_test(size=size) as pilot:
        await ready(pilot)
        await say(pilot, "日本語 שלום hello " * 5)
        await pilot.press("f1")
        await pilot.pause()
        await pilot.press("f1")
        await say(pilot, "again")
        lines = screen_text(pilot).splitlines()
        assert len(lines) == size[1]
        if size[0] < 30:
            assert "too small" in lines[0] or size[0] < 12
        else:
            assert "too small" not in lines[0]
            assert "ready" in lines[-1]
            assert "second" in screen_text(pilot)


async def test_resizing_while_a_reply_is_written(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine([RICH * 3], delay=0.003))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("a", "enter")
        for size in ((40, 12), (20, 10), (200, 50), (80, 24)):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.05)
        await until(pilot, lambda: not app.chat.sending)
        assert app.query_one(ReplyView).plain.count("nested") == 3


async def test_selected_words_are_copied_without_the_breaks_of_wrapping(
    make_app: MakeApp, clipboard: list[str]
) -> None:
    sentence = "These words are so many that they do not fit into one line of a narrow screen, whatever happens."
    app = make_app(ScriptedEngine([sentence]))
    async with app.run_test(size=(40, 20)) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        app.chat.query_one(ReplyView).text_select_all()
        await pilot.pause()
        await pilot.press("ctrl+c")
        await until(pilot, lambda: bool(clipboard))
    assert sentence in clipboard[0]


def test_the_status_fits_any_width() -> None:
    status = Status(Activity.WRITING, "", "a-model-with-a-long-name", 3_900, 4_096, 12.3, exact=True)
    for width in range(1, 120):
        content = status_content(status, width)
        assert content.cell_length <= width
    assert "3,900/4,096" in status_content(status, 100).plain
    assert "12.3 tok/s" in status_content(status, 100).plain
    assert status_content(status, 20).plain.startswith("\u25cf writing")


async def test_selecting_with_the_mouse(make_app: MakeApp, clipboard: list[str]) -> None:
    app = make_app(ScriptedEngine(["Some *words* to select."]))
    async with app.run_test(size=(60, 20)) as pilot:
        await ready(pilot)
        await say(pilot, "a")
        reply = app.query_one(ReplyView)
        left, top = reply.content_region.offset
        await pilot.mouse_down(offset=(left + 5, top))
        await pilot.hover(offset=(left + 9, top))
        await pilot.mouse_up(offset=(left + 9, top))
        await pilot.press("ctrl+c")
        await until(pilot, lambda: bool(clipboard))
    assert clipboard[0] in ("words", "word")
