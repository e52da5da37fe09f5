"""Full-text search over the messages and replies in every branch of every chat that is not deleted.

Titles are searched too and come first, so that a renamed chat is found by its name. A title that is just the beginning
of the first message does not count: that message is found instead, with more text to show.

The tokenizer is a deliberate choice. FTS5's trigrams find nothing shorter than three characters, but most Chinese words
have two; its unicode61 treats a Chinese sentence as one word. So text is preprocessed for unicode61 (`searchable`):
each character of a script without spaces becomes its own word and is found as a phrase; case, accents, Hebrew points
and Arabic vowels are removed; and a Hebrew word is also indexed without its prefixed particles. A query consists of
word prefixes: nothing in it is ever interpreted as FTS5 syntax.

`searchable` is part of the schema: its output is in the index of every file. Changing it requires a migration that
rebuilds the index.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from edgechat.history.rows import TITLE_SOURCE, title_of

if TYPE_CHECKING:
    import sqlite3

    from edgechat.history.database import Database

RANKED = 2_000
"""Number of newest matches to rank: a word in every message must not make search examine all of them."""

TITLES_RANKED = 500
"""Number of newest titles to rank."""

SNIPPET = 120
"""Characters of a message shown around the first match."""

_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670"
_MARK = f"[{_MARKS}]"
# Compiled on first use, so as not to slow down the start of a chat.
# Thai to Burmese, Khmer, kana and bopomofo, ideographs, and pictures such as emoji.
_ALONE = (
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2600-\u27bf\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U0001f000-\U0001faff\U00020000-\U0003ffff])"
)
_PICTURE = "[\u2600-\u27bf\U0001f000-\U0001faff]"
_HEBREW = "[\u05d0-\u05ea]{3,}"
_PARTICLES = frozenset("\u05d5\u05d4\u05d1\u05db\u05dc\u05de\u05e9")  # and, the, in, as, to, from, that


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message, reply or title in which all words were found.

    Attributes:
        conversation: The chat.
        title: Its title.
        turn: The turn; None for a match in the title.
        reply: The reply; None for a match in the user's message or the title.
        snippet: The text around the first match, on one line.
        matches: Start and end of each match in the snippet.
        updated: When the chat was last changed, in seconds since the epoch.
        archived: Whether the chat is archived.
        pinned: Whether it is pinned.
    """

    conversation: int
    title: str
    turn: int | None
    reply: int | None
    snippet: str
    matches: tuple[tuple[int, int], ...]
    updated: float
    archived: bool
    pinned: bool


class Search:
    """The search index of a history."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, words: str, limit: int = 20) -> list[SearchHit]:
        """Find titles, messages and replies with words starting with all of those given: titles first, then by rank.

        Args:
            words: Separated by spaces; case and accents are ignored. Characters that are not part of a word count as
                spaces.
            limit: Maximum number of results.

        Raises:
            StorageError: The history cannot be read.
        """
        query = _query(words)
        if not query:
            return []
        with self._database.reading() as db:
            titles = _titles(db, query, words)
            hits = titles[: (limit + 1) // 2]  # leaves room for messages
            ranked = sorted(
                db.execute(
                    "SELECT bm25(words), rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC LIMIT ?",
                    (query, RANKED),
                ).fetchall(),
                key=lambda row: (row[0], -row[1]),
            )
            for _, row in ranked:
                if len(hits) >= limit:
                    break
                if (hit := _hit(db, row, words)) is not None:
                    hits.append(hit)
        return [*hits, *titles[(limit + 1) // 2 :]][:limit]


def rebuild_indexes(connection: sqlite3.Connection) -> None:
    """Clear the search indexes and rebuild them from the messages, replies and titles."""
    connection.execute("BEGIN IMMEDIATE")
    for index, sources in (
        ("words", ("id * 2, searchable(user) FROM turn", "id * 2 + 1, searchable(text) FROM reply WHERE text != ''")),
        ("titles", ("id, searchable(title) FROM conversation WHERE title != ''",)),
    ):
        connection.execute(f"INSERT INTO {index} ({index}) VALUES ('delete-all')")  # noqa: S608 - names of ours
        for source in sources:
            connection.execute(f"INSERT INTO {index} (rowid, body) SELECT {source}")
    connection.execute("COMMIT")


def register(connection: sqlite3.Connection) -> None:
    """Register the function that the schema's triggers call."""
    connection.execute("PRAGMA trusted_schema = ON")  # some SQLite builds block triggers from calling functions
    connection.create_function("searchable", 1, searchable, deterministic=True)


def searchable(text: str) -> str:
    """Normalise a text for the index."""
    if text.isascii():  # a fast path, since a long reply is indexed while the interface is drawing
        return text.casefold()
    return re.sub(_HEBREW, _without_particles, _plain(text))


