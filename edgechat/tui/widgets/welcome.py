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
from edgechat.i18n import N_, _
from edgechat.tui import glyphs
from edgechat.tui.themes import MUTED

KEYS = (
    ("Enter", N_("send")),
    ("Ctrl+J", N_("new line, also Shift+Enter")),
    ("Esc", N_("stop a reply, keep its text")),
    ("Ctrl+N", N_("new chat")),
    ("Ctrl+P", N_("all commands, themes")),
    ("F1", N_("help")),
    ("Ctrl+Q", N_("quit")),
)


class Welcome(Widget):
    """Teaches an empty screen."""

    info: reactive[ModelInfo | None] = reactive(None, layout=True)
    failed: reactive[bool] = reactive(False, layout=True)

    def render(self) -> RenderResult:
        """The mark, the promise, the model, the keys; in a low window only what fits."""
        lines = [
            Content.assemble((f"{glyphs.MARK} ", "$primary"), ("edgechat", "bold")),
            Content(_("A model on this machine. Nothing you write leaves it.")),
            self._model(),
        ]
        low = self.app.size.height < 20
        keys = KEYS[:3] if low else KEYS
        width = max(len(key) for key, _ in keys) + 2
        rows = [Content.assemble((key.ljust(width), "bold $text-primary"), (_(what), MUTED)) for key, what in keys]
        gap = [] if low else [Content()]
        return Content("\n").join([lines[0], *gap, *lines[1:], *gap, *rows])

    def _model(self) -> Content:
        if self.info is None and self.failed:
            return Content.styled(_("No model is loaded; sending a message tries again."), MUTED)
        if self.info is None:
            return Content.styled(_("The model is being loaded; you can write already."), MUTED)
        words = [printable(self.info.name)]
        if self.info.context:
            words.append(_("{n} tokens of context").format(n=f"{self.info.context:,}"))
        return Content.styled(f" {glyphs.DOT} ".join(words), MUTED)
