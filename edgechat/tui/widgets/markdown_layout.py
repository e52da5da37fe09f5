"""The lines of a reply: parsed Markdown laid out for a width, one block at a time.

A reply is one widget that draws lines, not a widget for each paragraph, item and cell: a terminal's layout is computed
again for every line that is added, and its cost grows with the number of widgets of the whole chat. Nothing here knows
a widget, and no text is ever read as Textual markup.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from threading import Thread
from typing import TYPE_CHECKING

from markdown_it.tree import SyntaxTreeNode
from pygments.lexers import get_all_lexers  # type: ignore[import-untyped]
from rich._wrap import divide_line
from textual.content import Content, Span
from textual.highlight import highlight
from textual.style import Style

from edgechat.chat.bidi import Base, direction_of
from edgechat.tui import glyphs
from edgechat.tui.rtl import ordering
from edgechat.tui.themes import MUTED
from edgechat.tui.widgets.markdown_parser import FENCE, TABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token

RULE = "$foreground 30%"
CODE = "$text-accent"

CHUNK = 32
"""Lines of code coloured together; only the last chunk is coloured again while code is written."""

LONGEST_COLOURED = 400
"""Characters of the longest line for which code is coloured; beyond it is data, and colouring it is slow."""

_OPENING = {"em_open": "italic", "strong_open": "bold", "s_open": "strike"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the screen.

    Attributes:
        content: The characters, no wider than the width they were laid out for.
        join: What stands between the line before and this one when both are copied: a newline, or what wrapping took.
        base: The direction of its paragraph, if something in that runs from right to left.
    """

    content: Content
    join: str = "\n"
    base: Base | None = None


BLANK = Line(Content())


@dataclass(frozen=True, slots=True)
class Unit:
    """A part of a reply that is laid out by itself: a block, or one item of a list that is no part of another block.

    Attributes:
        node: The parsed block.
        line: Of the source, counted from where parsing began.
        gap: Whether a blank line sets it apart from the unit before.
    """

    node: SyntaxTreeNode
    line: int
    gap: bool = True


def units_of(tokens: Sequence[Token]) -> list[Unit]:
    """The units of parsed source, in order."""
    out: list[Unit] = []
    for node in SyntaxTreeNode(tokens).children:
        if node.type in ("bullet_list", "ordered_list"):
            loose = _loose(node)
            out += [Unit(item, item.map[0] if item.map else 0, loose or not i) for i, item in enumerate(node.children)]
        else:
            out.append(Unit(node, node.map[0] if node.map else 0))
    return out


