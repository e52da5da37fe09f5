"""The keys of reading mode, in which one turn of the conversation is marked.

They are obeyed while the conversation has the focus and nowhere else; a letter that is none of them is the first one
of a message. Each is about the marked turn.
"""

from __future__ import annotations

from textual.binding import Binding, BindingType

from edgechat.i18n.catalog import N_


def _ask(keys: str, action: str, name: str, tooltip: str) -> Binding:
    return Binding(keys, f"ask('{action}')", name, id=f"turn.{action}", tooltip=tooltip)


READING_BINDINGS: list[BindingType] = [
    Binding("j,down", "move(1)", N_("Next"), id="turn.next", tooltip=N_("Reading: the next message")),
    Binding("k,up", "move(-1)", N_("Before"), id="turn.before", tooltip=N_("Reading: the message before")),
    Binding("g,home", "mark_first", N_("First"), id="turn.first", tooltip=N_("Reading: the first message")),
    Binding("G,end", "mark_last", N_("Last"), id="turn.last", tooltip=N_("Reading: the last message")),
    _ask("y", "copy", N_("Copy"), N_("Reading: copy the reply as Markdown")),
    _ask("c", "code", N_("Copy code"), N_("Reading: copy the next block of code in the reply")),
    _ask("e", "edit", N_("Edit"), N_("Reading: say something else here; what was said stays, as another version")),
    _ask("r", "again", N_("Again"), N_("Reading: another reply; the one there stays")),
    _ask("o", "resume", N_("Go on"), N_("Reading: go on with the last reply where it was stopped or cut")),
    _ask("b", "cycle", N_("Versions"), N_("Reading: the next version of this message or reply, and around")),
    _ask("left", "previous", N_("Previous version"), N_("Reading: the previous version of this message or reply")),
    _ask("right", "following", N_("Next version"), N_("Reading: the next version of this message or reply")),
    _ask("d,delete", "delete", N_("Delete"), N_("Reading: delete this message and all that follows it")),
    _ask("u", "undo", N_("Undo"), N_("Reading: have back what was deleted last")),
    _ask("plus", "like", N_("Good"), N_("Reading: the reply is good; again takes it back")),
    _ask("minus", "dislike", N_("Bad"), N_("Reading: the reply is bad; again takes it back")),
    _ask("n", "note", N_("Note"), N_("Reading: write a note about the reply")),
    _ask("p", "prompt", N_("Prompt"), N_("Reading: show what the model read for this reply")),
    _ask("asterisk", "pin", N_("Always send"), N_("Reading: send this message always, also when the chat is full")),
    Binding("enter,i,escape", "leave", N_("Write"), id="turn.leave", tooltip=N_("Reading: back to the composer")),
]
