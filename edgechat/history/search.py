"""Finding what was said: the words of every message and reply, in every branch of every chat that is not deleted.

Titles are searched as well, and come first: a chat that somebody gave a name is found by it. A title that is only the
beginning of the first message is not: that message is found, with more of it to show.

The tokenizer is chosen knowingly. FTS5's trigrams find nothing shorter than three characters, and most Chinese words
have two; its unicode61 takes a Chinese sentence for one word. So text is prepared before unicode61 sees it
(`searchable`): each character of a script without spaces becomes a word of its own and is found as a phrase; case,
accents, Hebrew points and Arabic vowels are taken away; and a Hebrew word is put in without its prefixed particles as
well. A query is words, each of which may be the beginning of one: nothing in it is ever read as FTS5's syntax.

`searchable` is part of the schema: what it made of a text is in the index of every file. A change of it needs a
migration that builds the index anew.
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
"""Matches that are ranked, the newest ones: a word that stands in every message must not cost a look at each."""

TITLES_RANKED = 500
"""Titles that are ranked, the newest ones."""

SNIPPET = 120
"""Characters of a message that are shown around the first match."""

_MARKS = "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670"
_MARK = f"[{_MARKS}]"
# These are compiled when they are first used: the start of the chat need not wait for them.
# Thai to Burmese, Khmer, kana and bopomofo, the ideographs, and pictures such as emoji.
_ALONE = (
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2600-\u27bf\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U0001f000-\U0001faff\U00020000-\U0003ffff])"
)
_PICTURE = "[\u2600-\u27bf\U0001f000-\U0001faff]"
_HEBREW = "[\u05d0-\u05ea]{3,}"
_PARTICLES = frozenset("\u05d5\u05d4\u05d1\u05db\u05dc\u05de\u05e9")  # and, the, in, as, to, from, that


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A message, a reply or a title in which all words were found.

    Attributes:
        conversation: The chat.
        title: Its title.
        turn: The turn; None where the title was found.
        reply: The reply; None where the user's message or the title was found.
        snippet: The text around the first match, on one line.
        matches: Where in the snippet the words begin and end.
        updated: When the chat was changed last, in seconds since the epoch.
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
    """The index of a history."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, words: str, limit: int = 20) -> list[SearchHit]:
        """The titles, messages and replies that hold all the words or begin with them: titles first, then the best.

        Args:
            words: Separated by spaces, in any case, with or without accents. Characters that are no part of a word
                count as spaces.
            limit: The most to return.

        Raises:
            StorageError: The history cannot be read.
        """
        query = _query(words)
        if not query:
            return []
        with self._database.reading() as db:
            titles = _titles(db, query, words)
            hits = titles[: (limit + 1) // 2]  # so that there is room for what was said
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


def index_anew(connection: sqlite3.Connection) -> None:
    """Empty the indexes of words and fill them from the messages, replies and titles."""
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
    """Teach a connection the function that the triggers of the schema call."""
    connection.execute("PRAGMA trusted_schema = ON")  # some builds of SQLite let no trigger call a program's function
    connection.create_function("searchable", 1, searchable, deterministic=True)


def searchable(text: str) -> str:
    """The words of a text as the index has them."""
    if text.isascii():  # a very long reply is indexed while the interface draws, and this is its only Python
        return text.casefold()
    return re.sub(_HEBREW, _without_particles, _plain(text))


def _without_particles(found: re.Match[str]) -> str:
    """A Hebrew word, and again without the first and the second letter where those may be particles."""
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
    """Whether FTS5 counts the character as a part of a word; see `categories` in the schema."""
    category = unicodedata.category(character)
    return category[0] in "LMN" or category == "Co"


def _as_letter(character: str) -> str:
    """The character itself; pictures, which are no letters for FTS5, as a word with their number."""
    return f"u{ord(character):x}u" if re.match(_PICTURE, character) else character


def _query(words: str) -> str:
    """The words as FTS5 strings, each of which may be a beginning; empty where there is no word in them."""
    terms = []
    for word in words.split():
        spaced = "".join(character if _in_word(character) else " " for character in _plain(word)).strip()
        if spaced:
            terms.append(f'"{spaced}"*')
    return " ".join(terms)


def _titles(db: sqlite3.Connection, query: str, words: str) -> list[SearchHit]:
    """The chats whose titles hold the words, but for titles that are the beginning of the first message."""
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
    """What stands behind a row of the index; None if it is deleted."""
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
    """A line of a text around the first of the words, and where the words stand in that line."""
    pattern = "|".join(sorted(filter(None, map(_pattern, words.split())), key=len, reverse=True))
    finder = re.compile(f"(?<!\\w)(?:{pattern})|(?:{pattern})" if pattern else "(?!)", re.IGNORECASE)
    first = finder.search(text)
    at = first.start() if first else 0
    begin = max(0, at - SNIPPET // 3)
    if begin:  # at the beginning of a word, if one is near
        begin = min(text.find(" ", begin, at) + 1 or begin, at)
    line = " ".join(text[begin : begin + SNIPPET].split())
    snippet = ("\u2026" if begin else "") + line + ("\u2026" if begin + SNIPPET < len(text) else "")
    return snippet, tuple(match.span() for match in finder.finditer(snippet))


def _pattern(word: str) -> str:
    """A word as it may stand in a text: each letter with or without the marks that the index leaves out."""
    letters = re.sub(_MARK, "", unicodedata.normalize("NFD", word))
    return "".join(f"{_with_accents(letter)}[{_MARKS}]*" for letter in letters)


def _with_accents(letter: str) -> str:
    """The letter and those that are the same letter with an accent; only Latin ones are worth the look."""
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
