"""Settings that are being changed: what is set, where from, and what is to be saved; the settings screen shows it.

Values are checked by `settings.loader` and in its words, and written into the user's file by `settings.writer`. What is
changed for one chat goes to the session. Nothing takes effect before it is saved, and nothing is drawn here.
"""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from edgechat.chat.conversation import ChatSettings
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import N_, _
from edgechat.i18n.error_messages import translate_error
from edgechat.settings.descriptions import WORDS
from edgechat.settings.loader import PREFIX, Settings, Source, check_value, config_path, device_path
from edgechat.settings.schema import Config, choices
from edgechat.tui import glyphs

if TYPE_CHECKING:
    from edgechat.session.session import Session
    from edgechat.tui.live_settings import LiveSettings

_SOURCES: dict[Source, str] = {
    "flag": N_("flag"),
    "environment": N_("environment"),
    "file": N_("your file"),
    "device": N_("device"),
    "default": N_("default"),
}

SWITCHES = tuple(key for key in Config.__struct_fields__ if isinstance(getattr(Config(), key), bool))

NAMED = {key: names for key in Config.__struct_fields__ if (names := choices(key))}
"""Settings that are one of a few names."""

_OF_ONE_CHAT = (*(field.name for field in fields(ChatSettings)), "system")
"""What a chat can have of its own."""


class SettingsDraft:
    """The settings of all chats, or of the one that is held, with what was changed of them.

    Attributes:
        one_chat: Whether it is about the chat that is held.
        faults: Why what was typed is not usable, by key.
    """

    def __init__(self, live: LiveSettings, session: Session) -> None:
        """Make a draft in which nothing is changed.

        Args:
            live: The settings of all chats.
            session: The chat that may have some of its own.
        """
        self._live = live
        self._session = session
        self._edits: dict[bool, dict[str, Any]] = {False: {}, True: {}}
        self.one_chat = False
        self.faults: dict[str, str] = {}

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self._live.current

    @property
    def edits(self) -> dict[str, Any]:
        """What was changed where it is looked at now, by key."""
        return self._edits[self.one_chat]

    @property
    def changed(self) -> bool:
        """Whether anything was changed, for all chats or for this one."""
        return any(self._edits.values())

    # What is set

    def names(self) -> list[str]:
        """The keys of the settings there are, in their order."""
        return [key for key in WORDS if key in Config.__struct_fields__ and (not self.one_chat or key in _OF_ONE_CHAT)]

    def value(self, key: str) -> Any:
        """What is to be set; None where a field is left empty for the default."""
        return self.edits.get(key, self.now(key))

    def now(self, key: str) -> Any:
        """What is in force; None where a field is left empty for the default."""
        if self.one_chat:
            chat = self._session.conversation
            return chat.system if key == "system" else getattr(chat.settings, key)
        value = getattr(self.settings.config, key)
        chosen = (*SWITCHES, *NAMED, "plain", "theme", "language", "persona")
        return value if key in chosen or self.settings.source(key) != "default" else None

    def unset(self, key: str) -> str:
        """What an empty field stands for."""
        if self.one_chat and key == "system":
            return _("no system message")
        value = getattr(self.settings.config if self.one_chat else Config(), key)
        return as_typed(value) if value is not None else _(WORDS[key].unset)

    def fixed(self, key: str) -> str:
        """Why a setting cannot be changed here; empty where it can."""
        if key in self.settings.locked:
            return _("locked by this device: {path}").format(path=device_path())
        if key == "theme" and self._live.colourless:
            return _("NO_COLOR asks for no colours")
        return ""

    def origin(self, key: str) -> str:
        """Where a value comes from, in a word or two."""
        if key in self.settings.locked:
            return f"{glyphs.LOCK} {_('locked')}"
        if self.one_chat:
            return _("this chat") if self.now(key) is not None else _("as all")
        return _(_SOURCES[self.settings.source(key)])

    def where(self, key: str) -> str:
        """Where a value comes from, in a sentence."""
        if self.one_chat:
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

    def type(self, key: str, text: str) -> None:
        """Take what is typed for a setting; what is not usable is a fault until it is typed otherwise."""
        text = text.strip() if key != "system" else text.replace("\\n", "\n")
        self.faults.pop(key, None)
        value: Any = None
        if text or (key == "system" and self.one_chat):
            try:
                value = check_value(key, text)
            except EdgechatError as error:
                self.faults[key] = translate_error(error.message)
        self.edit(key, value)

    def edit(self, key: str, value: Any) -> None:
        """Change a setting; to what it is already is no change."""
        self.edits[key] = value
        if value == self.now(key) and key not in self.faults:
            del self.edits[key]

    # What is saved

    @property
    def changes_model(self) -> bool:
        """Whether another model is chosen."""
        return "model_uri" in self._edits[False]

    @property
    def wants_reload(self) -> bool:
        """Whether something is changed that takes effect when a model is loaded, and counts."""
        over = ("flag", "environment")
        return any(WORDS[key].reload and self.settings.source(key) not in over for key in self._edits[False])

    async def save(self) -> list[str]:
        """Save what was changed, for all chats and for this one.

        Returns:
            What was done, in sentences.

        Raises:
            EdgechatError: Something could not be written; what was not saved is still in the draft.
        """
        return await self._save_for_all() + await self._save_for_one()

    async def _save_for_all(self) -> list[str]:
        edits = self._edits[False]
        if not edits:
            return []
        from edgechat.settings.writer import save

        path = await asyncio.to_thread(save, edits)
        settings = await asyncio.to_thread(self._live.read)
        lines = [_("Saved in {path}.").format(path=path)]
        over = [key for key in edits if settings.source(key) in ("flag", "environment")]
        if over:
            lines.append(_("The command line or a variable still goes before: {keys}.").format(keys=", ".join(over)))
        edits.clear()
        self._live.apply(settings)
        return lines

    async def _save_for_one(self) -> list[str]:
        edits = self._edits[True]
        if not edits:
            return []
        chat = self._session.conversation
        system = edits.get("system", chat.system) or ""
        own = {field.name: edits.get(field.name, getattr(chat.settings, field.name)) for field in fields(ChatSettings)}
        await self._session.chat.configure(system, ChatSettings(**own))
        edits.clear()
        return [_("Saved for this chat.")]


def as_typed(value: Any) -> str:
    """A value as it is typed."""
    return "" if value is None else str(value).replace("\n", "\\n")
