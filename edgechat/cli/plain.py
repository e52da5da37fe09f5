"""`edgechat --plain`: a line-based chat for screen readers, simple terminals and pipes.

It writes plain lines: no cursor movement, colours or animation, and nothing already written changes. Replies and
    results go
to standard output, everything else to standard error. The session runs in an event loop in a separate thread, so that
the main thread can wait for a line with all the terminal's features and still handle Ctrl+C.
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
from edgechat.i18n.catalog import _, ngettext
from edgechat.i18n.error_messages import format_error, translate_error
from edgechat.runtime import clipboard, logs
from edgechat.session.context_manager import WindowMoved
from edgechat.session.session import Session, SessionEvent, TurnClosed, TurnSaved
from edgechat.slash import is_command, message_of
from edgechat.slash.commands import parse
from edgechat.slash.files import read_for
from edgechat.slash.handlers import run_command

if TYPE_CHECKING:
    pass

T = TypeVar("T")


def run_plain(session: Session, *, notices: Sequence[str] = ()) -> int:
    """Chat until the input ends.

    Args:
        session: The session; it is closed at the end.
        notices: Messages to show at the start.

    Returns:
        The exit code: 0, or that of the last error if the input is not a terminal, for scripts.
    """
    return PlainChat(session).run(notices)


class PlainChat:
    """The line-based chat, and the interface for slash commands; see `slash.interface.Front`."""

    def __init__(self, session: Session) -> None:
        """Set up without starting anything.

        Args:
            session: The session.
        """
        self._session = session
        self._loop = asyncio.new_event_loop()
        self._interactive = sys.stdout.isatty() and sys.stdin is not None and sys.stdin.isatty()
        self._lines = Lines(interactive=self._interactive)
        self._blocks: list[str] = []
        self._before: tuple[int, Draft] | None = None
        self._last_progress = ""
        self._left = self._open_line = False
        self._code = int(ExitCode.OK)

    @property
    def session(self) -> Session:
        """The session."""
        return self._session

    def run(self, notices: Sequence[str]) -> int:
        """Run the chat; see `run_plain`."""
        gc.enable()  # disabled in edgechat.__main__ if there were no arguments
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")
        thread = threading.Thread(target=self._loop.run_forever, name="session", daemon=True)
        thread.start()
        with ended_by_signals():
            try:
                self._start(notices)
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

    def _start(self, notices: Sequence[str]) -> None:
        for notice in notices:
            self._narrate(notice)
        if self._interactive:
            self._narrate(
                _("Write a message and press Enter. A line that ends with a backslash goes on in the next one.")
            )
            self._narrate(_("/help shows the commands. Ctrl+C stops a reply, Ctrl+D leaves."))
            use_readline(self._finish(self._session.library.sent_messages()))
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
            await self._session.library.housekeep()
        except EdgechatError as error:  # the chat continues without a backup
            self._narrate(format_error(error.title, error.message))

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
        self._before = None  # text that could not be stored remains the draft
        try:
            if is_command(text):
                self._finish(self._run_command(text))
            else:
                self._finish(self.follow(self._sent(message_of(text))))
        except EdgechatError as error:
            self._fail(error)
        except CancelledError:
            return  # cancelled by the user
        except OSError:  # nobody reads the output any more
            raise
        except Exception as error:  # keep chatting as far as possible
            self._fail(logs.fault(error, "the linear chat"))

    async def _sent(self, text: str) -> AsyncGenerator[SessionEvent, None]:
        """Send a message with its attachments, which are sent once, however the reply ends."""
        message = "\n\n".join([text, *self._blocks])
        await self._hold_draft(message)
        try:
            async with aclosing(self._session.send(message)) as events:
                async for event in events:
                    if isinstance(event, TurnSaved):
                        self._blocks.clear()
                    yield event
        except StorageError:
            raise  # the text remains the draft
        except EdgechatError:
            await self._release_draft()  # the reason is shown, and the line is still above it
            raise

    async def _run_command(self, line: str) -> None:
        """Run a command; its text is the draft until it is done."""
        call = parse(line)
        if call.argument:
            await self._hold_draft(line)
        try:
            await run_command(self, call)
        except StorageError:
            raise  # as above
        except EdgechatError:
            await self._release_draft()
            raise
        await self._release_draft()

    async def _hold_draft(self, text: str) -> None:
        """Make entered text the draft until it is stored, preceding the previous draft."""
        self._before = chat, before = self._session.chat.id, await self._draft()
        await self._save_draft(chat, joined(Draft(text), before))

    async def _release_draft(self) -> None:
        """Restore the previous draft, since the text was stored or the user knows that it was not."""
        if self._before is not None:
            (chat, before), self._before = self._before, None
            await self._save_draft(chat, before)

    async def _draft(self) -> Draft:
        try:
            return await self._session.chat.draft()
        except StorageError:  # reported when a message is sent
            return Draft()

    async def _save_draft(self, chat: int, draft: Draft) -> None:
        with suppress(StorageError):  # as above
            await self._session.library.save_draft(chat, draft)

    def _finish(self, work: Coroutine[Any, Any, T], *, whole: bool = False) -> T:
        """Wait for work in the session's thread; Ctrl+C stops the reply but continues to wait.

        Args:
            work: The coroutine to wait for.
            whole: Whether it must run to completion; otherwise Ctrl+C cancels anything but a reply, such as a load.

        Raises:
            CancelledError: It was cancelled.
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

        # Not through KeyboardInterrupt, which can occur anywhere, even between starting the work and recording it here.
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

    # Implementation of Front

    async def tell(self, title: str, lines: Sequence[str]) -> None:
        """Show a result of several lines."""
        self._narrate(title)  # so that an exported chat can be piped on unchanged
        self._write("".join(f"{line}\n" for line in lines))

    async def say(self, words: str) -> None:
        """Show a one-line confirmation."""
        self._narrate(words)

    async def follow(self, stream: AsyncGenerator[SessionEvent, None]) -> None:
        """Show a reply while it is generated, to its end."""
        self._last_progress = ""
        try:
            await self._follow(stream)
        finally:
            if self._open_line:  # the reply failed
                self._write("\n")
        if self._interactive:
            self._session.warm()

    async def _follow(self, stream: AsyncGenerator[SessionEvent, None]) -> None:
        async with aclosing(stream) as events:
            async for event in events:
                match event:
                    case TurnSaved(_turn, notices):
                        await self._release_draft()
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
                        self._report_end(turn.reply.state if turn.reply is not None else None)

    def _report_end(self, state: ReplyState | None) -> None:
        if state is ReplyState.STOPPED:
            self._narrate(_("The reply was stopped. /continue goes on with it."))
        elif state is ReplyState.LENGTH:
            self._narrate(_("The reply was cut at the length limit. /continue goes on with it."))
        if words := self._session.context_words:
            self._narrate(words)

    async def show_chat(self) -> None:
        """Show the session's current chat and branch."""
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
        """Do nothing, since written output does not change."""

    async def switch(self, uri: str) -> None:
        """Switch to another model."""
        self._session.models.check(uri)
        await asyncio.to_thread(_require, uri)  # before the current model is released
        self._last_progress = ""
        before = self._session.models.uri or _("the default model")
        try:
            info = await self._session.models.switch(uri, self._progressed)
        except (EdgechatError, asyncio.CancelledError):
            self._narrate(_("The chat goes on with {name}.").format(name=before))
            raise
        self._narrate(_("The chat goes on with {name}.").format(name=info.name))

    async def attach(self, path: Path) -> None:
        """Attach a text file to the next message."""
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
        """Copy text to the clipboard."""
        if not await clipboard.copy(printable(text)):
            raise EdgechatError(
                "There is no clipboard", "None was found here.", "/export FILE writes the chat to a file."
            )
        self._narrate(_("The last reply is in the clipboard."))

    async def leave(self) -> None:
        """Exit the chat."""
        self._left = True

    # Output

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
        self._open_line = not text.endswith("\n")

    def _narrate(self, words: str) -> None:
        if sys.stderr is not None:
            sys.stderr.write(f"{words}\n")
            sys.stderr.flush()

    def _fail(self, error: EdgechatError) -> None:
        parts = [
            _("Error: {title}.").format(title=translate_error(error.title)),
            translate_error(error.message),
            translate_error(error.hint),
        ]
        self._narrate(" ".join(part for part in parts if part))
        if not self._interactive:
            self._code = int(error.exit_code)

    def _progressed(self, progress: Progress) -> None:
        """Report progress of a long operation, one line per phase and per 25%."""
        quarter = 100 * progress.done // progress.total // 25 * 25 if progress.total else 0
        words = {
            "install": _("Preparing the model for its first use"),
            "check": _("Checking the model's files"),
            "load": _("Loading the model"),
            "summarise": _("Summing up the oldest messages"),
        }.get(progress.phase, "")
        if words and quarter:
            words = f"{words}: {quarter} %"
        if words and words != self._last_progress:
            self._last_progress = words
            self._narrate(words)


def _require(uri: str) -> None:
    from edgechat.doctor.preflight import require_usable
    from edgechat.models.uri import resolve_model

    require_usable(resolve_model(uri))
