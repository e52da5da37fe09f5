"""What a reply's Markdown means here: simple markup, and everything else as the text it is.

A model's text is never trusted. HTML stays visible as text, a link shows its address and does nothing, and no entity
can smuggle in a character that a terminal would obey. Nothing here knows a widget.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from markdown_it.token import Token

from edgechat.chat.sanitize import printable

if TYPE_CHECKING:
    from markdown_it.rules_core import StateCore

FENCE = "edgechat_fence"
"""A block of code; `info` and `content` as in a fence."""

TABLE = "edgechat_table"
"""A whole table; `meta["rows"]` holds rows of inline tokens, the header first, and `meta["align"]` the columns'."""

_UNDECIDED = re.compile(r"[ \t]{0,3}(?:`{3}[^`]*|~{3}.*|[-+*_=#>|:`~0-9.)\s]*)")


def undecided(text: str) -> int:
    """Where the last line begins if it is only the start of some markup, else the length of the text.

    Drawn now, such a line would be drawn as something else in a moment: a dash under a paragraph makes a heading of it.
    """
    start = text.rfind("\n") + 1
    return start if _UNDECIDED.fullmatch(text, start) else len(text)


def make_parser() -> MarkdownIt:
    """A parser of replies. It may be used again and again, for it keeps nothing."""
    parser = MarkdownIt("gfm-like", {"html": False, "linkify": False})
    # A definition would vanish from the screen, and is the one thing that could change text further up.
    parser.disable(["reference", "autolink", "html_block", "html_inline", "linkify"])
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]
    parser.validateLink = lambda url: True  # type: ignore[method-assign]
    parser.core.ruler.push("edgechat", _rewrite)
    return parser


def _rewrite(state: StateCore) -> None:
    tokens: list[Token] = []
    table: Token | None = None
    for token in state.tokens:
        if token.type == "inline" and token.children:
            token.children = _inline(token.children)
        if token.type in ("fence", "code_block"):
            token.type = FENCE
        if token.type == "table_open":
            table = Token(TABLE, "table", 0, map=token.map, level=token.level, meta={"rows": [], "align": []})
        elif token.type == "table_close" and table is not None:
            tokens.append(table)
            table = None
        elif table is not None:
            _into_table(table, token)
        else:
            tokens.append(token)
    state.tokens = tokens


def _into_table(table: Token, token: Token) -> None:
    if token.type == "tr_open":
        table.meta["rows"].append([])
    elif token.type == "th_open":
        style = str(token.attrs.get("style", ""))
        table.meta["align"].append(style.removeprefix("text-align:") or "left")
    elif token.type == "inline":
        table.meta["rows"][-1].append(token)


def _inline(children: list[Token]) -> list[Token]:
    out: list[Token] = []
    links: list[tuple[Token, int]] = []
    for child in children:
        if child.type == "link_open":
            links.append((child, len(out)))
        elif child.type == "link_close" and links:
            link, start = links.pop()
            words = "".join(token.content for token in out[start:])
            address = _address(link, "href")
            if address and address != words:
                out.append(_text(f" ({address})"))
        elif child.type == "image":
            out.append(_text(f"[image: {printable(child.content)}] ({_address(child, 'src')})"))
        elif child.type == "softbreak":
            out.append(Token("hardbreak", "br", 0))  # a model that begins a new line means it
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


def code_blocks(text: str) -> list[str]:
    """The blocks of code in a text, in order, as they were written; also those in lists and quotations.

    Without the end of the last line, which a shell would take as the order to go.
    """
    return [token.content.rstrip("\r\n") for token in make_parser().parse(text) if token.type == FENCE]
