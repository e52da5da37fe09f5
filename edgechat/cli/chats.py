"""`edgechat chats`: finds and manages chats, without a model.

Results go to standard output, for people or as JSON; progress goes to standard error. Text from users and models is
shown safely: a terminal never interprets any of it.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from edgechat.chat.sanitize import printable, storable
from edgechat.cli.chats_transfer import export_chats, import_chats
from edgechat.cli.history_errors import HistoryGroup
from edgechat.cli.options import SettingType
from edgechat.cli.output import json_option, narrate, print_json
from edgechat.cli.terminal_output import write_line
from edgechat.errors import ExitCode, StorageError
from edgechat.i18n.catalog import counted
from edgechat.i18n.error_messages import translate_stored_error
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgechat.chat.conversation import Conversation, Reply
    from edgechat.history.feedback import Rating
    from edgechat.history.search import SearchHit
    from edgechat.history.store import HistoryStore

WIDTH = 80

_THUMBS: dict[str, Rating] = {"up": 1, "down": -1, "none": 0}
_SEE = "`edgechat chats show ID` shows them."

id_argument = click.argument("chat", type=int, metavar="ID")


@click.group(cls=HistoryGroup)
def chats() -> None:
    """List, show, search, export and import chats.

    Every chat has a number, its ID, which `list` and `search` show. Deleted chats can be restored for 30 days.

    \b
    Examples:
      edgechat chats list
      edgechat chats search lighthouse keeper
      edgechat chats show 12
      edgechat --chat 12
    """


chats.add_command(export_chats)
chats.add_command(import_chats)


@contextmanager
def history(*, to_read: bool = False) -> Iterator[HistoryStore]:
    """Open the user's history for a command, even if the settings disable storing chats.

    Args:
        to_read: Whether the command changes nothing, so that a read-only file will do.
    """
    from edgechat.session.factory import open_history

    store = open_history(narrate, to_read=to_read)
    try:
        yield store
    finally:
        store.close()


@chats.command("list")
@click.option("--archived", is_flag=True, help="List the archived chats instead.")
@click.option("--limit", type=click.IntRange(1), default=1_000, show_default=True, help="Maximum number to list.")
@json_option
def list_chats(archived: bool, limit: int, as_json: bool) -> None:
    """List the chats, pinned ones first, then the newest.

    A star marks those that are pinned.

    \b
    Examples:
      edgechat chats list
      edgechat chats list --json | jq -r ".[].title"
    """
    with history(to_read=True) as store:
        found = store.list_conversations(limit, archived=archived)
    if as_json:
        print_json([asdict(chat) for chat in found])
        return
    if not found:
        narrate("no chat is archived" if archived else "no chat is kept here yet")
    for chat in found:
        turns = counted(chat.turns, "message")
        line = f"{'*' if chat.pinned else ' '} {chat.id:>5}  {_day(chat.updated)}  {turns:>13}  {_title(chat.title)}"
        click.echo(line)


@chats.command()
@id_argument
@json_option
def show(chat: int, as_json: bool) -> None:
    """Show the chat ID, in the branch that was shown last.

    \b
    Examples:
      edgechat chats show 12
      edgechat chats show 12 --json
    """
    with history(to_read=True) as store:
        found = store.conversation(chat)
    if as_json:
        print_json(asdict(found))
        return
    for line in _lines(found):
        sys.stdout.write(f"{line}\n")


@chats.command()
@click.argument("words", nargs=-1, required=True)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Maximum number to show.")
@json_option
def search(words: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Find the chats, messages and replies that contain all the WORDS, titles first, then the best.

    A word may be the beginning of one. Case and accents do not matter, and no character has a special meaning. Every
    branch of every chat is searched, archived ones too.

    \b
    Examples:
      edgechat chats search lighthouse keeper
      edgechat chats search 日本 --limit 5
    """
    with history(to_read=True) as store:
        found = store.search.find(" ".join(words), limit)
    if as_json:
        print_json([asdict(hit) for hit in found])
        return
    if not found:
        narrate("nothing was found")
    for hit in found:
        who = "title" if hit.turn is None else "you" if hit.reply is None else "reply"
        click.echo(f"{hit.conversation:>5}  {_day(hit.updated)}  {_title(hit.title)}")
        write_line([(f"       {who}: ", False), *_marked(hit)])


@chats.command()
@id_argument
@click.argument("title")
def rename(chat: int, title: str) -> None:
    """Rename the chat ID to TITLE."""
    words = storable(" ".join(title.split()))[0]
    if not words:
        raise click.UsageError("A title has at least one letter.")
    with history() as store:
        store.chats.rename(chat, words)


