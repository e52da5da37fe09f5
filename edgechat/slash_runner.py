"""What each slash command does, for any interface: it asks the session and tells what came of it.

An interface is a `Front`: it can tell lines, follow a reply, and show the chat that is held now. What an interface does
in a way of its own it overtakes before it calls `obey`. Nothing here prints, and no failure leaves as anything but an
EdgechatError.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edgechat import doctor, logs
from edgechat.attachments import Attachment, read_file, too_large
from edgechat.chat.text import storable
from edgechat.config import check_value
from edgechat.engine.prompt_text import part_lines, summary_words
from edgechat.errors import ConfigError, EdgechatError, StorageError
from edgechat.history.search import SearchHit
from edgechat.i18n import _, ngettext
from edgechat.models.uri import resolve_model
from edgechat.preflight import require_usable
from edgechat.session import Session, SessionEvent
from edgechat.slash import COMMANDS, EXPORT_FORMATS, POLICIES, SETTINGS, Call, SlashError, find

if TYPE_CHECKING:
    from edgechat.history.transfer_out import Format

MOST_LOGGED = 50
"""Lines of the log that are told."""

DEFAULT = "default"
"""The word that takes a setting of the chat back."""


class Front(Protocol):
    """An interface that commands are written in."""

    @property
    def session(self) -> Session:
        """What is talked to."""

    async def tell(self, title: str, lines: Sequence[str]) -> None:
        """Show an answer of several lines; they may hold words of users and models."""

    async def say(self, words: str) -> None:
        """Show one line that tells what was done."""

    async def follow(self, told: AsyncGenerator[SessionEvent, None]) -> None:
        """Show a reply as it is written, to its end."""

    async def show_chat(self) -> None:
        """Show the chat and the branch that the session holds now."""

    async def attach(self, path: Path) -> None:
        """Let a text file go along with the next message. Raises AttachmentError."""

    async def copy(self, text: str) -> None:
        """Put a text into the clipboard."""

    async def leave(self) -> None:
        """End the interface."""


async def obey(front: Front, call: Call) -> None:
    """Do what a command asks for.

    Raises:
        EdgechatError: It cannot be done; the words are for the user.
    """
    await _DOERS[call.command.name](front, call.argument)


async def read_for(session: Session, path: Path) -> tuple[Attachment, int | None]:
    """A text file and its tokens, for the next message; None where the model cannot be asked just now.

    Raises:
        AttachmentError: It cannot be read, is not text, or no context of this model could hold it.
    """
    attachment = await asyncio.to_thread(read_file, path)
    tokens, info = await session.count(attachment.block), session.info
    if tokens is not None and info is not None and tokens >= info.context:
        raise too_large(attachment.name, tokens, info.context)
    return attachment, tokens


def parsed_path(argument: str) -> Path:
    """A path as a person writes it: as it is, or in quotes."""
    for quote in ("'", '"'):
        if len(argument) > 1 and argument[0] == argument[-1] == quote:
            argument = argument[1:-1]
    try:
        return Path(argument).expanduser()
    except RuntimeError as error:  # a ~ without a home
        raise StorageError(_("There is no such folder"), f"{argument}: {error}.", _("Write the whole path.")) from error


# Telling


async def _help(front: Front, argument: str) -> None:
    if argument:
        command = find(argument.split(maxsplit=1)[0])
        if command is None:
            raise SlashError(_("There is no command {name}").format(name=argument), "", _("/help shows all commands."))
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
    """The numbers of the chat that is held, of the branch that is shown."""
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
        yield _("written: {n:,} tokens").format(n=written)
        yield _("read: {n:,} tokens, {cached:,} of them computed before").format(n=read, cached=cached)
        timed = [reply for reply in replies if reply.seconds > 0 and reply.completion_tokens > 1]
        if timed:
            speed = sum(reply.completion_tokens - 1 for reply in timed) / sum(reply.seconds for reply in timed)
            yield _("speed: {n:.1f} tokens a second").format(n=speed)
        first = [reply.ttft for reply in replies if reply.ttft is not None]
        if first:
            yield _("first word after: {n:.2f} s on average").format(n=sum(first) / len(first))
    if info is not None:
        kind = f" ({info.architecture})" if info.architecture else ""
        yield _("model: {name}{kind}, {threads} threads").format(name=info.name, kind=kind, threads=info.threads)


async def _prompt(front: Front, _argument: str) -> None:
    prompt = await front.session.prompt_parts()
    lines = [f"{line.sign} {line.text}  {line.ids}".rstrip() for line in part_lines(prompt)]
    await front.tell(_("The prompt: {summary}").format(summary=summary_words(prompt)), lines)


# Replies


async def _regen(front: Front, _argument: str) -> None:
    await front.follow(front.session.regenerate())


async def _continue(front: Front, _argument: str) -> None:
    await front.follow(front.session.resume())


async def _edit(front: Front, argument: str) -> None:
    turns = front.session.conversation.turns
    if not turns:
        raise SlashError(_("There is no message to edit"), "", _("Write one."))
    if not argument:
        raise SlashError(_("/edit needs the new words"), "", _("It is written /edit TEXT."))
    await front.follow(front.session.edit(turns[-1].id, argument))


async def _previous(front: Front, _argument: str) -> None:
    await _step(front, -1)


async def _next(front: Front, _argument: str) -> None:
    await _step(front, 1)


async def _step(front: Front, by: int) -> None:
    await _change(front, front.session.step(by), _("There is no other version in that direction."))


async def _change(front: Front, change: Awaitable[object], otherwise: str) -> bool:
    done = bool(await change)
    if done:
        await front.show_chat()
    else:
        await front.say(otherwise)
    return done


# Chats


async def _delete(front: Front, _argument: str) -> None:
    if await _change(front, front.session.delete_turn(), _("There is no message to delete.")):
        await front.say(_("The last message is deleted. /undo has it back."))


async def _undo(front: Front, _argument: str) -> None:
    await _change(front, front.session.undelete(), _("Nothing was deleted here. /delete deletes the last message."))


async def _new(front: Front, _argument: str) -> None:
    front.session.new()
    await front.show_chat()


async def _chats(front: Front, _argument: str) -> None:
    await _tell_found(front, _("Chats"), _("There is no chat yet."), "")


async def _search(front: Front, argument: str) -> None:
    title = _("Found for {words}").format(words=argument)
    await _tell_found(front, title, _("Nothing was found."), argument)


async def _tell_found(front: Front, title: str, otherwise: str, words: str) -> None:
    found = await front.session.chats(words)
    lines = []
    for item in found:
        if isinstance(item, SearchHit):
            lines.append(f"{item.conversation}  {item.title}: {' '.join(item.snippet.split())}")
        else:
            lines.append(f"{item.id}  {item.title}")
    await front.tell(title, [*lines, "", _("/open and a number goes there.")] if lines else [otherwise])


async def _open(front: Front, argument: str) -> None:
    if not argument.isdecimal():
        raise SlashError(_("/open needs the number of a chat"), "", _("/chats shows them."))
    await front.session.open(int(argument))
    await front.show_chat()


async def _rename(front: Front, argument: str) -> None:
    if not front.session.conversation.id:
        raise SlashError(_("The chat has no message yet"), _("Its first one becomes its title."), _("Write one."))
    await front.session.rename(argument)
    await front.say(_("The chat is called {title} now.").format(title=front.session.conversation.title))


async def _forget(front: Front, _argument: str) -> None:
    if await _change(front, front.session.delete_chat(), _("There is no chat to delete.")):
        await front.say(_("The chat is deleted. /undo has it back, for 30 days."))


async def _export(front: Front, argument: str) -> None:
    form, path = export_target(argument)
    text = await front.session.export(form)
    if not text:
        raise SlashError(_("The chat has no message yet"), "", _("Write one, then export it."))
    if path is None:
        await front.tell(_("This chat as {form}").format(form=form), text.removesuffix("\n").split("\n"))
        return
    try:
        await asyncio.to_thread(_write_new, path, text)
    except FileExistsError as error:
        raise StorageError(
            _("The file is there already"), f"{path}.", _("Nothing was written. Name another file.")
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StorageError(_("File cannot be written"), f"{path}: {reason}.", _("Name another file.")) from error
    await front.say(_("The chat is written to {path}.").format(path=path.absolute()))


def export_target(argument: str) -> tuple[Format, Path | None]:
    """The form and the file of `/export`: each may be left out, and a file's ending tells the form."""
    word, _space, rest = argument.partition(" ")
    path = parsed_path(rest.strip() if word in EXPORT_FORMATS else argument) if argument else None
    if path is not None and not path.name:
        path = None
    form: Any = word if word in EXPORT_FORMATS else "markdown"
    if path is not None and word not in EXPORT_FORMATS:
        form = next((name for name, ending in EXPORT_FORMATS.items() if path.suffix == ending), "markdown")
    return form, path


