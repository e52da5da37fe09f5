"""A setting that is one of a few: the arrows go through them, and all that is shown is the one chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import RenderResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from edgechat.chat.sanitize import printable
from edgechat.i18n.catalog import N_
from edgechat.tui import glyphs
from edgechat.tui.themes import MUTED


class Choice(Widget, can_focus=True):
    """One of several values.

    Attributes:
        index: Which one is chosen.
    """

    DEFAULT_CSS = """
    Choice {
        height: 1;
        width: 1fr;
        padding: 0 1;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    Choice:focus {
        text-style: bold;
        background: $block-cursor-background;
        color: $block-cursor-foreground;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space,enter", "step(1)", N_("Next value"), id="choice.next", tooltip=N_("The next value")),
        Binding("left", "step(-1)", N_("Previous value"), id="choice.previous", tooltip=N_("The value before")),
    ]

    index: reactive[int] = reactive(0)

    @dataclass
    class Changed(Message):
        """Another value was chosen.

        Attributes:
            choice: The widget.
        """

        choice: Choice

    def __init__(self, options: Sequence[tuple[Any, str]], value: Any, **options_of_widget: Any) -> None:
        """Make the choice.

        Args:
            options: Values and the words for them, translated.
            value: The one chosen; one that is not among them is added.
            **options_of_widget: As for any widget.
        """
        super().__init__(**options_of_widget)
        self._options = list(options)
        if value not in [known for known, _ in self._options]:
            self._options.append((value, str(value)))
        self.set_reactive(Choice.index, [known for known, _ in self._options].index(value))

    @property
    def value(self) -> Any:
        """What is chosen."""
        return self._options[self.index][0]

    def render(self) -> RenderResult:
        """The words of the value between two signs that say that there are others."""
        words = printable(self._options[self.index][1])
        side = "" if self.has_focus else MUTED
        return Content.assemble((f"{glyphs.PREVIOUS} ", side), f"{words} ", (glyphs.NEXT, side))

    def choose(self, value: Any) -> None:
        """Choose a value; one that is not among them changes nothing."""
        for index, (known, _) in enumerate(self._options):
            if known == value and index != self.index:
                self.index = index
                self.post_message(self.Changed(self))

    def action_step(self, by: int) -> None:
        """Choose the next value, or the one before."""
        self.index = (self.index + by) % len(self._options)
        self.post_message(self.Changed(self))

    def on_click(self) -> None:
        """Choose the next value."""
        self.action_step(1)
