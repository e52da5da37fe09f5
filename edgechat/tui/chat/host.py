"""What the controllers of the chat screen ask of it, so that none of them has to know the screen itself.

Controllers import this protocol in place of the screen: a test can stand in for it, and nothing imports in a circle.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from textual.app import App
    from textual.message import Message
    from textual.timer import Timer
    from textual.worker import Worker

Work = Coroutine[Any, Any, None] | Callable[[], Coroutine[Any, Any, None]]
"""Work for the background; a function is called only if the work comes to run, as the app may be left at once."""


class ScreenHost(Protocol):
    """The screen as its controllers see it: most of it is Textual's own."""

    @property
    def app(self) -> App[Any]:
        """The application, for opening cards and for the clipboard."""

    def run_worker(self, work: Work, *, name: str, group: str = ..., exclusive: bool = ...) -> Worker[None]:
        """Run work in the background."""

    def set_timer(self, delay: float, callback: Callable[[], Any]) -> Timer:
        """Call something after that many seconds."""

    def call_later(self, callback: Callable[..., Any], *args: Any) -> bool:
        """Call something once the messages that wait have been handled."""

    def call_next(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call something right after the current message."""

    def post_message(self, message: Message) -> bool:
        """Send a message, which the screen routes to the controller it concerns."""

    def notify(
        self, message: str, *, severity: Literal["information", "warning", "error"] = ..., markup: bool = ...
    ) -> None:
        """Show a notification."""

    async def run_action(self, action: str) -> None:
        """Run an action of the screen or of the app by its name."""

    async def redraw(self) -> None:
        """Show the chat and branch that the session holds now."""

    def chats_changed(self) -> None:
        """Refresh whatever lists the chats."""
