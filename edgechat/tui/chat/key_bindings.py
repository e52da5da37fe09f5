"""The keys of the chat screen. Each names an action of the screen, which hands it to the controller it concerns.

They stand apart because they are read far more often than they are changed: the help shows them in this order.
"""

from __future__ import annotations

from textual.binding import Binding

from edgechat.i18n.catalog import N_

CHAT_BINDINGS = (
    Binding(
        "escape",
        "stop",
        N_("Stop"),
        id="chat.stop",
        tooltip=N_("Stop the reply and keep its text; with none, read the chat"),
    ),
    Binding("ctrl+n", "new_chat", N_("New chat"), id="chat.new", tooltip=N_("Begin a new chat; this one stays saved")),
    Binding("pageup", "scroll(-1)", N_("Scroll up"), id="chat.up", tooltip=N_("Scroll up a page"), priority=True),
    Binding(
        "pagedown", "scroll(1)", N_("Scroll down"), id="chat.down", tooltip=N_("Scroll down a page"), priority=True
    ),
    Binding(
        "ctrl+home", "top", N_("To the start"), id="chat.top", tooltip=N_("To the start of the chat"), priority=True
    ),
    Binding(
        "ctrl+end", "tail", N_("To the end"), id="chat.end", tooltip=N_("To the end, and follow it"), priority=True
    ),
    Binding(
        "f5",
        "choose_policy('oldest')",
        N_("Leave out"),
        id="chat.leave_out",
        tooltip=N_("When the chat is full: send on without its oldest messages"),
    ),
    Binding(
        "f6",
        "choose_policy('summarise')",
        N_("Sum up"),
        id="chat.sum_up",
        tooltip=N_("When the chat is full: have the model sum up its oldest messages"),
        priority=True,  # the composer would select a line
    ),
    Binding(
        "ctrl+g",
        "external_editor",
        N_("Editor"),
        id="composer.editor",
        tooltip=N_("Write the message in your own editor (EDITOR)"),
        priority=True,
    ),
    Binding("ctrl+r", "regenerate", N_("Again"), id="chat.regenerate", tooltip=N_("Answer the last message once more")),
    Binding(
        "f7,ctrl+t",
        "resume",
        N_("Go on"),
        id="chat.resume",
        tooltip=N_("Go on with a reply that was stopped or cut, or with a chat that is open for reading"),
        priority=True,  # the composer would select everything
    ),
    Binding("ctrl+up", "edit", N_("Edit"), id="chat.edit", tooltip=N_("Edit the last message; the old one stays")),
    Binding(
        "alt+left,f3",
        "step(-1)",
        N_("Previous version"),
        id="chat.previous",
        tooltip=N_("The previous version of the chat"),
    ),
    Binding("alt+right,f4", "step(1)", N_("Next version"), id="chat.next", tooltip=N_("The next version of the chat")),
    Binding(
        "f8",
        "delete_turn",
        N_("Delete"),
        id="chat.delete",
        tooltip=N_("Delete the last message and its replies"),
    ),
    Binding("f9", "undelete", N_("Undo"), id="chat.undelete", tooltip=N_("Have back what was deleted last")),
    Binding("f2", "rename", N_("Rename"), id="chat.rename", tooltip=N_("Give the chat another title")),
    Binding("shift+tab", "read", N_("Read"), id="chat.read", tooltip=N_("Read: choose a message and what to do")),
    Binding(
        "ctrl+b",
        "sidebar",
        N_("Sidebar"),
        id="chat.sidebar",
        tooltip=N_("Open or fold the list of chats"),
        priority=True,
    ),
    Binding("ctrl+o", "chats", N_("Chats"), id="chat.open", tooltip=N_("Open another chat, or search in all of them")),
)