def _write_new(path: Path, text: str) -> None:
    import os

    def private(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    with open(path, "x", encoding="utf-8", newline="\n", opener=private) as file:
        file.write(text)


# Settings


async def _model(front: Front, argument: str) -> None:
    info = front.session.info
    if argument:
        before = front.session.model_uri
        model = await asyncio.to_thread(resolve_model, argument)
        await asyncio.to_thread(require_usable, model)
        try:
            await front.session.switch(argument)
        except EdgechatError as error:
            name = before or _("the default model")
            hint = _("The chat goes on with {name}.").format(name=name)
            raise SlashError(error.title, error.message, f"{error.hint} {hint}".strip()) from error
        await front.say(_("The chat goes on with {name}.").format(name=model.name))
        return
    if info is None:
        await front.say(_("The model is not loaded yet."))
        return
    await front.tell(
        info.name,
        [
            _("architecture: {name}").format(name=info.architecture),
            _("context: {n:,} tokens, of {of:,} it was made for").format(n=info.context, of=info.model_context),
            _("prompt form: {name}").format(name=info.form),
            _("threads: {n}").format(n=info.threads),
        ],
    )


async def _log(front: Front, _argument: str) -> None:
    lines = [line.text for line in await asyncio.to_thread(logs.read)]
    await front.tell(str(logs.path()), lines[-MOST_LOGGED:] or [_("Nothing was logged yet.")])


async def _doctor(front: Front, _argument: str) -> None:
    findings = await asyncio.to_thread(doctor.examine)
    await front.tell(_("Doctor"), doctor.as_text(findings).split("\n"))


async def _system(front: Front, argument: str) -> None:
    chat = front.session.conversation
    if not argument:
        await front.tell(_("System message of this chat"), chat.system.split("\n") if chat.system else [_("(none)")])
        return
    system = "" if argument == "-" else storable(argument)[0]
    await front.session.configure(system, chat.settings)
    await front.say(
        _("This chat has another system message from its next reply on.")
        if system
        else _("This chat has no system message from its next reply on.")
    )


async def _set(front: Front, argument: str) -> None:
    session = front.session
    settings = session.conversation.settings
    key, _space, value = argument.partition(" ")
    key, value = key.strip(), value.strip().removeprefix("=").strip()
    if not key:
        await front.tell(_("Settings of this chat"), list(settings_lines(session)))
        return
    if key not in SETTINGS:
        raise SlashError(
            _("There is no setting {name} of a chat").format(name=key),
            "",
            _("They are: {names}.").format(names=", ".join(SETTINGS)),
        )
    if not value:
        await front.tell(key, [line for line in settings_lines(session) if line.startswith(f"{key} ")])
        return
    try:
        changes: dict[str, Any] = {key: None if value == DEFAULT else check_value(key, value)}
    except ConfigError as error:
        raise SlashError(_("Setting not usable"), error.message, _("Nothing was changed.")) from error
    await session.configure(session.conversation.system, replace(settings, **changes))
    shown = next(line for line in settings_lines(session) if line.startswith(f"{key} "))
    await front.say(_("From the next reply on: {setting}").format(setting=shown))


def settings_lines(session: Session) -> Iterator[str]:
    """What applies to the next reply of the chat, and which of it the chat has of its own."""
    own = session.conversation.settings
    for key in SETTINGS:
        mine = getattr(own, key)
        value = getattr(session.sampling, key, getattr(session, key, None)) if mine is None else mine
        yield f"{key} = {'-' if value is None else value}" + (f"  {_('(this chat only)')}" if mine is not None else "")


async def _full(front: Front, argument: str) -> None:
    window = front.session.window
    if argument and argument not in POLICIES:
        raise SlashError(_("There is no such way"), "", _("They are: {names}.").format(names=", ".join(POLICIES)))
    if argument:
        window.policy = argument  # type: ignore[assignment]  # one of POLICIES
    await front.say(_("When a chat is full: {way}.").format(way=window.policy))


# The rest


async def _read(front: Front, argument: str) -> None:
    await front.attach(parsed_path(argument))


async def _copy(front: Front, _argument: str) -> None:
    replies = [
        turn.reply.text for turn in front.session.conversation.turns if turn.reply is not None and turn.reply.text
    ]
    if not replies:
        raise SlashError(_("There is no reply to copy"), "", _("Write a message first."))
    await front.copy(replies[-1])


async def _quit(front: Front, _argument: str) -> None:
    await front.leave()


_DOERS: dict[str, Callable[[Front, str], Awaitable[None]]] = {
    "help": _help,
    "model": _model,
    "system": _system,
    "set": _set,
    "read": _read,
    "regen": _regen,
    "continue": _continue,
    "edit": _edit,
    "previous": _previous,
    "next": _next,
    "delete": _delete,
    "undo": _undo,
    "new": _new,
    "chats": _chats,
    "open": _open,
    "search": _search,
    "rename": _rename,
    "forget": _forget,
    "export": _export,
    "copy": _copy,
    "stats": _stats,
    "prompt": _prompt,
    "full": _full,
    "log": _log,
    "doctor": _doctor,
    "quit": _quit,
}
