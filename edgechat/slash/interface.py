"""The interface that slash commands run in, as a protocol."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Protocol

from edgechat.session.session import Session, SessionEvent


class Front(Protocol):
    """An interface that commands can be typed in."""

    @property
    def session(self) -> Session:
        """The session."""

    async def tell(self, title: str, lines: Sequence[str]) -> None:
        """Show a result of several lines; they may contain text from users and models."""

    async def say(self, words: str) -> None:
        """Show a one-line confirmation."""

    async def follow(self, stream: AsyncGenerator[SessionEvent, None]) -> None:
        """Show a reply while it is generated, to its end."""

    async def show_chat(self) -> None:
        """Show the session's current chat and branch."""

    async def refresh(self) -> None:
        """Refresh what is shown about the current chat, such as its title and marks."""

    async def switch(self, uri: str) -> None:
        """Switch to another model. Raises EdgechatError if it cannot be used."""

    async def attach(self, path: Path) -> None:
        """Attach a text file to the next message. Raises AttachmentError."""

    async def copy(self, text: str) -> None:
        """Copy text to the clipboard."""

    async def leave(self) -> None:
        """Exit the interface."""
