"""The empty state: what this is, which model answers, and the few keys that matter.

It is drawn before the model is known, and must never wait for it.
"""

from __future__ import annotations

from textual.app import RenderResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from edgechat.chat.text import printable
from edgechat.engine.base import ModelInfo
from edgechat.tui import glyphs
from edgechat.tui.themes import MUTED

KEYS = (
    ("Enter", "send"),
    ("Ctrl+J", "new line, also Shift+Enter"),
    ("Esc", "stop a reply, keep its text"),
    ("Ctrl+N", "new chat"),
    ("Ctrl+P", "all commands, themes"),
    ("F1", "help"),
    ("Ctrl+Q", "quit"),
)


class Welcome(Widget):
    """Teaches an empty screen."""

    info: reactive[ModelInfo | None] = reactive(None, layout=True)
    failed: reactive[bool] = reactive(False, layout=True)

    def render(self) -> RenderResult:
        """The mark, the promise, the model, the keys; in a low window only what fits."""
        lines = [
            Content.assemble((f"{glyphs.MARK} ", "$primary"), ("edgechat", "bold")),
            Content("A model on this machine. Nothing you write leaves it."),
            self._model(),
        ]
        low = self.app.size.height < 20
        keys = KEYS[:3] if low else KEYS
        width = max(len(key) for key, _ in keys) + 2
        rows = [Content.assemble((key.ljust(width), "bold $text-primary"), (what, MUTED)) for key, what in keys]
        gap = [] if low else [Content()]
        return Content("\n").join([lines[0], *gap, *lines[1:], *gap, *rows])

    def _model(self) -> Content:
        if self.info is None and self.failed:
            return Content.styled("No model is loaded; sending a message tries again.", MUTED)
        if self.info is None:
            return Content.styled("The model is being loaded; you can write already.", MUTED)
        words = [printable(self.info.name)]
        if self.info.context:
            words.append(f"{self.info.context:,} tokens of context")
        return Content.styled(f" {glyphs.DOT} ".join(words), MUTED)
