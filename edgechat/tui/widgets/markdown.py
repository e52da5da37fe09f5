"""A reply as Markdown, written while it is being read.

A model's text is never trusted: HTML is shown as the text it is, a link shows its address and does nothing, and every
fragment passes `printable` first. This module must only be imported where the first reply is drawn, for Markdown and
the highlighter behind it cost as much as a fifth of the program's start.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from markdown_it.token import Token
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static
from textual.widgets._markdown import (
    Markdown,
    MarkdownBlock,
    MarkdownFence,
    MarkdownTable,
    MarkdownTableCellContents,
    MarkdownTableContent,
)
from textual.worker import WorkerFailed

from edgechat.chat.text import printable

if TYPE_CHECKING:
    from markdown_it.rules_core import StateCore
    from textual.worker import Worker

PACE = 0.05
"""Seconds between two drawings of a streaming reply."""

_UNDECIDED = re.compile(r"[ \t]{0,3}(?:`{3}[^`]*|~{3}.*|[-+*_=#>|:`~0-9.)\s]*)")
"""A last line that is only the beginning of some markup: drawing it now would draw it as something else in a moment."""


def make_parser() -> MarkdownIt:
    """A parser for which everything in a reply is either simple markup or text."""
    parser = MarkdownIt("gfm-like", {"html": False, "linkify": False})
    # A definition would vanish from the screen, and is the one thing that could change text further up.
    parser.disable(["reference", "autolink", "html_block", "html_inline", "linkify"])
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    parser.core.ruler.push("edgechat_text", _as_text)
    return parser


def _as_text(state: StateCore) -> None:
    """Turn what could act into what can be read, and keep the line breaks a model wrote."""
    for token in state.tokens:
        if token.type == "inline" and token.children:
            token.children = _inline(token.children)


def _inline(children: list[Token]) -> list[Token]:
    out: list[Token] = []
    open_links: list[tuple[Token, int]] = []
    for child in children:
        if child.type == "link_open":
            open_links.append((child, len(out)))
        elif child.type == "link_close" and open_links:
            link, start = open_links.pop()
            words = "".join(token.content for token in out[start:])
            address = _address(link, "href")
            if address and address != words:
                out.append(_text(f" ({address})"))
        elif child.type == "image":
            out.append(_text(f"[image: {child.content}] ({_address(child, 'src')})"))
        elif child.type == "softbreak":
            out.append(Token("hardbreak", "br", 0))
        else:
            # An entity such as &#x202e; becomes its character only in the parser.
            child.content = printable(child.content)
            out.append(child)
    return out


def _address(token: Token, name: str) -> str:
    title = token.attrs.get("title", "")
    return printable(f'{token.attrs.get(name, "")} "{title}"' if title else str(token.attrs.get(name, "")))


def _text(words: str) -> Token:
    return Token("text", "", 0, content=words)


class ReplyFence(MarkdownFence):
    """A block of code under the name of its language."""

    def __init__(self, markdown: Markdown, token: Token, code: str) -> None:
        super().__init__(markdown, token, code)
        self.info = token.info.strip()

    @classmethod
    def highlight(cls, code: str, language: str, ansi: bool = False, dark: bool = False) -> Content:
        """Highlight by the first word of the info string; code without one is not guessed at, which is slow."""
        name = language.split(maxsplit=1)[0] if language.strip() else "text"
        return super().highlight(code, name, ansi=ansi, dark=dark)

    def compose(self) -> ComposeResult:
        """The language, if it is known, above the code."""
        if self.info:
            yield Static(Content(printable(self.info)), classes="fence-language")
        yield from super().compose()


class _TableContent(MarkdownTableContent):
    """Cells without tooltips: those would read a cell's text as Textual markup."""

    def compose(self) -> ComposeResult:
        for header in self.headers:
            yield MarkdownTableCellContents(header, classes="header")
        for number, row in enumerate(self.rows, 1):
            for cell in row:
                yield MarkdownTableCellContents(cell, classes=f"row{number} cell")
            self.last_row = number


class ReplyTable(MarkdownTable):
    """A table."""

    def compose(self) -> ComposeResult:
        """The cells."""
        self._headers, self._rows = self._get_headers_and_rows()
        yield _TableContent(self._headers, self._rows)

    async def _update_from_block(self, block: MarkdownBlock) -> None:
        # A growing table is drawn anew: the way of the base class adds cells that have tooltips.
        await MarkdownBlock._update_from_block(self, block)


class ReplyMarkdown(Markdown):
    """A reply, either whole from the start or fed fragment by fragment and then finished.

    `MarkdownStream` is not used for two reasons: it draws as often as fragments come, and stopping it while it draws
    parses the tail a second time from a stale line, which shows text twice.
    """

    BLOCKS = {  # noqa: RUF012 - typed by the base class
        **Markdown.BLOCKS,
        "fence": ReplyFence,
        "code_block": ReplyFence,
        "table_open": ReplyTable,
    }

    def __init__(self, text: str = "", *, streaming: bool = False) -> None:
        """Make the view of a reply.

        Args:
            text: What is known of it.
            streaming: Whether more will be fed.
        """
        super().__init__(printable(text), parser_factory=make_parser, open_links=False)
        self.streaming = streaming
        self._waiting: list[str] = []
        self._held = ""
        self._fed = asyncio.Event()
        self._pump: Worker[None] | None = None

    def on_mount(self) -> None:
        """Begin to draw, but after the base class: its own handler comes next and clears the view."""
        if self.streaming:
            self.call_later(self._begin)

    def _begin(self) -> None:
        self._pump = self.run_worker(self._draw(), name="reply", exit_on_error=False)

    def feed(self, fragment: str) -> None:
        """Take the next characters of the reply; they are drawn within a moment."""
        self._waiting.append(printable(fragment))
        self._fed.set()

    async def finish(self) -> None:
        """Draw everything that was fed and stop drawing. Safe to call twice."""
        if not self.streaming:
            return
        self.streaming = False
        self._fed.set()
        if self._pump is not None:
            try:
                await self._pump.wait()
            except WorkerFailed:  # cancelled, for the widget is gone
                return
        await self._settle()

    async def _draw(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            await self._fed.wait()
            self._fed.clear()
            ending = not self.streaming
            began = clock()
            await self._append(everything=ending)
            if ending:
                return
            # A drawing that took long is followed by a longer rest, so that keys always get their turn.
            await asyncio.sleep(max(PACE, 2 * (clock() - began)))

    async def _append(self, *, everything: bool) -> None:
        text = self._held + "".join(self._waiting)
        self._waiting.clear()
        self._held = ""
        if not everything:
            start = text.rfind("\n") + 1
            fresh_line = start > 0 or not self.source or self.source.endswith("\n")
            if fresh_line and _UNDECIDED.fullmatch(text, start):
                text, self._held = text[:start], text[start:]
        if text:
            await self.append(text)

    async def _settle(self) -> None:
        """Draw the whole anew if the pieces, each drawn without knowing what follows, came out as other blocks."""
        tokens = make_parser().parse(self.source)
        whole = [tuple(token.map) for token in tokens if token.level == 0 and token.map]
        drawn = [child.source_range for child in self.children if isinstance(child, MarkdownBlock)]
        if [start for start, _ in whole] != [start for start, _ in drawn]:
            await self.update(self.source)