class Layout:
    """Lays out units. It remembers the lines of code, which cost most, and need not be drawn again if they are kept."""

    def __init__(self) -> None:
        self._laid: dict[tuple[str, str, int], list[Line]] = {}

    def lines(self, unit: Unit, width: int, *, final: bool) -> list[Line]:
        """The lines of a unit.

        Args:
            unit: What to lay out.
            width: Cells of the longest line.
            final: Whether nothing will be added to it; long code is then coloured as a whole.
        """
        return self._block(unit.node, max(1, width), final=final)

    def _block(self, node: SyntaxTreeNode, width: int, *, final: bool, depth: int = 0) -> list[Line]:
        match node.type:
            case "heading":
                style = "bold underline $text-primary" if node.tag == "h1" else "bold $text-primary"
                return wrapped(_prose(node).stylize_before(style), width)
            case "paragraph":
                return wrapped(_prose(node), width)
            case "list_item":
                return self._item(node, width, final=final, depth=depth)
            case "bullet_list" | "ordered_list":
                items = [self._item(item, width, final=final, depth=depth) for item in node.children]
                return _stacked(items, gaps=_loose(node))
            case "blockquote":
                inner = self._blocks(node.children, max(1, width - 2), final=final, depth=depth)
                return _prefixed(
                    inner, Content.styled(f"{glyphs.QUOTE} ", RULE), Content.styled(f"{glyphs.QUOTE} ", RULE)
                )
            case "hr":
                return [Line(Content.styled(glyphs.RULE * width, RULE))]
            case name if name == FENCE:
                return self._code(node, width, final=final)
            case name if name == TABLE:
                return draw_table(node.meta["rows"], node.meta["align"], width)
            case _:
                return wrapped(Content(node.content), width)

    def _blocks(self, nodes: Sequence[SyntaxTreeNode], width: int, *, final: bool, depth: int) -> list[Line]:
        tight = bool(nodes) and any(node.type == "paragraph" and node.hidden for node in nodes)
        return _stacked([self._block(node, width, final=final, depth=depth) for node in nodes], gaps=not tight)

    def _item(self, node: SyntaxTreeNode, width: int, *, final: bool, depth: int) -> list[Line]:
        ordered = bool(node.info)
        bullet = f"{node.info}.".rjust(3) + " " if ordered else f" {glyphs.BULLETS[depth % len(glyphs.BULLETS)]} "
        indent = len(bullet)
        inner = self._blocks(node.children, max(1, width - indent), final=final, depth=depth + (not ordered))
        return _prefixed(inner or [BLANK], Content.styled(bullet, "$text-primary"), Content(" " * indent))

    def forget(self) -> None:
        """Nothing more is being written."""
        self._laid.clear()

    def _code(self, node: SyntaxTreeNode, width: int, *, final: bool) -> list[Line]:
        info = node.info.strip()
        room = max(1, width - 2)
        out: list[Line] = []
        if info:
            out += [_filled(line, width, "$panel") for line in wrapped(Content.styled(info, MUTED), room)]
        lines = node.content.rstrip("\n").split("\n")
        step = len(lines) if final else CHUNK
        for start in range(0, len(lines), step):
            chunk = "\n".join(lines[start : start + step])
            key = (info, chunk, width)
            if (laid := self._laid.get(key)) is None:
                laid = [
                    _filled(line, width, "$surface")
                    for code in _colour(chunk, info, wait=final)
                    for line in wrapped(code, room)
                ]
                if not final and start + step < len(lines):  # a chunk that will not grow
                    self._laid[key] = laid
            out += laid
        return out


def stacked(units: Sequence[Unit], layout: Layout, width: int) -> list[Line]:
    """The lines of a whole reply to which nothing will be added."""
    out: list[Line] = []
    for unit in units:
        if unit.gap and out:
            out.append(BLANK)
        out += layout.lines(unit, width, final=True)
    return out


@cache
def _languages() -> frozenset[str]:
    return frozenset(alias for _, aliases, _, _ in get_all_lexers(plugins=False) for alias in aliases)


_loaded: set[str] = set()
_loading: set[str] = set()


def _load(language: str) -> None:
    highlight("", language=language)
    _loaded.add(language)


def _colour(code: str, info: str, *, wait: bool) -> list[Content]:
    """The lines of some code.

    Args:
        code: The code.
        info: What stands after the fence; its first word may be a language.
        wait: Whether to wait for the rules of a language that is met for the first time. Loading them takes longer
            than a key may, so that while a reply is written the code is without colours until they are there.
    """
    words = info.split(maxsplit=1)
    # Without a known language nothing is guessed: guessing loads every lexer there is, and those of other packages.
    if not words or words[0].lower() not in _languages() or max(map(len, code.split("\n"))) > LONGEST_COLOURED:
        return list(Content(code).split("\n", allow_blank=True))
    language = words[0].lower()
    if not wait and language not in _loaded:
        if language not in _loading:
            _loading.add(language)
            Thread(target=_load, args=(language,), name="colours", daemon=True).start()
        return list(Content(code).split("\n", allow_blank=True))
    return list(highlight(code, language=language).split("\n", allow_blank=True))


def _loose(node: SyntaxTreeNode) -> bool:
    return any(child.type == "paragraph" and not child.hidden for item in node.children for child in item.children)


def _prose(node: SyntaxTreeNode) -> Content:
    return inline(node.children[0].token) if node.children and node.children[0].token else Content()


def inline(token: Token) -> Content:
    """The styled text of an inline token that went through `parser`."""
    parts: list[str] = []
    spans: list[Span] = []
    opened: list[tuple[int, str]] = []
    position = 0
    for child in token.children or ():
        if child.type in _OPENING:
            opened.append((position, _OPENING[child.type]))
        elif child.type.endswith("_close") and opened:
            start, style = opened.pop()
            spans.append(Span(start, position, style))
        elif child.type == "code_inline":
            spans.append(Span(position, position + len(child.content), CODE))
            parts.append(child.content)
        else:
            parts.append("\n" if child.type == "hardbreak" else child.content)
        position += len(parts[-1]) if (parts and child.content) or child.type == "hardbreak" else 0
    return Content("".join(parts), spans=spans)


