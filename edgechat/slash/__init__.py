"""Commands written in the place of a message: a line that begins with a slash is one.

Such a line is a command or an error, and never sent to a model, unless the slash is written twice. This module is part
of every start: it holds what is asked of each message, and imports nothing.
"""

from __future__ import annotations


def is_command(text: str) -> bool:
    """Whether a text is to be obeyed and not sent."""
    return text.startswith("/") and not text.startswith("//")


def message_of(text: str) -> str:
    """The message of a text that is no command: where two slashes begin it, one of them is meant."""
    return text[1:] if text.startswith("//") else text
