"""Long texts folded into one label each, so that what is being written stays short enough to edit.

A label stands in the text for a paste or a file. It is edited as one character would be: half of it can be neither
deleted nor written into, so no text behind it is ever lost by a slip; and it becomes its text again when it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from edgechat.chat.sanitize import printable
from edgechat.i18n.catalog import ngettext

LONGEST = 4000
"""Characters of a paste that stays as it is."""

MOST_LINES = 40
"""Lines of a paste that stays as it is."""

_ENDS_WITH_FENCE = re.compile(r"(?:^|\n)(?:`{3,}|~{3,})\Z")


class Folds:
    """The labels in use and what stands behind them."""

    def __init__(self, pieces: Mapping[str, str] | None = None) -> None:
        """Make them.

        Args:
            pieces: Texts by label, as `pieces` gave them.
        """
        self._pieces = dict(pieces or {})
        self._labels: re.Pattern[str] | None = None

    def pieces(self, text: str) -> dict[str, str]:
        """What is folded in a text, by label."""
        return {label: piece for label, piece in self._pieces.items() if label in text}

    def fold(self, words: str, piece: str) -> str:
        """Put a text behind a label with those words in it, and return the label."""
        words = " ".join(printable(words).split()).translate({ord("["): "(", ord("]"): ")"})
        label, number = f"[{words}]", 1
        while self._pieces.get(label, piece) != piece:
            number += 1
            label = f"[{words}, {number}]"
        self._pieces[label] = piece
        self._labels = None
        return label

    def fold_long(self, text: str) -> str:
        """A text as it may stand in the composer: itself, or a label for it."""
        lines = text.count("\n") + 1
        if len(text) <= LONGEST and lines <= MOST_LINES:
            return text
        if lines > 1:
            words = ngettext("pasted {n} line", "pasted {n} lines", lines).format(n=f"{lines:,}")
        else:
            words = ngettext("pasted {n} character", "pasted {n} characters", len(text)).format(n=f"{len(text):,}")
        return self.fold(words, text)

    def unfold(self, text: str) -> str:
        """A text with what stands behind its labels in their place; a fenced block gets lines of its own."""
        return self._pattern.sub(self._piece, text) if self._pieces else text

    def _piece(self, match: re.Match[str]) -> str:
        piece, text = self._pieces[match[0]], match.string
        if not _ENDS_WITH_FENCE.search(piece):
            return piece
        # A fence is the end of a block only where nothing follows it on its line.
        before = "\n" if match.start() and text[match.start() - 1] != "\n" else ""
        after = "\n" if text[match.end() : match.end() + 1] not in ("", "\n") else ""
        return f"{before}{piece}{after}"

    def fold_again(self, text: str) -> str:
        """A text that was unfolded and may have been changed since: what is still in it whole is folded as before."""
        for label, piece in sorted(self._pieces.items(), key=lambda item: -len(item[1])):
            text = text.replace(piece, label)
        return text

    def spans(self, line: str) -> Iterator[tuple[int, int]]:
        """Where in a line labels begin and end."""
        if self._pieces and "[" in line:
            for match in self._pattern.finditer(line):
                yield match.span()

    def outside(self, line: str, column: int, *, after: bool) -> int:
        """The column, or, where that is within a label, the one before the label or after it."""
        for start, end in self.spans(line):
            if start < column < end:
                return end if after else start
        return column

    @property
    def _pattern(self) -> re.Pattern[str]:
        if self._labels is None:
            longest_first = sorted(self._pieces, key=len, reverse=True)
            self._labels = re.compile("|".join(map(re.escape, longest_first)))
        return self._labels
