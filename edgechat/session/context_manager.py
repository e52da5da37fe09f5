"""Keeps each chat within the context of the model: counts, moves the window, has what goes summed up.

What is sent is decided here for every reply. The conversation is only read: whoever asked for a window stores the one
that was found with the turn it was found for. The rules are those of `chat.context_window`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from edgechat.chat.context_window import (
    ContextFullError,
    Policy,
    fit,
    fullness_notice,
    room_for_reply,
    window_over,
    windowed,
)
from edgechat.chat.conversation import Conversation, Message, Turn, Window
from edgechat.engine.protocol import Engine, Finished, Progress, Request, Sampling, TextDelta
from edgechat.errors import EngineError
from edgechat.session.current_model import CurrentModel

SUMMARY_TOKENS = 256
"""A summary's length, at the most; an eighth of a small context."""

_FORM_TOKENS = 64
"""More than any chat template puts around one message and before the reply."""

_INSTRUCTION = (
    "Sum up our conversation so far in a few sentences: the facts, names, numbers and decisions that matter for going "
    "on. Write the summary only."
)


@dataclass(frozen=True, slots=True)
class WindowMoved:
    """Some turns are no longer sent from now on.

    Attributes:
        turns: Those that were sent until now, oldest first.
        summary: What is sent in their place; empty for nothing.
        window: The window from now on.
    """

    turns: tuple[Turn, ...]
    summary: str
    window: Window


@dataclass(frozen=True, slots=True)
class _Count:
    """How many tokens a chat had, as its engine counted it.

    Attributes:
        engine: Who counted.
        path: What was counted.
        tokens: The count.
    """

    engine: Engine
    path: object
    tokens: int


