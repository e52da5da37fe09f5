"""A document of a text area as it is drawn: what a terminal would obey is a sign of one cell.

The text that is edited stays as it is, so that it is sent as it came. Lines are wrapped and the cursor is placed by
what is seen, whose every line has as many characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgechat.chat.sanitize import printable

if TYPE_CHECKING:
    from textual.document._document import DocumentBase


class SeenDocument:
    """The lines of a document as they are seen; everything else is the document's."""

    def __init__(self, document: DocumentBase) -> None:
        self._document = document

    @property
    def lines(self) -> list[str]:
        """All lines."""
        return [printable(line) for line in self._document.lines]

    def get_line(self, index: int) -> str:
        """One line."""
        return printable(self._document.get_line(index))

    def __getitem__(self, index: int) -> str:
        return self.get_line(index)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._document, name)
