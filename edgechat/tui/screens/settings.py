"""The settings: what they are, where each comes from, and what may be changed here.

Values are checked while they are typed, by `config` and in its words, and written into the user's file by
`settings_file`. What is changed for one chat goes to the session. Nothing is changed before it is saved, but for the
theme, which is shown at once and taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from edgechat import i18n
from edgechat.chat.conversation import ChatSettings
from edgechat.chat.text import printable
from edgechat.config import PREFIX, Config, Settings, Source, check_value, config_path, device_path
from edgechat.errors import EdgechatError
from edgechat.i18n import N_, _, in_words, told
from edgechat.personas import all_personas
from edgechat.settings_words import WORDS
from edgechat.tui import glyphs
from edgechat.tui.screens.card import Card
from edgechat.tui.themes import MUTED
from edgechat.tui.widgets.choice import Choice
from edgechat.tui.widgets.prose import wrapped

if TYPE_CHECKING:
    from edgechat.tui.app import EdgechatApp

_SOURCES: dict[Source, str] = {
    "flag": N_("flag"),
    "environment": N_("environment"),
    "file": N_("your file"),
    "device": N_("device"),
    "default": N_("default"),
}

_POLICIES = (("ask", N_("ask")), ("oldest", N_("leave out the oldest")), ("summarise", N_("sum up the oldest")))

_SWITCHES = tuple(key for key in Config.__struct_fields__ if isinstance(getattr(Config(), key), bool))

_NAMED = {key: get_args(kind) for key, kind in get_type_hints(Config).items() if get_origin(kind) is Literal}
"""Settings that are one of a few names."""

NARROW = 60
"""Columns below which a line is too short for all that is told of a setting."""

SIDES = 6
"""Columns of the card beside its text."""

_OF_ONE_CHAT = (*(field.name for field in fields(ChatSettings)), "system")
"""What a chat can have of its own."""


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
    app: EdgechatApp

    def __init__(self) -> None:
        """Make the screen for the app it is opened in."""
        super().__init__(_("Settings"), wide=True)
        self._one_chat = False
        self._edits: dict[bool, dict[str, Any]] = {False: {}, True: {}}
        self._faults: dict[str, str] = {}
        self._warned = False
        self._saving = False

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self.app.settings

    # What is shown

    def body(self) -> Iterable[Widget]:
        """A line for each setting, under headings."""
        scopes = ((False, _("all chats")), (True, _("this chat only")))
        with Horizontal(classes="setting", id="for"):
            yield Static(Content(_("For")), classes="setting-title")
            yield Choice(scopes, self._one_chat, id="scope")
            yield Static("", classes="setting-source")
        yield from self._lines()

    def _lines(self) -> ComposeResult:
        group = ""
        for key, words in WORDS.items():
            if key not in Config.__struct_fields__ or (self._one_chat and key not in _OF_ONE_CHAT):
                continue
            if words.group != group:
                group = words.group
                yield Static(Content(_(group)), classes="setting-group")
            with Horizontal(classes="setting"):
                yield Static(Content(_(words.title)), classes="setting-title")
                yield self._control(key)
                yield Static(self._origin(key), classes="setting-source", id=f"source-{key}")

    def _control(self, key: str) -> Widget:
        value = self._edits[self._one_chat].get(key, self._now(key))
        name, disabled = f"set-{key}", self._fixed(key) != ""
        switch: list[tuple[bool | None, str]] = [(True, _("on")), (False, _("off"))]
        match key:
            case _ if key in _SWITCHES:
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
                named = [(None, _("as the system")), *((code, code) for code in i18n.languages())]
                return Choice(named, value, id=name, disabled=disabled)
            case "persona":
                personas = all_personas()[0]
                known = [(None, _("none")), *((persona.name, persona.title) for persona in personas)]
                return Choice(known, value, id=name, disabled=disabled)
            case "keys":
                count = len(self.settings.config.keys)
                return Choice([(None, _("{n} of your own").format(n=count))], None, id=name, disabled=disabled)
            case _ if key in _NAMED:
                return Choice([(known, known) for known in _NAMED[key]], value, id=name, disabled=disabled)
            case _:
                return Input(_text(value), placeholder=self._unset(key), id=name, disabled=disabled)

    def _now(self, key: str) -> Any:
        """What is set; None where a field is left empty for the default."""
        if self._one_chat:
            chat = self.app.session.conversation
            return chat.system if key == "system" else getattr(chat.settings, key)
        value = getattr(self.settings.config, key)
        chosen = (*_SWITCHES, *_NAMED, "plain", "theme", "language", "persona")
        return value if key in chosen or self.settings.source(key) != "default" else None

    def _unset(self, key: str) -> str:
        """What an empty field stands for."""
        if self._one_chat and key == "system":
            return _("no system message")
        value = getattr(self.settings.config if self._one_chat else Config(), key)
        return _text(value) if value is not None else _(WORDS[key].unset)

    def _fixed(self, key: str) -> str:
        """Why a setting cannot be changed here; empty where it can."""
        if key in self.settings.locked:
            return _("locked by this device: {path}").format(path=device_path())
        if key == "theme" and self.app.no_color:
            return _("NO_COLOR asks for no colours")
        return ""

    def _origin(self, key: str) -> Content:
        if key in self.settings.locked:
            return Content(f"{glyphs.LOCK} {_('locked')}")
        if self._one_chat:
            return Content(_("this chat") if self._now(key) is not None else _("as all"))
        return Content(_(_SOURCES[self.settings.source(key)]))

    def on_mount(self) -> None:
        """Begin at the first setting."""
        self.query_one("#scope").focus()

    @on(events.DescendantFocus)
    def _explain(self) -> None:
        key = _key(self.focused)
        if key:
            words = WORDS[key]
            lines = [Content(f"{_(words.about)}: {_(words.wanted)}."), Content(self._fixed(key) or self._where(key))]
            if key in self._faults:
                lines[1] = Content.styled(f"{glyphs.FAILED} {printable(self._faults[key])}.", "$text-error")
        else:
            lines = [
                Content(_("For all chats, or only for the one that is open.")),
                Content(),
            ]
        keys = _("Ctrl+S saves, Ctrl+D takes the default, Esc closes")
        if (width := self.app.size.width) < NARROW:  # what matters most, in two lines, and the keys nobody can miss
            first, *more = wrapped(lines[1] if key in self._faults else lines[0], max(1, width - SIDES))
            lines = [first.content, Content(" ").join(line.content for line in more)]
            keys = _("Ctrl+S saves, Esc closes")
        self.query_one("#card-keys", Static).update(Content("\n").join([*lines, Content.styled(keys, MUTED)]))

    def _where(self, key: str) -> str:
        """Where a value comes from, in a sentence."""
        if self._one_chat:
            return _("Only in this chat; an empty field is as in all chats.")
        match self.settings.source(key):
            case "flag":
                return _("It was given on the command line.")
            case "environment":
                return _("The variable {name} sets it, and goes before your file.").format(name=PREFIX + key.upper())
            case "device":
                return _("It is from this device's file, {path}.").format(path=device_path())
            case "file":
                return _("It is from your file, {path}.").format(path=config_path())
            case _:
                return _("It is the default.") + (" " + _("Used when a model is loaded.") if WORDS[key].reload else "")

    # What is changed

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        key = _key(message.input)
        text = message.value.strip() if key != "system" else message.value.replace("\\n", "\n")
        self._faults.pop(key, None)
        value: Any = None
        if text or (key == "system" and self._one_chat):
            try:
                value = check_value(key, text)
            except EdgechatError as error:
                self._faults[key] = told(error.message)
        self._edit(key, value)

    @on(Choice.Changed)
    def _chosen(self, message: Choice.Changed) -> None:
        if message.choice.id == "scope":
            self._one_chat = message.choice.value
            self._faults.clear()
            self.run_worker(self._show_scope(), name="scope", exclusive=True)
            return
        key = _key(message.choice)
        if key == "keys":  # they are changed, and saved, in a card of their own
            from edgechat.tui.screens.keys import KeysScreen

            self.app.push_screen(KeysScreen())
            return
        self._edit(key, message.choice.value)
        if key == "theme":
            self.app.theme = self.app.wanted_theme(message.choice.value)

    async def _show_scope(self) -> None:
        body = self.query_one("#card-body")
        await body.query(".setting-group").remove()
        await body.query(".setting").exclude("#for").remove()
        await body.mount_compose(self._lines())

    def _edit(self, key: str, value: Any) -> None:
        edits = self._edits[self._one_chat]
        edits[key] = value
        if value == self._now(key) and key not in self._faults:
            del edits[key]
        self._warned = False
        wrong = key in self._faults
        source = self.query_one(f"#source-{key}", Static)
        source.set_class(wrong, "-wrong")
        if wrong:
            source.update(Content(f"{glyphs.FAILED} {_('not usable')}"))
        else:
            source.update(Content(_("changed")) if key in edits else self._origin(key))
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

    def action_close(self) -> None:
        """Close; what was changed and not saved is asked about once."""
        if any(self._edits.values()) and not self._warned:
            self._warned = True
            self.app.notify(_("There are changes. Ctrl+S saves them, Esc again drops them."), markup=False)
            return
        self.app.theme = self.app.wanted_theme(self.settings.config.theme)
        self.dismiss(None)

    def action_save(self) -> None:
        """Save what was changed, for all chats or for this one."""
        if self._faults:
            key = next(iter(self._faults))
            self.query_one(f"#set-{key}").focus()
            return
        if not self._saving:
            self._saving = True
            self.run_worker(self._save(), name="save")

    async def _save(self) -> None:
        try:
            reload, other = self._wants_reload(), "model_uri" in self._edits[False]
            told = await self._save_for_all() + await self._save_for_one()
        except EdgechatError as error:
            words = in_words(error.title, error.message, error.hint)
            self.app.notify(printable(words), severity="error", timeout=20, markup=False)
            return
        finally:
            self._saving = False
        self.app.notify(printable(" ".join(told) or _("Nothing was changed.")), timeout=10, markup=False)
        self.dismiss(None)
        if reload and self.app.session.info is not None:
            uri = self.settings.config.model_uri if other else self.app.session.model_uri
            self.app.push_screen(ReloadScreen(), lambda now: self.app.switch_model(uri) if now else None)

    def _wants_reload(self) -> bool:
        """Whether something is changed that takes effect when a model is loaded, and counts."""
        over = ("flag", "environment")
        return any(WORDS[key].reload and self.settings.source(key) not in over for key in self._edits[False])

    async def _save_for_all(self) -> list[str]:
        edits = self._edits[False]
        if not edits:
            return []
        from edgechat.settings_file import save

        path = await asyncio.to_thread(save, edits)
        settings = await asyncio.to_thread(self.app.read_settings)
        told = [_("Saved in {path}.").format(path=path)]
        over = [key for key in edits if settings.source(key) in ("flag", "environment")]
        if over:
            told.append(_("The command line or a variable still goes before: {keys}.").format(keys=", ".join(over)))
        edits.clear()
        self.app.apply(settings)
        return told

    async def _save_for_one(self) -> list[str]:
        edits = self._edits[True]
        if not edits:
            return []
        chat = self.app.session.conversation
        system = edits.get("system", chat.system) or ""
        own = {field.name: edits.get(field.name, getattr(chat.settings, field.name)) for field in fields(ChatSettings)}
        await self.app.session.configure(system, ChatSettings(**own))
        edits.clear()
        return [_("Saved for this chat.")]


class ReloadScreen(Card[bool]):
    """Asks whether to load the model again now. Answers with True for that."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "reload", N_("Load"), id="settings.reload", tooltip=N_("Load the model again now")),
    ]

    def __init__(self) -> None:
        """Make the question."""
        super().__init__(_("Load the model again now?"), N_("Enter loads it, Esc leaves it for the next start"))

    def body(self) -> Iterable[Widget]:
        """Why."""
        words = _("Some of what you changed takes effect when the model is loaded. The chat stays as it is.")
        yield Static(Content(words))

    def action_reload(self) -> None:
        """Answer with yes."""
        self.dismiss(True)


def _key(control: Widget | None) -> str:
    """Which setting a control is for; empty for none."""
    name = control.id if control is not None and control.id else ""
    return name.removeprefix("set-") if name.startswith("set-") else ""


def _text(value: Any) -> str:
    """A value as it is typed."""
    return "" if value is None else str(value).replace("\n", "\\n")
