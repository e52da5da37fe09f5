"""Implements the slash commands for any interface: calls the session and reports the results.

An interface is a `Front`. It handles commands it implements itself before calling `run_command`. Nothing here prints,
and every failure is an EdgechatError.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING

from edgechat.engine.prompt_display import format_summary, part_lines
from edgechat.history.search import SearchHit
from edgechat.i18n.catalog import _, ngettext
from edgechat.i18n.sentence import Sentence
from edgechat.session.session import Session
from edgechat.slash import diagnostics, files, settings
from edgechat.slash.commands import COMMANDS, Call, SlashError, find
from edgechat.slash.interface import Front

if TYPE_CHECKING:
    from edgechat.chat.conversation import Conversation
    from edgechat.history.feedback import Rating

_LONGEST_ID = 18
"""Maximum number of digits in a chat's number."""


async def run_command(front: Front, call: Call) -> None:
    """Run a command.

    Raises:
        EdgechatError: It failed; the text is for the user.
    """
    await _DOERS[call.command.name](front, call.argument)


# Information


async def _help(front: Front, argument: str) -> None:
    if argument:
        command = find(argument.split(maxsplit=1)[0])
        if command is None:
            raise SlashError(Sentence("There is no command {name}", name=argument), "", "/help shows all commands.")
        also = ", ".join(f"/{name}" for name in command.aliases)
        lines = [f"{_(command.help)}.", *([_("Also: {names}").format(names=also)] if also else [])]
        await front.tell(command.usage, lines)
        return
    width = max(len(command.usage) for command in COMMANDS)
    lines = [f"{command.usage:<{width}}  {_(command.help)}" for command in COMMANDS]
    await front.tell(_("Commands"), [*lines, "", _("//TEXT sends TEXT with one slash in front.")])


async def _stats(front: Front, _argument: str) -> None:
    await front.tell(_("This chat"), list(stats_lines(front.session)))


def stats_lines(session: Session) -> Iterator[str]:
    """Yield the statistics of the current chat's active branch."""
    chat, info = session.conversation, session.info
    replies = [turn.reply for turn in chat.turns if turn.reply is not None]
    yield ngettext("{n} message", "{n} messages", len(chat.turns)).format(n=f"{len(chat.turns):,}")
    if info is not None:
        free = max(0, info.context - session.context_used)
        yield _("context: {used:,} of {context:,} tokens, {free:,} free").format(
            used=session.context_used, context=info.context, free=free
        )
    if replies:
        written = sum(reply.completion_tokens for reply in replies)
        read = sum(reply.prompt_tokens for reply in replies)
        cached = sum(reply.cached_tokens for reply in replies)
        yield ngettext("written: {n:,} token", "written: {n:,} tokens", written).format(n=written)
        yield ngettext(
            "read: {n:,} token, {cached:,} of them computed before",
            "read: {n:,} tokens, {cached:,} of them computed before",
            read,
        ).format(n=read, cached=cached)
        timed = [reply for reply in replies if reply.seconds > 0 and reply.completion_tokens > 1]
        if timed:
            speed = sum(reply.completion_tokens - 1 for reply in timed) / sum(reply.seconds for reply in timed)
            yield _("speed: {n:.1f} tokens a second").format(n=speed)
        first = [reply.ttft for reply in replies if reply.ttft is not None]
        if first:
            yield _("first word after: {n:.2f} s on average").format(n=sum(first) / len(first))
    if info is not None:
        kind = f" ({info.architecture})" if info.architecture else ""
        yield ngettext(
            "model: {name}{kind}, {threads} thread", "model: {name}{kind}, {threads} threads", info.threads
        ).format(name=info.name, kind=kind, threads=info.threads)


async def _prompt(front: Front, _argument: str) -> None:
    prompt = await front.session.prompts.parts()
    lines = [f"{line.sign} {line.text}  {line.ids}".rstrip() for line in part_lines(prompt)]
    await front.tell(_("The prompt: {summary}").format(summary=format_summary(prompt)), lines)


# Replies


async def _regen(front: Front, _argument: str) -> None:
    await front.follow(front.session.regenerate())


async def _continue(front: Front, _argument: str) -> None:
    await front.follow(front.session.resume())


async def _edit(front: Front, argument: str) -> None:
    turns = front.session.conversation.turns
    if not turns:
        raise SlashError("There is no message to edit", "", "Write one.")
    if not argument:
        raise SlashError("/edit needs the new words", "", "It is written /edit TEXT.")
    await front.follow(front.session.edit(turns[-1].id, argument))


async def _good(front: Front, argument: str) -> None:
    await _rate(front, 1, argument)
    await front.say(_("The last reply is marked as good."))


async def _bad(front: Front, argument: str) -> None:
    await _rate(front, -1, argument)
    await front.say(_("The last reply is marked as bad."))