def _without_particles(found: re.Match[str]) -> str:
    """Return a Hebrew word, and again without the first and the second letter if those may be particles."""
    word = found[0]
    forms = [word]
    for letter in word[: min(2, len(word) - 2)]:
        if letter not in _PARTICLES:
            break
        forms.append(forms[-1][1:])
    return " ".join(forms)


def _plain(text: str) -> str:
    plain = unicodedata.normalize("NFC", re.sub(_MARK, "", unicodedata.normalize("NFKD", text).casefold()))
    return re.sub(_ALONE, lambda found: f" {_as_letter(found[1])} ", plain)


def _in_word(character: str) -> bool:
    """Whether FTS5 counts the character as part of a word; see `categories` in the schema."""
    category = unicodedata.category(character)
    return category[0] in "LMN" or category == "Co"


def _as_letter(character: str) -> str:
    """Return the character; pictures, which FTS5 does not count as letters, become a word with their code point."""
    return f"u{ord(character):x}u" if re.match(_PICTURE, character) else character


def _query(words: str) -> str:
    """Convert the words to FTS5 prefix strings; empty if there are none."""
    terms = []
    for word in words.split():
        spaced = "".join(character if _in_word(character) else " " for character in _plain(word)).strip()
        if spaced:
            terms.append(f'"{spaced}"*')
    return " ".join(terms)


def _titles(db: sqlite3.Connection, query: str, words: str) -> list[SearchHit]:
    """Find chats by title, except titles that are the beginning of the first message."""
    rows = db.execute(
        "SELECT c.id, c.title, c.updated, c.archived, c.pinned,"
        " (SELECT substr(user, 1, ?) FROM turn WHERE conversation = c.id AND parent IS NULL ORDER BY id LIMIT 1)"
        " FROM (SELECT rowid AS id, bm25(titles) AS rank FROM titles WHERE titles MATCH ?"
        " ORDER BY rowid DESC LIMIT ?) f JOIN conversation c ON c.id = f.id"
        " WHERE c.deleted IS NULL ORDER BY f.rank, f.id DESC",
        (TITLE_SOURCE, query, TITLES_RANKED),
    ).fetchall()
    return [
        SearchHit(chat, title, None, None, *excerpt(title, words), updated, bool(archived), bool(pinned))
        for chat, title, updated, archived, pinned, first in rows
        if first is None or title_of(first) != title
    ]


def _hit(db: sqlite3.Connection, row: int, words: str) -> SearchHit | None:
    """Load the result for a row of the index; None if it is deleted."""
    reply = row // 2 if row % 2 else None
    if reply is None:
        source, id_ = "turn t", row // 2
    else:
        source, id_ = "reply r JOIN turn t ON t.id = r.turn", reply
    found = db.execute(
        f"SELECT c.id, c.title, t.id, {'t.user' if reply is None else 'r.text'}, c.updated, c.archived, c.pinned "  # noqa: S608
        f"FROM {source} JOIN conversation c ON c.id = t.conversation "
        f"WHERE {'t' if reply is None else 'r'}.id = ? AND t.deleted IS NULL AND c.deleted IS NULL",
        (id_,),
    ).fetchone()
    if found is None:
        return None
    chat, title, turn, text, updated, archived, pinned = found
    snippet, matches = excerpt(text, words)
    return SearchHit(chat, title, turn, reply, snippet, matches, updated, bool(archived), bool(pinned))


def excerpt(text: str, words: str) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return a line of text around the first match, and the positions of the matches in it."""
    pattern = "|".join(sorted(filter(None, map(_pattern, words.split())), key=len, reverse=True))
    finder = re.compile(f"(?<!\\w)(?:{pattern})|(?:{pattern})" if pattern else "(?!)", re.IGNORECASE)
    first = finder.search(text)
    at = first.start() if first else 0
    begin = max(0, at - SNIPPET // 3)
    if begin:  # move to the start of a word, if one is near
        begin = min(text.find(" ", begin, at) + 1 or begin, at)
    line = " ".join(text[begin : begin + SNIPPET].split())
    snippet = ("\u2026" if begin else "") + line + ("\u2026" if begin + SNIPPET < len(text) else "")
    return snippet, tuple(match.span() for match in finder.finditer(snippet))


def _pattern(word: str) -> str:
    """Return a pattern for a word in a text: each letter with or without the marks that the index ignores."""
    letters = re.sub(_MARK, "", unicodedata.normalize("NFD", word))
    return "".join(f"{_with_accents(letter)}[{_MARKS}]*" for letter in letters)


def _with_accents(letter: str) -> str:
    """Return the letter and its accented variants; only Latin ones are worth looking up."""
    if not (letter.isascii() and letter.isalpha()):
        return re.escape(letter)
    return f"[{letter}{_accented().get(letter.lower(), '')}]"


@cache
def _accented() -> dict[str, str]:
    out: dict[str, str] = {}
    for code in range(0xC0, 0x250):
        base = unicodedata.normalize("NFD", chr(code))[0]
        if base.isascii() and base.isalpha():
            out[base.lower()] = out.get(base.lower(), "") + chr(code)
    return out
