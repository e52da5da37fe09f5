"""What commands ask of the interface they are written in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Protocol

from edgechat.session.session import Session, SessionEvent


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

    async def refresh(self) -> None:
        """Show anew what is known about the chat that is shown, such as its title and marks."""

    async def switch(self, uri: str) -> None:
        """Go on with another model. Raises EdgechatError where it cannot be used."""

    async def attach(self, path: Path) -> None:
        """Let a text file go along with the next message. Raises AttachmentError."""

    async def copy(self, text: str) -> None:
        """Put a text into the clipboard."""

    async def leave(self) -> None:
        """End the interface."""
