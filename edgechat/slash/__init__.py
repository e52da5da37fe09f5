"""Slash commands: a message line that starts with a slash is a command.

Such a line is a command or an error, and never sent to a model unless the slash is doubled. This module is loaded at
every start: it only has what is needed for each message, and imports nothing.
"""

from __future__ import annotations


def is_command(text: str) -> bool:
    """Whether a text is a command rather than a message."""
    return text.startswith("/") and not text.startswith("//")


def message_of(text: str) -> str:
    """Return the message for a text that is not a command: a leading double slash becomes a single one."""
    return text[1:] if text.startswith("//") else text
