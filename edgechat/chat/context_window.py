"""The window over a conversation: which messages are sent if not all of them fit into the context.

Only the window moves; the conversation itself does not change. Nothing here counts tokens, since that takes a model's
tokenizer: `fit` yields what is to be counted and receives the number of tokens.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Literal

from edgechat.chat.conversation import Conversation, Message, Turn, Window
from edgechat.errors import RequestError
from edgechat.i18n.catalog import _, ngettext
from edgechat.i18n.sentence import Sentence

Policy = Literal["ask", "oldest", "summarise"]
"""What to do when a chat no longer fits: stop and ask, leave out the oldest turns, or have the model summarise them."""

LEAST_REPLY = 32
"""Minimum tokens to leave for a reply in the smallest context."""


def room_for_reply(context: int, max_tokens: int | None) -> int:
    """Return the minimum tokens to leave for a reply: fewer would cut it off after a few sentences."""
    room = max(LEAST_REPLY, context // 16)
    return room if max_tokens is None else min(room, max_tokens)


WARN_FROM = 0.8
"""Share of the context from which the user is told how full it is."""


GROWN = 1.25
"""How many times larger the context must become for a chat to be sent in full again; it varies with free memory."""


def window_over(conversation: Conversation, context: int = 0) -> Window:
    """Return the window in use over a chat: the latest one on its active path.

    Args:
        conversation: The chat.
        context: Context window in tokens, 0 if unknown; a window determined for far fewer is ignored.
    """
    for turn in reversed(conversation.turns):
        if turn.window is not None and context <= GROWN * (turn.window.context or context):
            return turn.window
    return Window()


def windowed(conversation: Conversation, window: Window) -> tuple[Message, ...]:
    """Return the messages sent through a window; a summary follows the system message."""
    turns = tuple(turn for turn in conversation.turns if not window.leaves_out(turn))
    summary_text = f"What was said before, in short: {window.summary}" if window.summary else ""
    system = "\n\n".join(part for part in (conversation.system, summary_text) if part)
    return replace(conversation, turns=turns, system=system).messages()


def fit(
    conversation: Conversation, context: int, *, window: Window | None = None, least: int = LEAST_REPLY
) -> Generator[tuple[Message, ...], int, Window | None]:
    """Find the window that fits: the current one while it does, or one without the oldest turns.

    A window that has to move leaves a quarter of the context free. Each move makes the model recompute everything after
    the system message, so it must not move with every message.

    Args:
        conversation: Its last turn is to be answered and stays, like the system message and pinned turns.
        context: Context window in tokens.
        window: The current window.
        least: Minimum tokens to leave for the reply.

    Yields:
        Messages whose token count, including the opening of the reply, is to be sent back.

    Returns:
        The window; None if the last message does not fit together with what must stay.
    """
    window = window or Window()
    if (yield windowed(conversation, window)) <= context - least:
        return window
    able = [turn.id for turn in conversation.turns[:-1] if not (window.leaves_out(turn) or turn.pinned)]

    def keeping(newest: int) -> Window:
        return replace(window, upto=able[len(able) - newest - 1], context=context)

    if not able or (yield windowed(conversation, keeping(0))) > context - least:
        return None
    # Newest first, so that no more of a very long chat is counted than about twice what fits.
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
    """The chat no longer fits, and the user is to decide what to leave out.

    Attributes:
        turns: The turns that would no longer be sent, oldest first.
    """

    def __init__(self, conversation: Conversation, window: Window, context: int) -> None:
        """Describe what would be left out.

        Args:
            conversation: The chat, including the new message.
            window: The window that would fit.
            context: Context window in tokens.
        """
        self.turns: tuple[Turn, ...] = tuple(turn for turn in conversation.turns if window.leaves_out(turn))
        some = ", ".join(f'"{_head(turn.user)}"' for turn in self.turns[:3])
        more = f" and {len(self.turns) - 3} more" if len(self.turns) > 3 else ""
        these = "message" if len(self.turns) == 1 else "messages"
        super().__init__(
            "The chat no longer fits into the context",
            Sentence(
                "The context holds {context} tokens, the reply included. To go on, the model would no longer be "
                "sent the oldest {turns} of {turns2} {these}, with the replies: {some}{more}. They stay in the "
                "history.",
                context=f"{context:,}",
                turns=len(self.turns),
                turns2=len(conversation.turns),
                these=these,
                some=some,
                more=more,
            ),
            "Leave them out (context_policy oldest), have the model sum them up (summarise), or begin a new chat.",
        )


def _head(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 40 else f"{line[:39]}\u2026"


def moved_notice(turns: int, summary: str) -> str:
    """Return the message to the user after the window has moved past that many turns."""
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


def fullness_notice(used: int, context: int, policy: Policy, longrope_limit: int = 0) -> str:
    """Return a notice on how full the context is; "" while there is enough room.

    Args:
        used: Tokens in use.
        context: Context window in tokens.
        policy: What happens when it is full.
        longrope_limit: Tokens beyond which the model recomputes everything; 0 if never.
    """
    if longrope_limit and WARN_FROM * longrope_limit <= used <= longrope_limit:
        return _(
            "The chat has {used:,} tokens. On passing {cliff:,} this model computes all of them anew, in one go that "
            "cannot be stopped; a new chat, or a context of that size, avoids it."
        ).format(used=used, cliff=longrope_limit)
    if not context or used < WARN_FROM * context:
        return ""
    then = {
        "ask": _("When it is full you will be asked what may be left out."),
        "oldest": _("When it is full the oldest messages are no longer sent."),
        "summarise": _("When it is full the oldest messages are summed up."),
    }[policy]
    words = _("The chat fills {percent} % of the context, {used:,} of {context:,} tokens.")
    return f"{words.format(percent=100 * used // context, used=used, context=context)} {then}"
