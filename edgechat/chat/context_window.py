"""The window over a conversation: what of it is sent, when not all of it fits into the context.

Only the window ever moves; the conversation itself stays as it is. Nothing here counts tokens, for that takes a model's
tokenizer: `fit` yields what is to be counted and is told how many tokens it has.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Literal

from edgechat.chat.conversation import Conversation, Message, Turn, Window
from edgechat.errors import RequestError
from edgechat.i18n.catalog import _, ngettext

Policy = Literal["ask", "oldest", "summarise"]
"""What happens when a chat no longer fits: stop and tell, leave out the oldest turns, or have the model sum them up."""

LEAST_REPLY = 32
"""Tokens that must be left for a reply in the smallest context."""


def room_for_reply(context: int, max_tokens: int | None) -> int:
    """Tokens that must be left, or a chat does not fit: fewer would cut a reply in its first sentences."""
    room = max(LEAST_REPLY, context // 16)
    return room if max_tokens is None else min(room, max_tokens)


WARN_FROM = 0.8
"""Share of the context from which the user is told how full it is."""


GROWN = 1.25
"""How many times larger a context must be for a chat to be sent whole again; it varies a little with the memory."""


def window_over(conversation: Conversation, context: int = 0) -> Window:
    """The window in use over a chat: the one that was found last on its path.

    Args:
        conversation: The chat.
        context: Tokens the session may hold; a window that was found for much fewer is none. 0 where nobody knows.
    """
    for turn in reversed(conversation.turns):
        if turn.window is not None and context <= GROWN * (turn.window.context or context):
            return turn.window
    return Window()


def windowed(conversation: Conversation, window: Window) -> tuple[Message, ...]:
    """The messages that are sent through a window; a summary stands below the system message."""
    turns = tuple(turn for turn in conversation.turns if not window.leaves_out(turn))
    told = f"What was said before, in short: {window.summary}" if window.summary else ""
    system = "\n\n".join(part for part in (conversation.system, told) if part)
    return replace(conversation, turns=turns, system=system).messages()


def fit(
    conversation: Conversation, context: int, *, window: Window | None = None, least: int = LEAST_REPLY
) -> Generator[tuple[Message, ...], int, Window | None]:
    """Find the window that fits: the one there is, while it does, or one without the oldest turns.

    A window that has to move leaves a quarter of the context free. Each move makes the model compute everything after
    the system message again, so it must not move with every message.

    Args:
        conversation: Its last turn is the one to be answered, and stays, as the system message and pinned turns do.
        context: Tokens the session may hold.
        window: The one in use.
        least: Tokens that must be left for the reply.

    Yields:
        Messages whose tokens are to be sent back, the opening of a reply included.

    Returns:
        The window; None where the last message does not fit with whatever must stay.
    """
    window = window or Window()
    if (yield windowed(conversation, window)) <= context - least:
        return window
    able = [turn.id for turn in conversation.turns[:-1] if not (window.leaves_out(turn) or turn.pinned)]

    def keeping(newest: int) -> Window:
        return replace(window, upto=able[len(able) - newest - 1], context=context)

    if not able or (yield windowed(conversation, keeping(0))) > context - least:
        return None
    # From the newest on, so that no more of a very long chat is counted than about twice what fits.
    goal = min(context - context // 4, context - least)
    fitting, too_many, halving = 0, len(able), False
    while fitting + 1 < too_many:
        trial = (fitting + too_many) // 2 if halving else min(max(1, 2 * fitting), too_many - 1)
        if (yield windowed(conversation, keeping(trial))) <= goal:
            fitting = trial
        else:
            too_many, halving = trial, True
    return keeping(fitting)


class ContextFullError(RequestError):
    """The chat no longer fits, and the user is to say what may go.

    Attributes:
        turns: Those that would no longer be sent, oldest first.
    """

    def __init__(self, conversation: Conversation, window: Window, context: int) -> None:
        """Say what would go.

        Args:
            conversation: The chat, the new message included.
            window: What would be sent of it.
            context: Tokens the session may hold.
        """
        self.turns: tuple[Turn, ...] = tuple(turn for turn in conversation.turns if window.leaves_out(turn))
        some = ", ".join(f'"{_head(turn.user)}"' for turn in self.turns[:3])
        more = f" and {len(self.turns) - 3} more" if len(self.turns) > 3 else ""
        these = "message" if len(self.turns) == 1 else "messages"
        super().__init__(
            "The chat no longer fits into the context",
            f"The context holds {context:,} tokens, the reply included. To go on, the model would no longer be sent "
            f"the oldest {len(self.turns)} of {len(conversation.turns)} {these}, with the replies: {some}{more}. They "
            "stay in the history.",
            "Leave them out (context_policy oldest), have the model sum them up (summarise), or begin a new chat.",
        )


def _head(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else f"{line[:39]}\u2026"


def moved_words(turns: int, summary: str) -> str:
    """What the user is told when the window has moved over that many turns."""
    if summary:
        words = ngettext(
            "The oldest message and what was replied are sent summed up from now on: {summary}",
            "The oldest {n} messages and what was replied are sent summed up from now on: {summary}",
            turns,
        )
        return words.format(n=turns, summary=summary)
    return ngettext(
        "The oldest message and what was replied are no longer sent to the model. They stay in the history.",
        "The oldest {n} messages and what was replied are no longer sent to the model. They stay in the history.",
        turns,
    ).format(n=turns)


def fullness_words(used: int, context: int, policy: Policy, cliff: int = 0) -> str:
    """What the user is to know of how full the context is; "" while there is room enough.

    Args:
        used: Tokens in use.
        context: Tokens the session may hold.
        policy: What happens when they are used up.
        cliff: Tokens on whose crossing the model computes everything anew; 0 is never.
    """
    if cliff and WARN_FROM * cliff <= used <= cliff:
        return _(
            "The chat has {used:,} tokens. On passing {cliff:,} this model computes all of them anew, in one go that "
            "cannot be stopped; a new chat, or a context of that size, avoids it."
        ).format(used=used, cliff=cliff)
    if not context or used < WARN_FROM * context:
        return ""
    then = {
        "ask": _("When it is full you will be asked what may be left out."),
        "oldest": _("When it is full the oldest messages are no longer sent."),
        "summarise": _("When it is full the oldest messages are summed up."),
    }[policy]
    words = _("The chat fills {percent} % of the context, {used:,} of {context:,} tokens.")
    return f"{words.format(percent=100 * used // context, used=used, context=context)} {then}"
