"""The settings, over the chat: a line for each, with where it comes from.

What is changed is a draft, see `tui.settings_draft`, and nothing takes effect before it is saved; but for the theme,
which is shown at once and taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from edgechat.chat.sanitize import printable
from edgechat.errors import EdgechatError
from edgechat.i18n import catalog
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.error_messages import format_error, translate_error
from edgechat.settings.descriptions import WORDS
from edgechat.settings.personas import all_personas
from edgechat.settings.schema import Config, permitted
from edgechat.tui import glyphs
from edgechat.tui.dialogs.base import Card
from edgechat.tui.dialogs.confirm_reload import ReloadScreen
from edgechat.tui.settings_draft import NAMED, SWITCHES, SettingsDraft, as_typed
from edgechat.tui.themes import MUTED
from edgechat.tui.widgets.cycle_select import Choice
from edgechat.tui.widgets.markdown_layout import wrapped

if TYPE_CHECKING:
    from edgechat.session.session import Session
    from edgechat.tui.live_settings import LiveSettings

_POLICIES = (("ask", N_("ask")), ("oldest", N_("leave out the oldest")), ("summarise", N_("sum up the oldest")))

NARROW = 60
"""Columns below which a line is too short for all that is told of a setting."""

SIDES = 6
"""Columns of the card beside its text."""


class SettingsScreen(Card[None]):
    """The settings of all chats, or of the one that is held."""

    DEFAULT_CSS = """
    SettingsScreen .setting {
        height: 1;
    }
    SettingsScreen .setting-title {
        width: 20;
    }
    SettingsScreen .setting Input {
        width: 1fr;
    }
    SettingsScreen .setting-source {
        width: 14;
        padding: 0 0 0 1;
        color: $text-muted;
    }
    SettingsScreen .setting-source.-wrong {
        color: $text-error;
    }
    SettingsScreen .setting-group {
        margin: 1 0 0 0;
        color: $text-primary;
        text-style: bold;
    }
    SettingsScreen #for .setting-title {
        text-style: bold;
    }
    SettingsScreen #card-keys {
        height: 3;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    SettingsScreen.-narrow .setting-title {
        width: 15;
    }
    SettingsScreen.-narrow .setting-source {
        display: none;
    }
    SettingsScreen.-narrow .setting-source.-wrong {
        display: block;
        width: 3;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", N_("Save"), id="settings.save", tooltip=N_("Save the settings"), priority=True),
        Binding("down", "move(1)", N_("Next"), id="settings.next", tooltip=N_("The next setting"), priority=True),
        Binding("up", "move(-1)", N_("Previous"), id="settings.previous", tooltip=N_("The setting before"),
                priority=True),
        Binding("ctrl+d", "unset", N_("Default"), id="settings.unset", tooltip=N_("Leave the setting to its default")),
    ]  # fmt: skip

    KEY_LINES = 3

    def __init__(self, live: LiveSettings, session: Session, switch_model: Callable[[str | None], None]) -> None:
        """Make the screen.

        Args:
            live: The settings in force.
            session: The chat that may have settings of its own.
            switch_model: Goes on with another model, or loads the same one again.
        """
        super().__init__(_("Settings"), wide=True)
        self._live = live
        self._session = session
        self._switch_model = switch_model
        self._draft = SettingsDraft(live, session)
        self._warned = False
        self._saving = False
        self._laid = True  # whether the fields are those of what the draft is for now

    # What is shown

    def body(self) -> Iterable[Widget]:
        """A line for each setting, under headings."""
        scopes = ((False, _("all chats")), (True, _("this chat only")))
        with Horizontal(classes="setting", id="for"):
            yield Static(Content(_("For")), classes="setting-title")
            yield Choice(scopes, self._draft.one_chat, id="scope")
            yield Static("", classes="setting-source")
        yield from self._lines()

    def _lines(self) -> ComposeResult:
        group = ""
        for key in self._draft.names():
            words = WORDS[key]
            if words.group != group:
                group = words.group
                yield Static(Content(_(group)), classes="setting-group")
            with Horizontal(classes="setting"):
                yield Static(Content(_(words.title)), classes="setting-title")
                yield self._control(key)
                yield Static(Content(self._draft.origin(key)), classes="setting-source", id=f"source-{key}")

    def _control(self, key: str) -> Widget:
        value = self._draft.value(key)
        name, disabled = f"set-{key}", self._draft.fixed(key) != ""
        switch: list[tuple[bool | None, str]] = [(True, _("on")), (False, _("off"))]
        match key:
            case _ if key in SWITCHES:
                return Choice(switch, value, id=name, disabled=disabled)
            case "plain":
                return Choice([(None, _(WORDS[key].unset)), *switch], value, id=name, disabled=disabled)
            case "context_policy":
                options = tuple((policy, _(words)) for policy, words in _POLICIES)
                return Choice(options, value, id=name, disabled=disabled)
            case "theme":
                themes = sorted(self.app.available_themes, key=lambda theme: (not theme.startswith("edgechat"), theme))
                shown = [(None, _("as the terminal")), *((theme, theme) for theme in themes)]
                return Choice(shown, value, id=name, disabled=disabled)
            case "language":
                named = [(None, _("as the system")), *((code, code) for code in catalog.languages())]
                return Choice(named, value, id=name, disabled=disabled)
            case "persona":
                personas = all_personas()[0]
                known = [(None, _("none")), *((persona.name, persona.title) for persona in personas)]
                return Choice(known, value, id=name, disabled=disabled)
            case "keys":
                count = len(self._live.current.config.keys)
                return Choice([(None, _("{n} of your own").format(n=count))], None, id=name, disabled=disabled)
            case _ if key in NAMED:
                return Choice([(known, known) for known in NAMED[key]], value, id=name, disabled=disabled)
            case _:
                return Input(as_typed(value), placeholder=self._draft.unset(key), id=name, disabled=disabled)

    def on_mount(self) -> None:
        """Begin at the first setting."""
        self.query_one("#scope").focus()

    @on(events.DescendantFocus)
    def _explain(self) -> None:
        key = _key(self.focused)
        if key:
            words = WORDS[key]
            lines = [
                Content(f"{_(words.about)}: {translate_error(permitted(key))}."),
                Content(self._draft.fixed(key) or self._draft.where(key)),
            ]
            if key in self._draft.faults:
                lines[1] = Content.styled(f"{glyphs.FAILED} {printable(self._draft.faults[key])}.", "$text-error")
        else:
            lines = [
                Content(_("For all chats, or only for the one that is open.")),
                Content(),
            ]
        keys = _("Ctrl+S saves, Ctrl+D takes the default, Esc closes")
        if (width := self.app.size.width) < NARROW:  # what matters most, in two lines, and the keys nobody can miss
            first, *more = wrapped(lines[1] if key in self._draft.faults else lines[0], max(1, width - SIDES))
            lines = [first.content, Content(" ").join(line.content for line in more)]
            keys = _("Ctrl+S saves, Esc closes")
        self.query_one("#card-keys", Static).update(Content("\n").join([*lines, Content.styled(keys, MUTED)]))

    # What is changed

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        if not self._is_of_now(message.input):
            return
        key = _key(message.input)
        self._draft.type(key, message.value)
        self._show_edited(key)

    @on(Choice.Changed)
    def _chosen(self, message: Choice.Changed) -> None:
        if message.choice.id == "scope":
            self._take_all()
            self._laid = False
            self._draft.one_chat = message.choice.value
            self._draft.faults.clear()
            self.run_worker(self._show_scope(), name="scope", exclusive=True)
            return
        if not self._is_of_now(message.choice):
            return
        key = _key(message.choice)
        if key == "keys":  # they are changed, and saved, in a card of their own
            from edgechat.tui.dialogs.keys import KeysScreen

            self.app.push_screen(KeysScreen(self._live))
            return
        self._draft.edit(key, message.choice.value)
        self._show_edited(key)
        if key == "theme":
            self._live.preview_theme(message.choice.value)

    def _is_of_now(self, field: Widget) -> bool:
        """Whether a field is of what the draft is for now: its message may come when it is gone already."""
        return self._laid and field.is_attached

    async def _show_scope(self) -> None:
        body = self.query_one("#card-body")
        await body.query(".setting-group").remove()
        await body.query(".setting").exclude("#for").remove()
        await body.mount_compose(self._lines())
        self._laid = True

    def _show_edited(self, key: str) -> None:
        self._warned = False
        wrong = key in self._draft.faults
        source = self.query_one(f"#source-{key}", Static)
        source.set_class(wrong, "-wrong")
        if wrong:
            source.update(Content(f"{glyphs.FAILED} {_('not usable')}"))
        else:
            source.update(Content(_("changed") if key in self._draft.edits else self._draft.origin(key)))
        self._explain()

    def action_move(self, by: int) -> None:
        """Go to another setting."""
        if by > 0:
            self.focus_next()
        else:
            self.focus_previous()

    def action_unset(self) -> None:
        """Leave the setting that is being looked at to its default."""
        key, control = _key(self.focused), self.focused
        if isinstance(control, Input):
            control.value = ""
        elif key and isinstance(control, Choice):
            control.choose(getattr(Config(), key))

    # Saving and closing

    def _take_all(self) -> None:
        """Take what the fields hold: the message of the last change may still be on its way."""
        if not self._laid:  # they were taken when they were left
            return
        for field in self.query("Input").results(Input):
            if key := _key(field):
                self._draft.type(key, field.value)
        for choice in self.query("Choice").results(Choice):
            if (key := _key(choice)) and key != "keys":
                self._draft.edit(key, choice.value)

    def action_close(self) -> None:
        """Close; what was changed and not saved is asked about once."""
        self._take_all()
        if self._draft.changed and not self._warned:
            self._warned = True
            self.app.notify(_("There are changes. Ctrl+S saves them, Esc again drops them."), markup=False)
            return
        self._live.preview_theme(self._live.current.config.theme)
        self.dismiss(None)

    def action_save(self) -> None:
        """Save what was changed, for all chats or for this one."""
        self._take_all()
        if self._draft.faults:
            key = next(iter(self._draft.faults))
            self.query_one(f"#set-{key}").focus()
            return
        if not self._saving:
            self._saving = True
            self.run_worker(self._save(), name="save")

    async def _save(self) -> None:
        try:
            reload, other = self._draft.wants_reload, self._draft.changes_model
            told = await self._draft.save()
        except EdgechatError as error:
            words = format_error(error.title, error.message, error.hint)
            self.app.notify(printable(words), severity="error", timeout=20, markup=False)
            return
        finally:
            self._saving = False
        self.app.notify(printable(" ".join(told) or _("Nothing was changed.")), timeout=10, markup=False)
        self.dismiss(None)
        if reload and self._session.info is not None:
            uri = self._live.current.config.model_uri if other else self._session.models.uri
            self.app.push_screen(ReloadScreen(), lambda now: self._switch_model(uri) if now else None)


def _key(control: Widget | None) -> str:
    """Which setting a control is for; empty for none."""
    name = control.id if control is not None and control.id else ""
    return name.removeprefix("set-") if name.startswith("set-") else ""