def _toggle(name: str, text: str, act: Callable[[HistoryStore, int], None]) -> None:
    @chats.command(name, help=text)
    @click.argument("ids", type=int, nargs=-1, required=True, metavar="ID...")
    def command(ids: tuple[int, ...]) -> None:
        with history() as store:
            for chat in ids:
                act(store, chat)


_toggle("pin", "Pin chats to the top of lists.", lambda store, chat: store.chats.pin(chat, True))
_toggle("unpin", "Unpin chats.", lambda store, chat: store.chats.pin(chat, False))
_toggle(
    "archive",
    "Archive chats: lists leave them out, search still finds them.",
    lambda store, chat: store.chats.archive(chat, True),
)
_toggle("unarchive", "Unarchive chats.", lambda store, chat: store.chats.archive(chat, False))
_toggle("undelete", "Restore deleted chats that are not purged yet.", lambda store, chat: store.chats.undelete(chat))


@chats.command()
@id_argument
@click.option("--title", default="", help="What to call the copy.")
def duplicate(chat: int, title: str) -> None:
    """Copy the chat ID with all its branches, and print the ID of the copy."""
    with history() as store:
        click.echo(store.chats.duplicate(chat, storable(title)[0]))


@chats.command()
@id_argument
@click.option("--reply", "number", type=click.IntRange(1), metavar="N", help="The reply to message N, as shown.")
@click.option("--reply-id", type=int, metavar="ID", help="Any reply of the chat, by its id in `show --json`.")
@click.option("--up", "rating", flag_value="up", help="It is good.")
@click.option("--down", "rating", flag_value="down", help="It is bad.")
@click.option("--none", "rating", flag_value="none", help="Remove the thumb.")
@click.option("--note", metavar="TEXT", help="A note about it; empty to remove it.")
def rate(chat: int, number: int | None, reply_id: int | None, rating: str | None, note: str | None) -> None:
    """Rate a reply in the chat ID: its last one, or the one named.

    The rating is saved, shown and exported with the reply. Nothing is sent; `edgechat sync` does that when you call it.

    \b
    Examples:
      edgechat chats rate 12 --up
      edgechat chats rate 12 --reply 3 --down --note "The date is wrong."
    """
    if number is not None and reply_id is not None:
        raise click.UsageError("--reply and --reply-id name two replies; give one of them.")
    if rating is None and note is None:
        raise click.UsageError("Give --up, --down, --none or --note.")
    with history() as store:
        found = store.conversation(chat)
        reply = _of_id(found, reply_id) if reply_id is not None else _of_message(found, number)
        thumb = reply.rating if rating is None else _THUMBS[rating]
        store.feedback.rate(reply.id, thumb, None if note is None else storable(note.strip())[0])


def _of_message(chat: Conversation, number: int | None) -> Reply:
    """Return the active reply to a message, counted from 1; None means the latest reply."""
    if number is not None:
        found = next((turn.reply for turn in chat.turns[number - 1 : number]), None)
    else:
        found = next((turn.reply for turn in reversed(chat.turns) if turn.reply is not None), None)
    if found is None:
        which = "no reply" if number is None else f"no reply to a message {number}"
        raise StorageError(
            "No such reply", Sentence("The chat has {which} in the branch that is shown.", which=which), _SEE
        )
    return found


def _of_id(chat: Conversation, reply_id: int) -> Reply:
    for turn in chat.turns:
        for reply in turn.replies:
            if reply.id == reply_id:
                return reply
    raise StorageError(
        "No such reply",
        Sentence(
            "The branch of chat {id} that is shown has no reply with the id {reply_id}.", id=chat.id, reply_id=reply_id
        ),
        _SEE,
    )


@chats.command("pin-turn")
@id_argument
@click.argument("number", type=click.IntRange(1), metavar="N")
@click.option("--off", is_flag=True, help="Unpin it.")
def pin_turn(chat: int, number: int, off: bool) -> None:
    """Always send message N of the chat ID, and its reply, to the model.

    Older messages leave the context before it when the chat no longer fits. N counts as `edgechat chats show` does.
    """
    with history() as store:
        turns = store.conversation(chat).turns
        if number > len(turns):
            raise StorageError(
                "No such message",
                Sentence("The chat has {turns} in the branch that is shown.", turns=f"{len(turns):,}"),
                _SEE,
            )
        store.branches.pin_turn(turns[number - 1].id, not off)


