"""The empty state: what this is, which model answers, and the few keys that matter.

It is drawn before the model is known, and must never wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.app import RenderResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from edgechat.chat.sanitize import printable
from edgechat.engine.protocol import ModelInfo
from edgechat.i18n.catalog import N_, _
from edgechat.models.sanitize import size_text
from edgechat.tui import glyphs
from edgechat.tui.model_summary import ModelFacts
from edgechat.tui.themes import MUTED

KEYS = (
    ("Enter", N_("send")),
    ("Ctrl+J", N_("new line, also Shift+Enter")),
    ("Esc", N_("stop a reply, keep its text; then read: j k move, y copies")),
    ("Ctrl+N", N_("new chat")),
    ("Ctrl+B", N_("the list of chats; Ctrl+O searches in them")),
    ("Ctrl+P", N_("all commands, themes; / shows those one can write")),
    ("F1", N_("help")),
    ("Ctrl+Q", N_("quit")),
)


class Welcome(Widget):
    """Teaches an empty screen."""

    info: reactive[ModelInfo | None] = reactive(None, layout=True)
    facts: reactive[ModelFacts | None] = reactive(None, layout=True)
    first: reactive[bool] = reactive(False, layout=True)
    failed: reactive[bool] = reactive(False, layout=True)

    def render(self) -> RenderResult:
        """The mark, the promise, the model, the keys; in a low window only what fits."""
        low = self.app.size.height < 20
        gap = [] if low else [Content()]
        lines = [
            Content.assemble((f"{glyphs.MARK} ", "$primary"), ("edgechat", "bold")),
            *gap,
            Content(_("Offline: the model runs on this machine, and nothing you write leaves it.")),
            *(self._card() if self.first and not low else [self._model()]),
            *gap,
        ]
        keys = KEYS[:3] if low else KEYS
        return Content("\n").join([*lines, *_rows([(key, _(what)) for key, what in keys])])

    def _card(self) -> list[Content]:
        """The first start: the model that was found, a line for each fact."""
        facts, info = self._facts, self.info
        name = info.name if info is not None else facts.name if facts is not None else ""
        rows = [(_("Model"), printable(name))]
        if facts is not None:
            size = size_text(facts.size)
            rows.append((_("Size"), f"{size}, {printable(facts.weights)}" if facts.weights else size))
            rows.append((_("Licence"), printable(facts.licence) or _("not told")))
        if info is not None and info.context:
            rows.append((_("Context"), _("{n} tokens").format(n=f"{info.context:,}")))
        if not name:
            return [self._model()]
        state = [self._model()] if info is None else []
        return [Content(), *_rows(rows), *state]

    @property
    def _facts(self) -> ModelFacts | None:
        """The facts, if they are those of the model that answers."""
        known = self.facts
        return known if known is None or self.info is None or known.name == self.info.name else None

    def _model(self) -> Content:
        """The model on one line, or why there is none."""
        if self.info is None and self.failed:
            return Content.styled(_("No model is loaded; sending a message tries again."), MUTED)
        if self.info is None:
            return Content.styled(_("The model is being loaded; you can write already."), MUTED)
        words = [printable(self.info.name)]
        if (facts := self._facts) is not None:
            words += [part for part in (size_text(facts.size), printable(facts.licence)) if part]
        if self.info.context:
            words.append(_("{n} tokens of context").format(n=f"{self.info.context:,}"))
        return Content.styled(f" {glyphs.DOT} ".join(words), MUTED)


def _rows(pairs: Sequence[tuple[str, str]]) -> list[Content]:
    width = max((cell_len(label) for label, _what in pairs), default=0) + 2
    return [
        Content.assemble((label + " " * (width - cell_len(label)), "bold $text-primary"), (what, MUTED))
        for label, what in pairs
    ]
