"""Text from right to left on a terminal: who puts it in order, and where it stands.

Widgets hold and lay out text in the order in which it is read; selecting and copying know no other. The last thing
that happens to a drawn line is that its parts from right to left are turned round (`Reordered`), unless the terminal
does that by itself. A widget that knows the direction of a paragraph says so by a hint in the style of the line, as a
wrapped line need not show it. Mouse positions are turned back before anyone asks what is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from typing import Literal

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.color import Color
from textual.content import Content
from textual.document._document_navigator import DocumentNavigator
from textual.document._wrapped_document import WrappedDocument
from textual.errors import NoWidget
from textual.filter import LineFilter
from textual.geometry import Offset
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static
from textual.widgets._text_area import TextArea  # the public name resolves lazily, which mypy cannot follow at no cost

from edgechat.chat.bidi import Base, base_of, direction_of, mirrored, runs_both_ways, signs_of, visual_order
from edgechat.chat.sanitize import printable
from edgechat.i18n import catalog
from edgechat.tui.visible_document import SeenDocument

Ordering = Literal["app", "terminal", "off"]
"""Who turns text round that runs from right to left: edgechat, the terminal, or nobody."""

EXPLICIT, IMPLICIT = "\x1b[8l", "\x1b[8h"
"""ECMA-48's bidirectional support mode: the program puts text in order, or the terminal does, which is its default."""

HINTS: dict[str, Style] = {base: Style.from_meta({"base": base}) for base in ("L", "R")}
"""The style that tells the direction of the paragraph of a line, or of a part of one."""

_FIRST_VTE_WITH_MODES = 5800

# Words that stand apart are columns, each of which is a text of its own: single spaces only, and no lines of boxes.
_COLUMN = re.compile("[^\\s\u2500-\u259f]+(?: [^\\s\u2500-\u259f]+)*")


class _Mode:
    """How it is in this process."""

    ordering: Ordering = "app"
    opening: str = ""
    seen: bool = False


def ordering() -> Ordering:
    """Who puts text in order."""
    return _Mode.ordering


def opening() -> str:
    """What is written to the terminal when it is taken; "" for nothing."""
    return _Mode.opening


def closing() -> str:
    """What is written to the terminal when it is given back; "" for nothing."""
    return IMPLICIT if _Mode.opening else ""


def use(setting: Ordering | Literal["auto"], variables: Mapping[str, str]) -> None:
    """Decide who puts text in order.

    Args:
        setting: Who is to; "auto" looks at the terminal.
        variables: The environment.
    """
    _Mode.ordering = ordering_of(variables) if setting == "auto" else setting
    _Mode.opening = EXPLICIT if _Mode.ordering == "app" and _vte(variables) and "TMUX" not in variables else ""


def ordering_of(variables: Mapping[str, str]) -> Ordering:
    """Who puts text in order on the terminal of that environment.

    Terminals of the VTE kind (GNOME, XFCE, Tilix) are asked to leave it to the program, and obey; Konsole, mlterm and
    Apple's Terminal turn text round whatever it is; all others, tmux by itself and Windows Terminal among them, draw
    it as it comes. Within tmux it is the outer terminal that counts, if it is known.
    """
    if (
        "KONSOLE_VERSION" in variables
        or "MLTERM" in variables
        or variables.get("TERM", "").startswith("mlterm")
        or variables.get("TERM_PROGRAM") == "Apple_Terminal"
        or (_vte(variables) and "TMUX" in variables)  # tmux does not pass on that it is to be left to the program
    ):
        return "terminal"
    return "app"


def _vte(variables: Mapping[str, str]) -> bool:
    version = variables.get("VTE_VERSION", "")
    return version.isdecimal() and int(version) >= _FIRST_VTE_WITH_MODES


class Reordered(LineFilter):
    """Turns round what runs from right to left, in each line of each widget."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments in the order in which they are seen; the same ones where all runs from left to right."""
        del background
        if _Mode.ordering != "app" or _Mode.seen:
            return segments
        text = "".join(segment.text for segment in segments)
        if not runs_both_ways(text):
            return segments
        styles = [segment.style for segment in segments for _ in segment.text]
        out: list[Segment] = []
        for start, end, turned in arranged(text, _hints(segments)):
            sign = mirrored(text[start]) + text[start + 1 : end] if turned else text[start:end]
            style = styles[start]
            if out and out[-1].style == style:
                out[-1] = Segment(out[-1].text + sign, style)
            else:
                out.append(Segment(sign, style))
        return out


def _hints(segments: Sequence[Segment]) -> tuple[tuple[int, int, Base], ...]:
    """The parts of a line whose direction is told."""
    out: list[tuple[int, int, Base]] = []
    place = 0
    for segment in segments:
        end = place + len(segment.text)
        style = segment.style
        if style is not None and style._meta is not None and (base := style.meta.get("base")) is not None:
            if out and out[-1][1:] == (place, base):
                out[-1] = (out[-1][0], end, base)
            else:
                out.append((place, end, base))
        place = end
    return tuple(out)