@chats.command("set")
@id_argument
@click.option("--system", metavar="TEXT", help="Its system message; empty for none.")
@click.option("--temperature", type=SettingType("temperature"), help="0 always takes the likeliest word.")
@click.option("--top-p", type=SettingType("top_p"), help="Choose among words of this probability.")
@click.option("--repetition-penalty", type=SettingType("repetition_penalty"), help="1 is none.")
@click.option("--seed", type=SettingType("seed"), help="Makes replies repeatable.")
@click.option("--max-tokens", type=SettingType("max_tokens"), help="Maximum length of a reply.")
@click.option("--defaults", is_flag=True, help="First reset what was set before, except the system message.")
def set_chat(chat: int, system: str | None, defaults: bool, **options: Any) -> None:
    """Give the chat ID a system message and settings of its own.

    Whatever is not set for a chat follows edgechat's settings.

    \b
    Example:
      edgechat chats set 12 --system "Answer in French." --temperature 0
    """
    from edgechat.chat.conversation import ChatSettings

    changes = {name: value for name, value in options.items() if value is not None}
    with history() as store:
        found = store.conversation(chat)
        settings = replace(ChatSettings() if defaults else found.settings, **changes)
        store.chats.configure(chat, found.system if system is None else storable(system)[0], settings)


@chats.command()
@click.argument("ids", type=int, nargs=-1, required=True, metavar="ID...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(ids: tuple[int, ...], yes: bool) -> None:
    """Delete chats.

    `edgechat chats undelete ID` restores them within 30 days; `edgechat chats purge` deletes them permanently at once.

    \b
    Examples:
      edgechat chats delete 12
      edgechat chats delete 12 13 --yes
    """
    with history() as store:
        titles = [store.conversation(chat).title for chat in ids]  # check that all exist before deleting any
        what = f"the chat {_title(titles[0])!r}" if len(ids) == 1 else f"{len(ids)} chats"
        _confirm(f"Delete {what}?", yes)
        for chat in dict.fromkeys(ids):
            store.chats.delete(chat)
    narrate(f"deleted {what}; to have it back: edgechat chats undelete {' '.join(map(str, ids))}")


@chats.command()
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def purge(yes: bool) -> None:
    """Permanently delete what was deleted; it cannot be restored afterwards.

    Without this command that happens after 30 days. The backups of the last seven days still contain it.
    """
    _confirm("Take all deleted chats and messages from the disk?", yes)
    with history() as store:
        gone, turns = store.chats.purge()
    narrate(f"purged {counted(gone, 'chat')} and {counted(turns, 'message')} of others")


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    try:
        confirmed = click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin is not None and sys.stdin.isatty():
            raise
        raise StorageError("Not deleted", "Nobody confirmed it.", "Add --yes.") from None
    if not confirmed:
        narrate("nothing was deleted")
        raise click.exceptions.Exit(ExitCode.ERROR)


def _lines(chat: Conversation) -> Iterator[str]:
    """Format a chat for people."""
    yield f"# {' '.join(chat.title.split())}"
    if chat.system:
        yield f"\nSystem:\n\n{chat.system}"
    for number, turn in enumerate(chat.turns, 1):
        beside = f" ({turn.siblings.index(turn.id) + 1} of {len(turn.siblings)})" if len(turn.siblings) > 1 else ""
        yield f"\n{number}. You{beside}{' [pinned]' if turn.pinned else ''}:\n\n{turn.user}"
        if turn.reply is not None:
            count = f" ({turn.active + 1} of {len(turn.replies)})" if len(turn.replies) > 1 else ""
            state = "" if turn.reply.state == "complete" else f" [{turn.reply.state}]"
            thumb = {1: " [good]", -1: " [bad]", 0: ""}[turn.reply.rating]
            text = turn.reply.text or translate_stored_error(turn.reply.error)
            yield f"\n{turn.reply.model or 'Reply'}{count}{state}{thumb}:\n\n{text}"
            if turn.reply.note:
                yield f"\nNote: {turn.reply.note}"


def _marked(hit: SearchHit) -> Iterator[tuple[str, bool]]:
    """Split the snippet into parts, marking those that match the query."""
    end = 0
    for begin, stop in hit.matches:
        yield printable(hit.snippet[end:begin]), False
        yield printable(hit.snippet[begin:stop]), True
        end = stop
    yield printable(hit.snippet[end:]), False


def _title(title: str) -> str:
    words = printable(" ".join(title.split())) or "(no title)"
    return words if len(words) <= WIDTH - 36 else f"{words[: WIDTH - 37]}\u2026"


def _day(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):  # recorded by a wrong clock
        return f"{'?':<16}"
