"""The models, over the chat: what is installed, each with its card and what can be known before it is loaded.

Names and metadata were written by whoever made a model; they are shown as text. The screen answers with a model's name
or the path that was typed, and loads nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static
from textual.worker import Worker

from edgechat.chat.sanitize import printable
from edgechat.doctor.preflight import preflight
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.error_messages import translate_error
from edgechat.models import speed_history
from edgechat.models.card import card_lines
from edgechat.models.default import adjacent_model, default_name
from edgechat.models.folder import ModelFolder
from edgechat.models.manifest import Check, size_check
from edgechat.models.sanitize import size_text
from edgechat.models.store import ModelStore
from edgechat.models.uri import resolve_model
from edgechat.runtime import paths
from edgechat.tui import glyphs
from edgechat.tui.dialogs.base import Card
from edgechat.tui.dialogs.doctor import drawn
from edgechat.tui.themes import MUTED

if TYPE_CHECKING:
    from edgechat.engine.protocol import ModelInfo

_LABEL = 14
"""Columns of the card's labels."""


class ModelsScreen(Card[str]):
    """The models. Answers with the one chosen."""

    DEFAULT_CSS = """
    ModelsScreen #models {
        max-height: 8;
        margin: 0 0 1 0;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    ModelsScreen Input {
        margin: 0 0 1 0;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", N_("Down"), id="models.down", tooltip=N_("The next model"), priority=True),
        Binding("up", "move(-1)", N_("Up"), id="models.up", tooltip=N_("The model before"), priority=True),
        Binding(
            "ctrl+r", "verify", N_("Verify"), id="models.verify", tooltip=N_("Read every byte of it"), priority=True
        ),
    ]

    def __init__(self, info: ModelInfo | None, context: int | None) -> None:
        """Make the screen.

        Args:
            info: The model that is loaded.
            context: Tokens the settings ask for.
        """
        super().__init__(_("Models"), N_("Enter goes on with it · Ctrl+R reads every byte · Esc closes"), wide=True)
        self._info = info
        self._wanted_context = context
        self._models: list[ModelFolder | tuple[str, EdgechatError]] = []
        self._default = ""

    def body(self) -> Iterable[Widget]:
        """The models, where to write a path, and the card of the one that is marked."""
        yield Input(placeholder=_("Path of a model folder, or choose one"))
        yield OptionList(id="models")
        yield Static(Content(_("Looking…")), id="model-card")

    @property
    def choices(self) -> OptionList:
        """The models."""
        return self.query_one(OptionList)

    @property
    def path(self) -> Input:
        """Where a path is written."""
        return self.query_one(Input)

    def on_mount(self) -> None:
        """Look for the models."""
        self.choices.can_focus = False
        self.run_worker(self._find(), name="models")

    async def _find(self) -> None:
        try:
            self._models, self._default = await asyncio.to_thread(_installed)
        except EdgechatError as error:
            self._tell(error)
            return
        self.choices.add_options([self._line(model) for model in self._models])
        names = [model.name if isinstance(model, ModelFolder) else model[0] for model in self._models]
        if not names:
            self._draw(Content(_("No model is installed. Write the path of a model folder above.")))
            return
        loaded = self._info.name if self._info is not None else self._default
        self.choices.highlighted = names.index(loaded) if loaded in names else 0

    def _line(self, model: ModelFolder | tuple[str, EdgechatError]) -> Content:
        if not isinstance(model, ModelFolder):
            return Content.assemble(printable(model[0]), (_("  cannot be opened"), "$text-error"))
        mark = glyphs.DONE if self._info is not None and self._info.name == model.name else " "
        facts = [model.architecture, size_text(model.size_bytes), model.quantisation]
        if model.name == self._default:
            facts.append(_("default"))
        shown = f" {glyphs.DOT} ".join(printable(fact) for fact in facts if fact)
        return Content.assemble(f"{mark} ", printable(model.name), (f"  {shown}", MUTED))

    @on(OptionList.OptionHighlighted)
    def _marked(self) -> None:
        self._show_card()

    @on(Input.Changed)
    def _path_changed(self) -> None:
        self._show_card()

    def _show_card(self, *, verify: bool = False) -> None:
        _worker: Worker[None] = self.run_worker(partial(self._look, verify), group="card", exclusive=True)

    async def _look(self, verify: bool) -> None:
        written, marked = self.path.value.strip(), self.choices.highlighted
        model: ModelFolder | tuple[str, EdgechatError]
        if written:
            await asyncio.sleep(0.2)  # somebody is writing
            try:
                model = await asyncio.to_thread(_opened, written)
            except EdgechatError as error:
                self._tell(error)
                return
        elif marked is None:
            return
        else:
            model = self._models[marked]
        if not isinstance(model, ModelFolder):
            self._tell(model[1])
            return
        if verify:
            self._draw(Content(_("Reading every byte…")))
        try:
            self._draw(await asyncio.to_thread(_card, model, self._wanted_context, verify))
        except EdgechatError as error:
            self._tell(error)

    def _tell(self, error: EdgechatError) -> None:
        parts = [
            (translate_error(error.title), "bold $text-error"),
            (translate_error(error.message), ""),
            (translate_error(error.hint), MUTED),
        ]
        self._draw(Content("\n").join(Content.styled(printable(text), style) for text, style in parts if text))

    def _draw(self, content: Content) -> None:
        self.query_one("#model-card", Static).update(content)

    def action_move(self, by: int) -> None:
        """Mark the next model or the one before, without leaving the path."""
        if by > 0:
            self.choices.action_cursor_down()
        else:
            self.choices.action_cursor_up()

    def action_verify(self) -> None:
        """Read every byte of the model that is marked, and compare with its manifest."""
        self._show_card(verify=True)

    @on(Input.Submitted)
    def _choose(self) -> None:
        if written := self.path.value.strip():
            self.dismiss(str(paths.expand_user(Path(written))) if written.startswith("~") else written)
        elif self.choices.highlighted is not None:
            self._answer(self._models[self.choices.highlighted])

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        self._answer(self._models[message.option_index])

    def _answer(self, model: ModelFolder | tuple[str, EdgechatError]) -> None:
        if not isinstance(model, ModelFolder):
            return  # its card says why
        if self._info is not None and self._info.name == model.name:
            self.dismiss(None)  # it is the one that is loaded
        else:
            self.dismiss(model.name if ModelStore().has(model.name) else str(model.root))


def _installed() -> tuple[list[ModelFolder | tuple[str, EdgechatError]], str]:
    """The models, those that cannot be opened with the reason, and which is used when none is named."""
    entries = ModelStore().entries()
    found: list[ModelFolder | tuple[str, EdgechatError]] = []
    default = default_name(entries)
    try:
        if (carried := adjacent_model()) is not None:
            found.append(carried)
            default = carried.name
    except EdgechatError:
        default = ""  # the start told of it
    for entry in entries:
        if entry.model is not None:
            found.append(entry.model)
        elif entry.error is not None:
            found.append((entry.name, entry.error))
    return found, default


def _opened(path: str) -> ModelFolder:
    from edgechat.slash.files import parsed_path

    return resolve_model(str(parsed_path(path)))


def _card(model: ModelFolder, context: int | None, verify: bool) -> Content:
    """What a model is, and what is known before it is loaded."""
    findings = preflight(model, context=context, verify=verify)
    bad = any(finding.id == "files" and finding.state == "fail" for finding in findings)
    check = Check("unverified") if bad else size_check(model.root)
    lines = [
        Content.assemble((f"{_(label):<{_LABEL}}", MUTED), printable(value))
        for label, value in card_lines(model, check, speed_history.measured(model.name))
        if value and label not in ("Folder", "Verified")
    ]
    return Content("\n").join([*map(drawn, findings), Content(""), *lines])
