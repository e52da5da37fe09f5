"""The settings that the device's owner decides; no chat may have its own value for them."""

from __future__ import annotations

from dataclasses import dataclass

from edgechat.errors import ConfigError
from edgechat.i18n.sentence import Sentence


@dataclass(slots=True)
class SettingLocks:
    """Which settings are locked. One object is shared by every part of a session that must obey it.

    Attributes:
        keys: Names of the locked settings.
    """

    keys: frozenset[str] = frozenset()

    def refuse(self, *keys: str) -> None:
        """Raise ConfigError if any of these settings is locked."""
        if locked := [key for key in keys if key in self.keys]:
            raise ConfigError(
                "Setting is locked", Sentence("{locked}: this device's file decides.", locked=", ".join(locked))
            )
