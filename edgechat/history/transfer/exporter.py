"""Exports any number of chats from the history as a stream of text.

JSON loses nothing; the other three formats contain the active branch, for people, for a prompt and for programs that
use OpenAI's messages. Output meant for people contains nothing that a terminal would interpret.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from edgechat.chat.prompt_format import phi3_text
from edgechat.chat.sanitize import fenced, printable
from edgechat.history.transfer.records import read_chat
from edgechat.history.transfer.schema import FORMAT, VERSION, CarriedChat, active_branch
from edgechat.i18n.error_messages import translate_stored_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from edgechat.history.database import Database

Format = Literal["json", "markdown", "phi3", "openai"]

# What a terminal would interpret and JSON leaves as it is; JSON can escape it.
_OBEYED = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&])")


def export(database: Database, ids: Sequence[int], form: Format) -> Iterator[str]:
    """Export chats piece by piece.

    A chat that is deleted meanwhile is skipped.

    Raises:
        StorageError: The history cannot be read.
    """
    chats = (chat for id_ in ids if (chat := read_chat(database, id_)) is not None)
    return {"json": _json, "markdown": _markdown, "phi3": _phi3, "openai": _openai}[form](chats)


def _json(chats: Iterable[CarriedChat]) -> Iterator[str]:
    yield f'{{"format":"{FORMAT}","version":{VERSION},"chats":['
    for n, chat in enumerate(chats):
        yield ("," if n else "") + "\n" + _encoded(chat)
    yield "\n]}\n"


def _encoded(value: object) -> str:
    return _OBEYED.sub(lambda match: f"\\u{ord(match[0]):04x}", msgspec.json.encode(value).decode())


def _openai(chats: Iterable[CarriedChat]) -> Iterator[str]:
    for chat in chats:
        messages = [{"role": message.role, "content": message.content} for message in active_branch(chat).messages()]
        if messages:
            yield _encoded({"messages": messages}) + "\n"


def _phi3(chats: Iterable[CarriedChat]) -> Iterator[str]:
    for n, chat in enumerate(chats):
        # The separator Phi-3 itself uses between texts.
        yield ("<|endoftext|>\n" if n else "") + phi3_text(active_branch(chat).messages())


def _markdown(chats: Iterable[CarriedChat]) -> Iterator[str]:
    for n, chat in enumerate(chats):
        yield printable(("\n" if n else "") + "\n".join(_page(chat)))


def _page(chat: CarriedChat) -> Iterator[str]:
    yield f"# {_line(chat.title) or 'Untitled'}\n"
    yield f"{_date(chat.created)}{' · ' + _line(chat.model) if chat.model else ''}\n"
    if chat.system:
        yield f"## System\n\n{fenced(chat.system, 'text')}\n"
    for turn in active_branch(chat).turns:
        yield f"## You\n\n{fenced(turn.user, 'text')}\n"
        if turn.reply is not None:
            about = [_line(turn.reply.model)] if turn.reply.model else []
            about += [turn.reply.state] if turn.reply.state != "complete" else []
            yield f"## Reply{' (' + ', '.join(about) + ')' if about else ''}\n"
            yield f"{fenced(turn.reply.text, 'markdown')}\n"
            if turn.reply.note or turn.reply.rating:
                thumb = {1: "good", -1: "bad", 0: "note"}[turn.reply.rating]
                yield f"> Feedback: {thumb}{'. ' + _line(turn.reply.note) if turn.reply.note else ''}\n"
            if turn.reply.error:
                yield f"{_line(translate_stored_error(turn.reply.error))}\n"


def _line(text: str) -> str:
    """Return text on one line, with markup escaped."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _date(time: float) -> str:
    try:
        return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, ValueError, OSError):
        return ""