@lru_cache(1024)
def arranged(text: str, hints: tuple[tuple[int, int, Base], ...]) -> tuple[tuple[int, int, bool], ...]:
    """The signs of a whole line as they are seen: where each begins and ends in it, and whether it is turned round."""
    out: list[tuple[int, int, bool]] = []
    place = 0
    for start, end, base in _parts(text, hints):
        if start > place:
            out.append((place, start, False))
        out += [(start + first, start + last, turned) for first, last, turned in visual_order(text[start:end], base)]
        place = end
    if place < len(text):
        out.append((place, len(text), False))
    return tuple(out)


def _parts(text: str, hints: tuple[tuple[int, int, Base], ...]) -> Iterator[tuple[int, int, Base]]:
    place = 0
    for start, end, base in (*hints, (len(text), len(text), "L")):
        for column in _COLUMN.finditer(text, place, start):
            if runs_both_ways(column[0]):
                yield column.start(), column.end(), "R" if catalog.right_to_left() else base_of(column[0])
        if start < end:
            yield start, end, "R" if base == "R" else "L"
        place = end


def kept_cell(line: Strip, x: int) -> int:
    """Where in a line as it is kept the sign begins that is seen at a cell."""
    for kept, seen, width, turned in _places(line):
        if seen <= x < seen + width:
            return kept + (0 if turned else x - seen)
    return x


def seen_cell(line: Strip, x: int) -> int:
    """Where the sign is seen that stands at a cell of a line as it is kept."""
    for kept, seen, width, turned in _places(line):
        if kept <= x < kept + width:
            return seen + (0 if turned else x - kept)
    return x


def _places(line: Strip) -> Iterator[tuple[int, int, int, bool]]:
    """The pieces of a line that is put in order: the cell each is kept at and seen at, its width, if it is turned."""
    segments = list(line)
    text = "".join(segment.text for segment in segments)
    if _Mode.ordering != "app" or not runs_both_ways(text):
        return
    seen = 0
    for start, end, turned in arranged(text, _hints(segments)):
        width = cell_len(text[start:end])
        yield cell_len(text[:start]), seen, width, turned
        seen += width


def placed(strip: Strip, base: Base | None, width: int, style: Style) -> Strip:
    """A line of a paragraph where it belongs: on the right, if the paragraph runs from right to left.

    Args:
        strip: The line, in the order in which it is read.
        base: The paragraph's direction; None for one that is nowhere from right to left.
        width: Cells there are.
        style: Of the cells beside the text.
    """
    if base is None or _Mode.ordering == "off":
        return strip.adjust_cell_length(width, style)
    if _Mode.ordering == "app":  # what follows the text is seen on its left
        return strip.adjust_cell_length(width, style).apply_style(HINTS[base])
    if base == "R" and (spare := width - strip.cell_length) > 0:
        return Strip([Segment(" " * spare, style), *strip], width)
    return strip.adjust_cell_length(width, style)


class DirectedText(Static):
    """A text whose paragraphs stand where they belong, each by its own first letter."""

    def render_line(self, y: int) -> Strip:
        """See `Widget.render_line`."""
        strip = super().render_line(y)
        content = self.visual
        if not isinstance(content, Content) or not runs_both_ways(content.plain):
            return strip
        paragraphs = content.plain.split("\n")
        offset = next((style.meta.get("offset") for _, style, _ in strip if style is not None and style._meta), None)
        if offset is None or offset[1] is None or offset[1] >= len(paragraphs):
            return strip
        base = direction_of(paragraphs[offset[1]])
        return placed(_trimmed(strip), base, self.content_size.width, self.rich_style)


def _trimmed(strip: Strip) -> Strip:
    """Without the spaces that fill a line up."""
    text = strip.text
    return strip.crop(0, strip.cell_length - (len(text) - len(text.rstrip(" "))))


def _with_whole_signs(strip: Strip) -> Strip:
    """The line with each sign in one style: a cursor that covers the first character of several covers them all."""
    text = strip.text
    if text.isascii():
        return strip
    styles = [segment.style for segment in strip for _ in segment.text]
    pieces = ((text[start:end], styles[start]) for start, end in signs_of(text))
    segments = [
        Segment("".join(sign for sign, _ in same), style) for style, same in groupby(pieces, key=lambda piece: piece[1])
    ]
    return Strip(segments)


@contextmanager
def reordered_already() -> Iterator[None]:
    """While a screen that lies over another one is drawn: what shows through is in order already."""
    _Mode.seen = True
    try:
        yield
    finally:
        _Mode.seen = False