async def _rate(front: Front, rating: Rating, note: str) -> None:
    replies = [turn.reply for turn in front.session.conversation.turns if turn.reply is not None]
    if not replies:
        raise SlashError("There is no reply to rate", "", "Write a message first.")
    await front.session.chat.rate(replies[-1].id, rating, note or None)
    await front.refresh()


async def _previous(front: Front, _argument: str) -> None:
    await _step(front, -1)


async def _next(front: Front, _argument: str) -> None:
    await _step(front, 1)


async def _step(front: Front, by: int) -> None:
    await _change(front, front.session.chat.step(by), _("There is no other version in that direction."))


async def _change(front: Front, change: Awaitable[object], otherwise: str) -> bool:
    changed = bool(await change)
    if changed:
        await front.show_chat()
    else:
        await front.say(otherwise)
    return changed


# Chats


async def _delete_message(front: Front, _argument: str) -> None:
    if await _change(front, front.session.library.delete_turn(), _("There is no message to delete.")):
        await front.say(_("The last message is deleted. /undo restores it."))


async def _undo(front: Front, _argument: str) -> None:
    await _change(
        front,
        front.session.library.undelete(),
        _("Nothing was deleted here. /delete-message deletes the last message."),
    )


async def _new(front: Front, _argument: str) -> None:
    front.session.new()
    await front.show_chat()


async def _chats(front: Front, _argument: str) -> None:
    await _list_chats(front, _("Chats"), _("There is no chat yet."), "")


async def _search(front: Front, argument: str) -> None:
    title = _("Found for {words}").format(words=argument)
    await _list_chats(front, title, _("Nothing was found."), argument)


async def _list_chats(front: Front, title: str, otherwise: str, words: str) -> None:
    found = await front.session.library.chats(words)
    lines = []
    for item in found:
        if isinstance(item, SearchHit):
            lines.append(f"{item.conversation}  {item.title}: {' '.join(item.snippet.split())}")
        else:
            lines.append(f"{item.id}  {item.title}")
    await front.tell(title, [*lines, "", _("/open and a number goes there.")] if lines else [otherwise])


async def _open(front: Front, argument: str) -> None:
    if not argument.isdecimal() or len(argument) > _LONGEST_ID:
        raise SlashError("/open needs the number of a chat", "", "/chats shows them.")
    await front.session.open(int(argument))
    await front.show_chat()


async def _rename(front: Front, argument: str) -> None:
    _started_chat(front)
    await front.session.library.rename(argument)
    await front.refresh()
    await front.say(_("The chat is called {title} now.").format(title=front.session.conversation.title))


async def _pin(front: Front, _argument: str) -> None:
    chat = _started_chat(front)
    await front.session.library.pin(chat.id, not chat.pinned)
    await front.refresh()
    await front.say(_("The chat is no longer pinned.") if chat.pinned else _("The chat is pinned."))


async def _archive(front: Front, _argument: str) -> None:
    chat = _started_chat(front)
    await front.session.library.archive(chat.id, not chat.archived)
    await front.refresh()
    await front.say(_("The chat is no longer archived.") if chat.archived else _("The chat is archived."))


def _started_chat(front: Front) -> Conversation:
    if not front.session.conversation.id:
        raise SlashError("The chat has no message yet", "", "Write one.")
    return front.session.conversation


async def _delete_chat(front: Front, _argument: str) -> None:
    if await _change(front, front.session.library.delete_chat(), _("There is no chat to delete.")):
        await front.say(_("The chat is deleted. /undo restores it, for 30 days."))


# Other


async def _copy(front: Front, _argument: str) -> None:
    replies = [
        turn.reply.text for turn in front.session.conversation.turns if turn.reply is not None and turn.reply.text
    ]
    if not replies:
        raise SlashError("There is no reply to copy", "", "Write a message first.")
    await front.copy(replies[-1])


async def _quit(front: Front, _argument: str) -> None:
    await front.leave()


_DOERS: dict[str, Callable[[Front, str], Awaitable[None]]] = {
    "help": _help,
    "model": settings.model,
    "system": settings.system,
    "set": settings.change,
    "persona": settings.persona,
    "good": _good,
    "bad": _bad,
    "pin": _pin,
    "archive": _archive,
    "read": files.read,
    "regen": _regen,
    "continue": _continue,
    "edit": _edit,
    "previous": _previous,
    "next": _next,
    "delete-message": _delete_message,
    "undo": _undo,
    "new": _new,
    "chats": _chats,
    "open": _open,
    "search": _search,
    "rename": _rename,
    "delete": _delete_chat,
    "export": files.export,
    "copy": _copy,
    "stats": _stats,
    "prompt": _prompt,
    "context-policy": settings.context_policy,
    "log": diagnostics.show_log,
    "doctor": diagnostics.examine,
    "quit": _quit,
}