def wrapped(content: Content, width: int) -> list[Line]:
    """Text in lines of at most `width` cells; its own line breaks stay."""
    out: list[Line] = []
    for whole in content.split("\n", allow_blank=True):
        line = whole.expand_tabs(8)
        join = "\n"
        base = direction_of(line.plain)
        for part in line.divide(divide_line(line.plain, width)):
            words = part.rstrip()
            out.append(Line(words, join, base))
            join = " " if len(words) < len(part) else ""
    return out


def _stacked(blocks: Sequence[list[Line]], *, gaps: bool) -> list[Line]:
    out: list[Line] = []
    for block in blocks:
        if out and gaps:
            out.append(BLANK)
        out += block
    return out


def _prefixed(lines: Sequence[Line], first: Content, rest: Content) -> list[Line]:
    return [Line((rest if number else first) + line.content, line.join, line.base) for number, line in enumerate(lines)]


def _filled(line: Line, width: int, background: str) -> Line:
    spare = max(0, width - 1 - line.content.cell_length)
    # Code runs from left to right, whatever is said in its comments.
    base: Base | None = "L" if line.base else None
    return Line(line.content.pad(1, spare).stylize_before(f"on {background}"), line.join, base)


def draw_table(rows: Sequence[Sequence[Token]], align: Sequence[str], width: int) -> list[Line]:
    """A table in columns; where there is no room for them, one record after another."""
    cells = [[inline(cell) for cell in row] for row in rows]
    cells[0] = header = [cell.stylize("bold") for cell in cells[0]]
    from_right = direction_of(" ".join(cell.plain for cell in header)) == "R"
    if from_right:  # the first column is the one on the right
        cells = [[*reversed(row)] for row in cells]
        align = [*reversed(align)]
        header = cells[0]
    room = width - 3 * (len(header) - 1)
    if room < 6 * len(header):
        return _records(cells, width)
    widths = _column_widths(cells, room)
    out: list[Line] = []
    for number, row in enumerate(cells):
        if number == 1:
            corner = f"{glyphs.RULE}{glyphs.CROSS}{glyphs.RULE}"
            out.append(Line(Content.styled(corner.join(glyphs.RULE * cells for cells in widths), RULE)))
        out += _row(row, widths, align)
    if from_right and ordering() != "off":
        return [Line(line.content.pad_left(max(0, width - line.content.cell_length))) for line in out]
    return out


def _records(cells: Sequence[Sequence[Content]], width: int) -> list[Line]:
    header, *body = cells
    if not body:
        return [line for cell in header for line in wrapped(cell, width)]
    records = []
    for row in body:
        pairs = [Content.assemble(name, ": ", cell) for name, cell in zip(header, row, strict=False)]
        records.append([line for pair in pairs for line in wrapped(pair, width)])
    return _stacked(records, gaps=True)


def _column_widths(cells: Sequence[Sequence[Content]], room: int) -> list[int]:
    wanted = [max(1, *(cell.cell_length for cell in column)) for column in zip(*cells, strict=False)]
    widths = [0] * len(wanted)
    # Narrow columns keep what they want, the others share the rest.
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    for number, column in enumerate(order):
        widths[column] = min(wanted[column], room // (len(order) - number))
        room -= widths[column]
    return widths


def _row(row: Sequence[Content], widths: Sequence[int], align: Sequence[str]) -> list[Line]:
    bar = Content.styled(f" {glyphs.COLUMN} ", RULE)
    cells = [wrapped(cell, width) for cell, width in zip(row, widths, strict=False)]
    out = []
    for parts in zip_longest(*cells, fillvalue=BLANK):
        padded = []
        for part, width, side in zip(parts, widths, align, strict=False):
            spare = max(0, width - part.content.cell_length)
            right = side == "right" or part.base == "R"
            left = spare // 2 if side == "center" else spare if right else 0
            if part.base == "R" and ordering() == "app":  # the cell is turned round as a whole
                left = spare - left
            cell = part.content.pad(left, spare - left)
            padded.append(cell if part.base is None else cell.stylize(Style.from_meta({"base": part.base})))
        out.append(Line(bar.join(padded)))
    return out
