"""Textual's command palette over a chat in which text may run from right to left. Importing it is for who opens it."""

from __future__ import annotations

from textual.command import CommandPalette

from edgechat.tui.direction import OverOthers


class Palette(OverOthers, CommandPalette):
    """The list of commands, or of whatever its providers offer."""
