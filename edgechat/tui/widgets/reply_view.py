"""A reply, drawn while it is being written.

It takes fragments as fast as they come and draws them at a pace that leaves the keys their turn: only the last block,
or the last item of a list, is parsed and laid out again, and only the lines that are seen are drawn. It must never show
a fragment that did not pass `printable`, and must only be imported where the first reply is drawn, for the parser and
the highlighter behind it are a good part of the start.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.segment import Segment
from textual.strip import Strip
from textual.style import Style
from textual.widget import Widget

from edgechat.chat.sanitize import printable
from edgechat.tui.rtl import placed
from edgechat.tui.widgets.markdown_layout import BLANK, Layout, Line, Unit, stacked, units_of
from edgechat.tui.widgets.markdown_parser import make_parser, undecided

if TYPE_CHECKING:
    from rich.style import Style as RichStyle
    from textual.geometry import Region, Size
    from textual.selection import Selection
    from textual.timer import Timer

PACE = 0.08
"""Seconds between two drawings of a streaming reply. Each takes a core from the model for some milliseconds."""


@dataclass(frozen=True, slots=True)
class _Whole:
    """A finished reply, laid out for a width; for width 0 it still has to be."""

    units: list[Unit]
    lines: list[Line]
    width: int


LONG = 16_000
"""Characters from which on a reply is laid out in a thread, with nothing to be seen of it until then."""

PIECE = 4_000
"""Characters of a paragraph that is written, from which on what is drawn of it is not laid out again."""


def _whole(source: str, width: int) -> _Whole:
    units = units_of(make_parser().parse(source))
    return _Whole(units, stacked(units, Layout(), width) if width else [], width)


class ReplyView(Widget):
    """A reply, either whole from the start or fed fragment by fragment and then finished.

    Attributes:
        source: The Markdown that is drawn so far.
        streaming: Whether more may be fed.
    """

    def __init__(self, text: str = "", *, streaming: bool = False) -> None:
        """Make the view of a reply.

        Args:
            text: The whole reply; empty for one that is fed.
            streaming: Whether it will be fed.
        """
        super().__init__()
        self.source = ""
        self.streaming = streaming
        self._parser = make_parser()
        self._layout = Layout()
        self._fed: list[str] = []
        self._timer: Timer | None = None
        self._rest = PACE
        self._units: list[Unit] = []
        self._starts: list[int] = []
        self._tail = ""
        self._lines: list[Line] = []
        self._drawn: dict[int, tuple[Line, Strip]] = {}
        self._width = 0
        self._asked = 0
        self._glue = False
        self._now: tuple[Style, RichStyle, Selection | None] | None = None
        if text:
            self.source = printable(text)
            if len(self.source) <= LONG:
                self._units = units_of(self._parser.parse(self.source))

    @property
    def plain(self) -> str:
        """What the reply shows, line by line, without styles."""
        return "\n".join(line.content.plain for line in self._laid_out(self._width or 80))

    def feed(self, fragment: str) -> None:
        """Take the next characters of the reply; they are drawn within a moment."""
        self._fed.append(printable(fragment))
        if self._timer is None and self.is_attached:
            self._timer = self.set_timer(self._rest, self._draw)

    def on_mount(self) -> None:
        """Draw what came before."""
        if self._fed:
            self._draw()

    async def finish(self) -> None:
        """Draw everything that was fed and stop drawing. Safe to call twice.

        The whole is parsed once more: the pieces were each drawn without knowing what would follow.
        """
        if not self.streaming:
            return
        self.streaming = False
        if self._timer is not None:
            self._timer.stop()
        self.source += "".join(self._fed)
        self._fed.clear()
        # In a thread, for a reply may be long: the keys go on meanwhile, and what is drawn stays as it is.
        done = await asyncio.to_thread(_whole, self.source, self._width)
        while done.width != self._width:  # resized meanwhile, so what was laid out is of no use
            done = await asyncio.to_thread(_whole, self.source, self._width)
        self._layout.forget()
        self._units, self._lines, self._starts, self._width = done.units, done.lines, [], done.width
        self.refresh(layout=True)

    def _draw(self) -> None:
        self._timer = None
        if not self.streaming:
            return
        clock = asyncio.get_running_loop().time
        began = clock()
        text = "".join(self._fed)
        begun = self._tail.rpartition("\n")[2]  # of the last line, what is drawn already
        cut = undecided(begun + text) - len(begun)
        if 0 <= cut < len(text):
            text, held = text[:cut], text[cut:]
            self._fed = [held]
        else:
            self._fed.clear()
        if text:
            self._extend(text)
        # A drawing that took long is followed by a longer rest, so that keys always get their turn.
        self._rest = max(PACE, 2 * (clock() - began))

    def _extend(self, text: str) -> None:
        self.source += text
        self._let_go()
        self._tail += text
        fresh = units_of(self._parser.parse(self._tail))
        if not fresh:
            return
        if self._glue:
            fresh[0] = Unit(fresh[0].node, fresh[0].line, gap=False)
        elif self._units:
            # The first of them is the last one drawn, grown: it stays as far from the one before as it was.
            fresh[0] = Unit(fresh[0].node, fresh[0].line, self._units.pop().gap)
        lines = self._tail.splitlines(keepends=True)
        self._tail = "".join(lines[fresh[-1].line :])
        height = len(self._lines)
        if self._width:
            if not self._glue:
                del self._lines[self._starts.pop() if self._starts else 0 :]
            self._place(fresh)
        self._glue = False
        self._units += fresh
        self.refresh(layout=len(self._lines) != height or not self._width)

    def _let_go(self) -> None:
        """Lay out no more what is drawn of a very long paragraph; `finish` makes one of the parts again."""
        if len(self._tail) <= PIECE or self._glue or not self._units or self._units[-1].node.type != "paragraph":
            return
        cut = max(self._tail.rfind(" "), self._tail.rfind("\n")) + 1 or len(self._tail)
        head, self._tail = units_of(self._parser.parse(self._tail[:cut])), self._tail[cut:]
        if not head:
            return
        head[0] = Unit(head[0].node, head[0].line, self._units.pop().gap)
        if self._width:
            del self._lines[self._starts.pop() if self._starts else 0 :]
            self._place(head)
        self._units += head
        self._glue = True

    def _place(self, units: list[Unit]) -> None:
        for unit in units:
            self._starts.append(len(self._lines))
            if unit.gap and self._lines:
                self._lines.append(BLANK)
            self._lines += self._layout.lines(unit, self._width, final=False)

    def _laid_out(self, width: int) -> list[Line]:
        if width > 0 and width != self._width:
            if not self.streaming and len(self.source) > LONG:
                self._lay_out_soon(width)
                return self._lines
            self._width = width
            self._drawn.clear()
            self._lines, self._starts = [], []
            if self.streaming:
                self._place(self._units)
            else:
                self._lines = stacked(self._units, self._layout, width)
        return self._lines

    def _lay_out_soon(self, width: int) -> None:
        if width != self._asked and self.is_attached:
            self._asked = width
            self.run_worker(self._lay_out(width), group="layout", exclusive=True)

    async def _lay_out(self, width: int) -> None:
        done = await asyncio.to_thread(_whole, self.source, width)
        self._drawn.clear()
        self._units, self._lines, self._starts, self._width = done.units, done.lines, [], done.width
        self._asked = 0
        self.refresh(layout=True)

    # What the layout, the compositor and the selection ask a widget

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as the reply has at that width."""
        return len(self._laid_out(width))

    def render_lines(self, crop: Region) -> list[Strip]:
        """The lines that are seen."""
        self._now = self._look()
        try:
            return super().render_lines(crop)
        finally:
            self._now = None

    def _look(self) -> tuple[Style, RichStyle, Selection | None]:
        """What all lines have in common: asking for it takes as long as drawing one."""
        # Behind a card the compositor may ask for one that is gone, and Textual looks for its screen.
        return self.visual_style, self.rich_style, self.text_selection if self.is_attached else None

    def render_line(self, y: int) -> Strip:
        """One line, only when it is seen."""
        width = self.content_size.width
        lines = self._laid_out(width)
        if not 0 <= y < len(lines):
            return Strip.blank(width, (self._now or self._look())[1])
        line, (ground, beside, selection) = lines[y], self._now or self._look()
        if selection is None and (drawn := self._drawn.get(y)) is not None and drawn[0] is line:
            return drawn[1]  # a new line below moves nothing of what is above
        content = line.content
        if selection is not None and (span := selection.get_span(y)) is not None:
            start, end = span
            style = Style.from_styles(self.screen.get_component_styles("screen--selection"))
            content = content.stylize(style, start, len(content) if end == -1 else end)
        x, segments = 0, []
        for text, style in content.render(ground, end=""):
            segments.append(Segment(text, style.rich_style_with_offset(x, y)))  # where a selection begins and ends
            x += len(text)
        strip = placed(Strip(segments, content.cell_length), line.base, width, beside)
        if selection is None:
            self._drawn[y] = (line, strip)
        return strip

    def notify_style_update(self) -> None:
        """Colours changed: draw every line anew."""
        self._drawn.clear()
        super().notify_style_update()

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, with the lines that wrapping made joined again."""
        parts: list[str] = []
        for y, line in enumerate(self._lines):
            if (span := selection.get_span(y)) is None:
                continue
            start, end = span
            words = line.content.plain[start : len(line.content.plain) if end == -1 else end].rstrip()
            parts.append(f"{line.join}{words}" if parts else words)
        return "".join(parts), "\n"
