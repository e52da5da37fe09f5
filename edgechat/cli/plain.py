"""`edgechat --plain`: the chat line after line, for screen readers, simple terminals and pipes.

Nothing is drawn: no cursor is moved, nothing is coloured, nothing moves by itself, and what was written stays as it is.
Replies and answers go to standard output, all else to standard error. The session runs in an event loop of a thread of
its own, so that the main thread can wait for a line with all that the terminal offers, and hear Ctrl+C meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
import io
import sys
import threading
from collections.abc import AsyncGenerator, Coroutine, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import aclosing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from edgechat.chat.context_window import moved_notice
from edgechat.chat.conversation import ReplyState
from edgechat.chat.sanitize import printable
from edgechat.cli.plain_input import EndedError, Lines, bracket_pastes, ended_by_signals, interrupts_to, use_readline
from edgechat.engine.protocol import Progress, TextDelta
from edgechat.errors import EdgechatError, ExitCode, StorageError
from edgechat.history.drafts import Draft, joined
from edgechat.i18n.catalog import _, in_words, ngettext, told
from edgechat.runtime import clipboard, logs
from edgechat.session.context_manager import WindowMoved
from edgechat.session.session import Session, SessionEvent, TurnClosed, TurnSaved
from edgechat.slash import is_command, message_of
from edgechat.slash.commands import parse
from edgechat.slash.files import read_for
from edgechat.slash.handlers import obey

if TYPE_CHECKING:
    pass

T = TypeVar("T")


def run_plain(session: Session, *, notices: Sequence[str] = ()) -> int:
    """Hold a chat until the input ends.

    Args:
        session: What is talked to; it is closed at the end.
        notices: Words for the user, told at the beginning.

    Returns:
        The exit code: 0, or that of the last error where the input is not a terminal, so that a script sees it.
    """
    return PlainChat(session).run(notices)


class PlainChat:
    """The chat as lines, and the interface that commands are written in; see `slash.front.Front`."""

    def __init__(self, session: Session) -> None:
        """Nothing is started yet.

        Args:
            session: What is talked to.
        """
        self._session = session
        self._loop = asyncio.new_event_loop()
        self._interactive = sys.stdout.isatty() and sys.stdin is not None and sys.stdin.isatty()
        self._lines = Lines(interactive=self._interactive)
        self._blocks: list[str] = []
        self._before: tuple[int, Draft] | None = None
        self._told_progress = ""
        self._left = self._open_line = False
        self._code = int(ExitCode.OK)

    @property
    def session(self) -> Session:
        """See `Front`."""
        return self._session

    def run(self, notices: Sequence[str]) -> int:
        """Hold the chat; see `run_plain`."""
        gc.enable()  # off since edgechat.__main__ where no argument was given
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
        thread = threading.Thread(target=self._loop.run_forever, name="session", daemon=True)
        thread.start()
        with ended_by_signals():
            try:
                self._begin(notices)
                self._read_and_answer()
            except EndedError as end:
                self._code = 128 + end.number
            finally:
                if self._interactive:
                    bracket_pastes(False)
                self._finish(self._session.aclose(), whole=True)
                self._loop.call_soon_threadsafe(self._loop.stop)
                thread.join()
                self._loop.close()
        return self._code

    def _begin(self, notices: Sequence[str]) -> None:
        for notice in notices:
            self._narrate(notice)
        if self._interactive:
            self._narrate(
                _("Write a message and press Enter. A line that ends with a backslash goes on in the next one.")
            )
            self._narrate(_("/help shows the commands. Ctrl+C stops a reply, Ctrl+D leaves."))
            use_readline(self._finish(self._session.sent_before()))
            if left := self._finish(self._draft()).text:
                self._narrate(_("Written and not sent: {text}").format(text=left))
            bracket_pastes(True)
        if self._session.conversation.turns:
            self._finish(self.show_chat())
        ready = False
        with suppress(CancelledError):
            self._finish(self._housekeep())
            ready = self._finish(self._load())
        if not ready:
            self._narrate(_("The model is not ready. The next message tries again."))

    async def _housekeep(self) -> None:
        try:
            await self._session.housekeep()
        except EdgechatError as error:  # the chat goes on without a backup, and says so
            self._narrate(in_words(error.title, error.message))

    async def _load(self) -> bool:
        try:
            info = await self._session.start(self._progressed)
        except EdgechatError as error:
            self._fail(error)
            return False
        self._narrate(_("{name} is ready. Its context holds {n:,} tokens.").format(name=info.name, n=info.context))
        return True

    def _read_and_answer(self) -> None:
        while not self._left:
            try:
                text = self._lines.read()
            except KeyboardInterrupt:
                if not self._interactive:
                    raise
                self._narrate(_("Ctrl+D or /quit leaves."))
                continue
            if text is None:
                return
            if text.strip():
                self._answer(text)

    def _answer(self, text: str) -> None:
        self._before = None  # what could not be stored stays the draft
        try:
            if is_command(text):
                self._finish(self._obey(text))
            else:
                self._finish(self.follow(self._sent(message_of(text))))
        except EdgechatError as error:
            self._fail(error)
        except CancelledError:
            return  # by the user, who knows
        except OSError:  # nobody reads what is written any more
            raise
        except Exception as error:  # the chat goes on, as far as it can
            self._fail(logs.fault(error, "the linear chat"))

    async def _sent(self, text: str) -> AsyncGenerator[SessionEvent, None]:
        """Send a message with what was attached to it, which goes along once, however the reply ends."""
        message = "\n\n".join([text, *self._blocks])
        await self._hold(message)
        try:
            async with aclosing(self._session.send(message)) as events:
                async for event in events:
                    if isinstance(event, TurnSaved):
                        self._blocks.clear()
                    yield event
        except StorageError:
            raise  # it stays the draft
        except EdgechatError:
            await self._let_go()  # the reason is told, and the line stands above it
            raise

    async def _obey(self, line: str) -> None:
        """Do what a command asks for; what it says is the draft until it is done."""
        call = parse(line)
        if call.argument:
            await self._hold(line)
        try:
            await obey(self, call)
        except StorageError:
            raise  # as above
        except EdgechatError:
            await self._let_go()
            raise
        await self._let_go()

    async def _hold(self, text: str) -> None:
        """Let a text that was entered be the draft until it is stored, in front of the draft before."""
        self._before = chat, before = self._session.conversation_id, await self._draft()
        await self._keep(chat, joined(Draft(text), before))

    async def _let_go(self) -> None:
        """The text is stored, or the user knows that it is not: the draft is the one before again."""
        if self._before is not None:
            (chat, before), self._before = self._before, None
            await self._keep(chat, before)

    async def _draft(self) -> Draft:
        try:
            return await self._session.draft()
        except StorageError:  # whoever sends a message is told
            return Draft()

    async def _keep(self, chat: int, draft: Draft) -> None:
        with suppress(StorageError):  # as above
            await self._session.keep_draft(chat, draft)

    def _finish(self, work: Coroutine[Any, Any, T], *, whole: bool = False) -> T:
        """Wait for work in the session's thread; Ctrl+C meanwhile stops the reply, and the wait goes on.

        Args:
            work: What to wait for.
            whole: Whether it must not be given up; else Ctrl+C ends whatever is no reply, such as waiting for a load.

        Raises:
            CancelledError: It was given up.
        """
        future: Future[T] | None = None
        interrupted = False

        def stop() -> None:
            asyncio.run_coroutine_threadsafe(self._session.stop(), self._loop)
            if future is not None and not (whole or self._session.busy):
                future.cancel()

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            if future is not None:
                stop()

        # Not by KeyboardInterrupt, which may come anywhere, also where the work has begun and is not known here yet.
        with interrupts_to(interrupt):
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
            if interrupted:
                stop()
            try:
                return future.result()
            except CancelledError:
                if interrupted and not self._interactive:
                    raise KeyboardInterrupt from None
                raise
            except EndedError:
                if not self._session.busy:
                    future.cancel()
                    raise
                asyncio.run_coroutine_threadsafe(self._session.stop(), self._loop)
                with suppress(Exception):
                    future.result(5)
                raise

    # What commands ask of an interface

    async def tell(self, title: str, lines: Sequence[str]) -> None:
        """See `Front`."""
        self._narrate(title)  # so that an exported chat can be piped on as it is
        self._write("".join(f"{line}\n" for line in lines))

    async def say(self, words: str) -> None:
        """See `Front`."""
        self._narrate(words)

    async def follow(self, told: AsyncGenerator[SessionEvent, None]) -> None:
        """See `Front`."""
        self._told_progress = ""
        try:
            await self._follow(told)
        finally:
            if self._open_line:  # a reply that failed
                self._write("\n")
        if self._interactive:
            self._session.warm()

    async def _follow(self, told: AsyncGenerator[SessionEvent, None]) -> None:
        async with aclosing(told) as events:
            async for event in events:
                match event:
                    case TurnSaved(_turn, notices):
                        await self._let_go()
                        for notice in notices:
                            self._narrate(notice)
                    case Progress():
                        self._progressed(event)
                    case WindowMoved(turns, summary):
                        self._narrate(moved_notice(len(turns), summary))
                    case TextDelta(text):
                        self._write(text)
                    case TurnClosed(turn, _finished):
                        self._write("\n\n" if self._open_line else "\n")
                        self._tell_end(turn.reply.state if turn.reply is not None else None)

    def _tell_end(self, state: ReplyState | None) -> None:
        if state is ReplyState.STOPPED:
            self._narrate(_("The reply was stopped. /continue goes on with it."))
        elif state is ReplyState.LENGTH:
            self._narrate(_("The reply was cut at the length limit. /continue goes on with it."))
        if words := self._session.context_words:
            self._narrate(words)

    async def show_chat(self) -> None:
        """See `Front`."""
        chat = self._session.conversation
        if not chat.turns:
            self._narrate(_("A new chat begins."))
            return
        count = ngettext("{n} message", "{n} messages", len(chat.turns)).format(n=f"{len(chat.turns):,}")
        self._narrate(_("The chat {title}, {count}. Its last message and reply:").format(title=chat.title, count=count))
        turn = chat.turns[-1]
        self._write(_("You: {text}").format(text=turn.user) + "\n")
        if turn.reply is not None:
            self._write(_("Reply: {text}").format(text=turn.reply.text) + "\n")

    async def refresh(self) -> None:
        """See `Front`; what was written stays written."""

    async def switch(self, uri: str) -> None:
        """See `Front`."""
        self._session.check_switch(uri)
        await asyncio.to_thread(_require, uri)  # before the model that is there is let go
        self._told_progress = ""
        before = self._session.model_uri or _("the default model")
        try:
            info = await self._session.switch(uri, self._progressed)
        except (EdgechatError, asyncio.CancelledError):
            self._narrate(_("The chat goes on with {name}.").format(name=before))
            raise
        self._narrate(_("The chat goes on with {name}.").format(name=info.name))

    async def attach(self, path: Path) -> None:
        """See `Front`."""
        attachment, tokens = await read_for(self._session, path)
        info = self._session.info
        self._blocks.append(attachment.block)
        size = "?" if tokens is None else f"{tokens:,}"
        context = "?" if info is None else f"{info.context:,}"
        self._narrate(
            _("{name} goes along with the next message: {tokens} of {context} tokens, {used:,} of them in use.").format(
                name=attachment.name, tokens=size, context=context, used=self._session.context_used
            )
        )

    async def copy(self, text: str) -> None:
        """See `Front`."""
        if not await clipboard.copy(printable(text)):
            raise EdgechatError(
                _("There is no clipboard"), _("None was found here."), _("/export FILE writes the chat to a file.")
            )
        self._narrate(_("The last reply is in the clipboard."))

    async def leave(self) -> None:
        """See `Front`."""
        self._left = True

    # Words

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._open_line = not text.endswith("\n")

    def _narrate(self, words: str) -> None:
        if sys.stderr is not None:
            sys.stderr.write(f"{words}\n")
            sys.stderr.flush()

    def _fail(self, error: EdgechatError) -> None:
        parts = [_("Error: {title}.").format(title=told(error.title)), told(error.message), told(error.hint)]
        self._narrate(" ".join(part for part in parts if part))
        if not self._interactive:
            self._code = int(error.exit_code)

    def _progressed(self, progress: Progress) -> None:
        """Tell how far a long step came, a line for each step and for each quarter of one."""
        quarter = 100 * progress.done // progress.total // 25 * 25 if progress.total else 0
        words = {
            "install": _("Preparing the model for its first use"),
            "check": _("Checking the model's files"),
            "load": _("Loading the model"),
            "summarise": _("Summing up the oldest messages"),
        }.get(progress.phase, "")
        if words and quarter:
            words = f"{words}: {quarter} %"
        if words and words != self._told_progress:
            self._told_progress = words
            self._narrate(words)


def _require(uri: str) -> None:
    from edgechat.doctor.preflight import require_usable
    from edgechat.models.uri import resolve_model

    require_usable(resolve_model(uri))
