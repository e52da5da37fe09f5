"""Chats: list, show, search, carry."""

from __future__ import annotations

import click

from edgechat.cli.chats_carry import export_chats, import_chats


@click.group()
def chats() -> None:
    """Chats: list, show, search, carry."""


chats.add_command(export_chats)
chats.add_command(import_chats)
