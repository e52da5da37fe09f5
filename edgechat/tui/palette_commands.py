"""What the command palette offers over the chat: everything that a key would do where the focus is, and more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.app import App, SystemCommand

from edgechat.i18n.catalog import N_, _
from edgechat.tui.keys import entries, key_words, keys_of
from edgechat.tui.themes import CONTRAST, DARK, LIGHT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.dom import DOMNode
    from textual.screen import Screen

    from edgechat.chat.context_window import Policy
    from edgechat.tui.chat.screen import ChatScreen
    from edgechat.tui.live_settings import LiveSettings

Command = tuple[str, str, Callable[[], object]]
"""A title, a few words about it, and what it does."""

_POLICIES: tuple[tuple[str, str, Policy], ...] = (
    (N_("ask"), N_("Stop and tell what would no longer be sent"), "ask"),
    (N_("leave out"), N_("The oldest messages are no longer sent; they stay in the history (F5)"), "oldest"),
    (N_("sum up"), N_("The model sums up the oldest messages; they stay in the history (F6)"), "summarise"),
)


def system_commands(
    app: App[Any], screen: Screen[object], commands: Iterable[Command], keys: Mapping[str, str]
) -> Iterator[SystemCommand]:
    """The commands that have a key where the focus is, in the order of the help, and then those that have none.

    Args:
        app: Runs them.
        screen: Where the focus is.
        commands: Commands by a better name than that of their key, and those without a key.
        keys: The user's own keys.
    """
    named = {_action_words(action): (title, words, action) for title, words, action in commands}
    focused = screen.focused
    places: list[DOMNode] = [*(focused.ancestors_with_self if focused is not None else [screen, app])]
    for entry in entries():
        place = next((place for place in places if isinstance(place, entry.owner)), None)
        if place is None or entry.id == "app.commands":
            continue
        title, _words, _action = named.pop(entry.action, (_(entry.title), "", None))
        shown = key_words(keys_of(entry, keys))
        yield SystemCommand(title, f"{_(entry.about)} ({shown})", partial(app.run_action, entry.action, place))
    for title, words, action in named.values():
        yield SystemCommand(title, words, action)


def _action_words(action: Callable[[], object]) -> object:
    """A command as bindings name it, such as "step(1)"; the command itself where they cannot."""
    if isinstance(action, partial):
        return f"{action.func.__name__.removeprefix('action_')}({', '.join(map(repr, action.args))})"
    name = getattr(action, "__name__", "")
    return name.removeprefix("action_") if name.startswith("action_") else action


def reply_commands(chat: ChatScreen) -> Iterator[Command]:
    """Commands about the reply and the context."""
    yield _("Stop the reply"), "", chat.action_stop
    yield _("Copy the last reply"), _("Put it into the clipboard as Markdown"), chat.action_copy_reply
    yield _("Show the prompt"), _("What the model reads, with its tokens"), chat.action_show_prompt
    for title, words, policy in _POLICIES:
        choose = partial(chat.action_choose_policy, policy)
        yield _("When the chat is full: {what}").format(what=_(title)), _(words), choose


def chat_commands(chat: ChatScreen) -> Iterator[Command]:
    """Commands about versions, deleting, and other chats."""
    yield _("Answer again"), _("Another reply to the last message; the old one stays (Ctrl+R)"), chat.action_regenerate
    yield _("Go on with the reply"), _("Where it was stopped, cut or interrupted (F7)"), chat.action_resume
    yield _("Edit the last message"), _("The old one and its replies stay (Ctrl+Up)"), chat.action_edit
    yield _("Previous version"), _("The reply or branch before this one (Alt+Left)"), partial(chat.action_step, -1)
    yield _("Next version"), _("The reply or branch after this one (Alt+Right)"), partial(chat.action_step, 1)
    yield _("Delete the last message"), _("With its replies; F9 has it back (F8)"), chat.action_delete_turn
    yield _("Delete this chat"), _("F9 has it back, for 30 days"), chat.action_delete_chat
    yield _("Undo deleting"), _("Have back what was deleted last (F9)"), chat.action_undelete
    yield _("Rename this chat"), _("Give it another title (F2)"), chat.action_rename
    yield _("Open another chat"), _("Choose from all, or search in them (Ctrl+O)"), chat.action_chats
    yield _("Open or fold the list of chats"), _("Beside the conversation, or over it (Ctrl+B)"), chat.action_sidebar
    yield _("Read the chat"), _("Choose a message and what to do with it (Shift+Tab)"), chat.action_read


def theme_commands(settings: LiveSettings, choose: Callable[[], None]) -> Iterator[Command]:
    """Commands about the colours.

    Args:
        settings: Saves the theme.
        choose: Shows all of them.
    """
    yield _("Dark colours"), _("Light text on ink"), lambda: settings.choose_theme(DARK.name)
    yield _("Light colours"), _("Dark text on paper"), lambda: settings.choose_theme(LIGHT.name)
    yield _("High contrast"), _("For those who need it"), lambda: settings.choose_theme(CONTRAST.name)
    yield _("Theme"), _("Choose from all themes"), choose