class DirectedScreen(Screen[None]):
    """A screen on which the mouse selects what is seen under it."""

    def get_widget_and_offset_at(self, x: int, y: int) -> tuple[Widget | None, Offset | None]:
        """See `Screen.get_widget_and_offset_at`."""
        if _Mode.ordering == "app":
            try:
                widget, region = self.get_widget_at(x, y)
            except NoWidget:
                return super().get_widget_and_offset_at(x, y)
            left = region.x + widget.gutter.left
            line = y - region.y - widget.gutter.top
            if x >= left and 0 <= line < widget.content_size.height:
                x = left + kept_cell(widget.render_line(line), x - left)
        return super().get_widget_and_offset_at(x, y)


class DirectedTextArea(TextArea):
    """A text area for all scripts: the arrow keys go where they point, and never into the middle of a sign.

    Lines from right to left stand on the right. A letter with its points, or emoji that are joined, is one sign to move
    over and to delete.
    """

    def _set_document(self, text: str, language: str | None) -> None:
        super()._set_document(text, language)
        self.wrapped_document = WrappedDocument(SeenDocument(self.document), tab_width=self.indent_width)  # type: ignore[arg-type]
        self.navigator = DocumentNavigator(self.wrapped_document)
        self.move_cursor((0, 0))
        self._rewrap_and_refresh_virtual_size()

    def get_line(self, line_index: int) -> Text:
        """See `TextArea.get_line`; what a terminal would obey is seen as a sign."""
        return Text(printable(self.document.get_line(line_index)), end="", no_wrap=True)

    def render_line(self, y: int) -> Strip:
        """See `Widget.render_line`."""
        strip = _with_whole_signs(super().render_line(y))
        base = self._base_at(self.scroll_offset.y + y)
        return strip if base is None or _Mode.ordering != "app" else strip.apply_style(HINTS[base])

    def get_target_document_location(self, event: events.MouseEvent) -> tuple[int, int]:
        """See `TextArea.get_target_document_location`."""
        line = event.y - self.gutter.top
        if _Mode.ordering == "app" and 0 <= line < self.content_size.height:
            left = self.gutter.left
            x = left + kept_cell(self.render_line(line), event.x - left)
            target = Offset(x - self.gutter_width + self.scroll_offset.x - left, line + self.scroll_offset.y)
            return self.wrapped_document.offset_to_location(target)
        return super().get_target_document_location(event)

    @property
    def cursor_screen_offset(self) -> Offset:
        """Where the cursor is seen; an input method opens its window there."""
        offset = super().cursor_screen_offset
        region = self.content_region
        line = offset.y - region.y
        if _Mode.ordering == "app" and 0 <= line < region.height:
            return Offset(region.x + seen_cell(self.render_line(line), offset.x - region.x), offset.y)
        return offset

    def get_cursor_left_location(self) -> tuple[int, int]:
        """Where the sign before the cursor begins."""
        row, column = super().get_cursor_left_location()
        return row, self._edge(row, column, 0)

    def get_cursor_right_location(self) -> tuple[int, int]:
        """Where the sign after the cursor ends."""
        row, column = super().get_cursor_right_location()
        return row, self._edge(row, column, 1)

    def _edge(self, row: int, column: int, side: Literal[0, 1]) -> int:
        line = self.document.get_line(row)
        if line.isascii():
            return column
        return next((sign[side] for sign in signs_of(line) if sign[0] < column < sign[1]), column)

    def action_cursor_left(self, select: bool = False) -> None:
        """One sign to the left, which in a line from right to left is the next one."""
        self._go(super().action_cursor_left, super().action_cursor_right, select)

    def action_cursor_right(self, select: bool = False) -> None:
        """One sign to the right, which in a line from right to left is the one before."""
        self._go(super().action_cursor_right, super().action_cursor_left, select)

    def action_cursor_word_left(self, select: bool = False) -> None:
        """One word to the left."""
        self._go(super().action_cursor_word_left, super().action_cursor_word_right, select)

    def action_cursor_word_right(self, select: bool = False) -> None:
        """One word to the right."""
        self._go(super().action_cursor_word_right, super().action_cursor_word_left, select)

    def _go(self, named: Callable[[bool], None], opposite: Callable[[bool], None], select: bool) -> None:
        (opposite if self._turned else named)(select)

    @property
    def _turned(self) -> bool:
        return _Mode.ordering == "app" and direction_of(self.document.get_line(self.cursor_location[0])) == "R"

    def _base_at(self, row: int) -> Base | None:
        """The direction of the paragraph in a row of the screen; None if it runs from left to right as a whole."""
        rows = self.wrapped_document._offset_to_line_info
        if not 0 <= row < len(rows):
            return None
        return direction_of(self.document.get_line(rows[row][0]))
