"""Computes the beginning of the next prompt in the background, so that the reply to it begins sooner."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from edgechat.chat.sanitize import storable
from edgechat.errors import EdgechatError
from edgechat.session.activity import Activity
from edgechat.session.current_model import CurrentModel
from edgechat.session.prompt_builder import PromptBuilder

LONG_TOKEN = 8
"""Characters: a text with as many in each token on average is one that no person writes."""


class PromptWarmer:
    """At most one prefill ahead of the next message.

    It never holds up a reply: a message that is sent meanwhile does not wait for it, and its errors are left to the
    reply, which meets them too.
    """

    def __init__(self, model: CurrentModel, prompts: PromptBuilder, activity: Activity) -> None:
        self._model = model
        self._prompts = prompts
        self._activity = activity
        self._task: asyncio.Task[None] | None = None

    def warm(self, draft: str = "") -> None:
        """Begin anew for whatever chat or branch is open now.

        Args:
            draft: The next message, as far as it is written; sent as it is, it is answered at once.
        """
        self.cancel()
        sampling, info = self._prompts.chat_sampling, self._model.info
        seeded = sampling.seed is not None and sampling.temperature > 0  # computed from nothing each time
        if info is not None and not self._activity.busy and not seeded:
            # Encoding takes seconds a megabyte, and what is sent meanwhile would wait; this would not fit anyhow.
            long = len(draft) > LONG_TOKEN * info.context
            self._task = asyncio.create_task(self._prefill("" if long else draft), name="warm")

    def cancel(self) -> None:
        """Give up what is being computed; what was computed stays."""
        if self._task is not None:
            self._task.cancel()

    async def _prefill(self, draft: str) -> None:
        with suppress(EdgechatError):
            messages = self._prompts.draft_messages(storable(draft)[0])
            await self._model.engine.prefill(messages, self._prompts.chat_sampling.top_k)