class ContextManager:
    """The windows over the chats that are sent to the current model.

    State: the token count of each chat after its last reply.

    Attributes:
        policy: What happens when a chat no longer fits; may be set between replies.
    """

    def __init__(self, model: CurrentModel, policy: Policy = "ask") -> None:
        self._model = model
        self.policy: Policy = policy
        self._counts: dict[int, _Count] = {}

    def window(self, conversation: Conversation) -> Window:
        """The window in use over a chat."""
        info = self._model.info
        return window_over(conversation, info.context if info is not None else 0)

    def messages(self, conversation: Conversation) -> tuple[Message, ...]:
        """What is sent of a chat."""
        return windowed(conversation, self.window(conversation))

    def used(self, conversation: Conversation) -> int:
        """Tokens of the context in use after a chat's last reply; 0 in a new chat."""
        for turn in reversed(conversation.turns):
            if turn.reply is not None and turn.reply.prompt_tokens:
                return turn.reply.prompt_tokens + turn.reply.completion_tokens
        return 0

    def fullness(self, conversation: Conversation) -> str:
        """What the user is to know of how full the context is, or is about to be; "" for nothing."""
        info = self._model.info
        return fullness_notice(self.used(conversation), info.context, self.policy, info.longrope_limit) if info else ""

    def note(self, conversation: Conversation, finished: Finished) -> None:
        """Remember how many tokens a chat has now, so that most messages need not be counted."""
        count = _Count(self._model.engine, self._path(conversation), finished.usage.context)
        self._counts[conversation.id] = count

    async def check(self, conversation: Conversation, max_tokens: int | None) -> None:
        """Ask before a message is taken, where the policy is to ask.

        Raises:
            ContextFullError: Something would have to go.
        """
        if self.policy != "ask":
            return
        try:
            await self._search(conversation, max_tokens)
        except ContextFullError:
            raise
        except EngineError:
            return  # a worker that died must not keep the message from being stored

    async def fit(
        self, conversation: Conversation, max_tokens: int | None, stopped: Callable[[], bool] = lambda: False
    ) -> AsyncGenerator[Progress | WindowMoved, None]:
        """Find another window over a chat where it has to move. The caller stores it with the last turn.

        Args:
            conversation: Its last turn is the one to be answered.
            max_tokens: Upper bound of the reply.
            stopped: Asked while a summary is written; True ends it, and the window stays where it was.

        Yields:
            Progress before a summary is made, and WindowMoved.

        Raises:
            ContextFullError: Something would have to go, and the policy is to ask.
        """
        before = self.window(conversation)
        found = await self._search(conversation, max_tokens)
        if found is None or found == before:
            return
        if self.policy == "summarise":
            yield Progress("summarise", 0, 0)
            written = await self._summarise(conversation, before, _between(conversation, before, found), stopped)
            if written is None:
                return
            # What stands for the turns needs room as well; without room for it they are only left out.
            summed_up = replace(found, summary=written or before.summary)
            found = await self._search(conversation, max_tokens, summed_up) or found
        yield WindowMoved(_between(conversation, before, found), found.summary, found)

    async def _search(
        self, conversation: Conversation, max_tokens: int | None, window: Window | None = None
    ) -> Window | None:
        """The window that fits; None where there is none, which the engine says best.

        Raises:
            ContextFullError: It is another one, and the policy is to ask.
        """
        info = self._model.info
        before = window or self.window(conversation)
        if info is None:
            return before
        least = room_for_reply(info.context, max_tokens)
        if window is None and self._surely_fits(conversation, before, info.context - least):
            return before
        steps = fit(conversation, info.context, window=before, least=least)
        tokens: int | None = None
        while True:
            try:
                messages = next(steps) if tokens is None else steps.send(tokens)
            except StopIteration as end:
                found: Window | None = end.value
                break
            tokens = await self._model.engine.count(messages)
        if found is not None and found != before and self.policy == "ask":
            raise ContextFullError(conversation, found, info.context)
        return found

    def _surely_fits(self, conversation: Conversation, window: Window, most: int) -> bool:
        """Whether it has no more tokens than `most` even if each byte of what was not counted yet were a token."""
        prior, last = replace(conversation, turns=conversation.turns[:-1]), conversation.turns[-1]
        count = self._counts.get(conversation.id)
        if count is not None and count.engine is self._model.engine and count.path == self._path(prior):
            bound = count.tokens + len(last.user.encode()) + _FORM_TOKENS
        else:
            messages = windowed(conversation, window)
            bound = sum(len(message.content.encode()) + _FORM_TOKENS for message in messages) + _FORM_TOKENS
        return bound <= most

    def _path(self, conversation: Conversation) -> object:
        """What was counted; a reply that was gone on with since, or another system message, is not."""
        info, window = self._model.info, self.window(conversation)
        sent = [turn for turn in conversation.turns if not window.leaves_out(turn)]
        replies = [
            (turn.id, turn.reply.id, len(turn.reply.text)) if turn.reply is not None else turn.id for turn in sent
        ]
        return info.name if info is not None else "", conversation.system, replies, window.summary

    async def _summarise(
        self, conversation: Conversation, window: Window, gone: tuple[Turn, ...], stopped: Callable[[], bool]
    ) -> str | None:
        """The model's words for turns that go; None where it was stopped.

        It reads them after what it holds already, so that most of this is computed.
        """
        assert self._model.info is not None
        most = min(SUMMARY_TOKENS, self._model.info.context // 8)
        answered = [turn for turn in gone if turn.reply is not None and turn.reply.text]
        while answered:
            read = windowed(replace(conversation, turns=tuple(answered)), window)
            messages = (*read, Message("user", _INSTRUCTION))
            if await self._model.engine.count(messages) + most <= self._model.info.context:
                break
            answered = answered[(len(answered) + 1) // 2 :]  # the newest half
        if not answered:
            return ""
        text = ""
        request = Request(messages, Sampling(temperature=0), most)
        async with aclosing(self._model.engine.stream(request)) as events:
            async for event in events:
                if stopped():
                    await self._model.engine.stop()
                if isinstance(event, TextDelta):
                    text += event.text
                elif isinstance(event, Finished) and event.reason == "cancelled":
                    return None
        return " ".join(text.split())


def _between(conversation: Conversation, before: Window, after: Window) -> tuple[Turn, ...]:
    """The turns that one window has and the other no longer."""
    return tuple(turn for turn in conversation.turns if after.leaves_out(turn) and not before.leaves_out(turn))
