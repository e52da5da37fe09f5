"""Imports, after the first paint, everything that is only needed once somebody asks for it."""


def import_dialogs() -> None:
    """Import the cards, the commands and the list of chats; slow, so for a thread.

    What is in the program's files must not be looked for later: somebody may have removed them by then.
    """
    import edgechat.slash.commands
    import edgechat.tui.chat.slash_commands
    import edgechat.tui.dialogs.doctor
    import edgechat.tui.dialogs.help
    import edgechat.tui.dialogs.keys
    import edgechat.tui.dialogs.log
    import edgechat.tui.dialogs.models
    import edgechat.tui.dialogs.palette
    import edgechat.tui.dialogs.personas
    import edgechat.tui.dialogs.prompt
    import edgechat.tui.dialogs.settings
    import edgechat.tui.dialogs.text
    import edgechat.tui.dialogs.text_prompt
    import edgechat.tui.widgets.reply_view
    import edgechat.tui.widgets.sidebar  # noqa: F401
