"""The parts of the composer, without a screen."""

from __future__ import annotations

from edgechat.history.drafts import Draft
from edgechat.tui.widgets.collapsed_text import Folds
from edgechat.tui.widgets.pending_drafts import PendingDrafts
from edgechat.tui.widgets.sent_history import SentHistory


def test_what_was_written_at_a_place_is_there_again() -> None:
    sent = SentHistory()
    sent.prepend(["one"])
    sent.add_sent("two")
    sent.add_sent("two")
    assert sent.at_draft
    assert sent.recall(-1, Draft("new")) == "two"
    assert sent.recall(-1, Draft("two, changed")) == "one"
    assert sent.at_oldest
    assert sent.recall(1, Draft("one")) == Draft("two, changed")
    assert sent.recall(1, Draft("two, changed")) == Draft("new")
    assert sent.at_draft


def test_what_was_written_elsewhere_is_not_lost() -> None:
    sent = SentHistory()
    sent.add_sent("one")
    sent.add_sent("two")
    sent.recall(-1, Draft("new"))
    assert list(sent.unsent(Draft("two"), str)) == [Draft("new")], "what was sent is no draft"
    assert list(sent.unsent(Draft("two, changed"), str)) == [Draft("two, changed"), Draft("new")]
    sent.prepend(["zero"])
    assert list(sent.unsent(Draft("two"), str)) == [Draft("new")]
    sent.reset()
    assert list(sent.unsent(Draft(""), str)) == [Draft("")]


def test_a_message_is_pending_until_it_is_stored() -> None:
    pending = PendingDrafts()
    pending.send(Draft("message"))
    assert pending.with_shown(Draft("next"), [Draft("next")]).text == "message\nnext"
    pending.stored()
    assert pending.with_shown(Draft("next"), [Draft("next")]).text == "next"
    assert pending.take_back() == Draft()


def test_a_command_is_pending_until_it_ends() -> None:
    pending = PendingDrafts()
    pending.start_command("/a", Draft("/a"))
    pending.start_command("/b", Draft("/b"))
    assert pending.with_commands(Draft("next")).text == "/a\n/b\nnext"
    assert pending.end_command("/a") == Draft("/a")
    assert pending.end_command("/a") == Draft()
    pending.send_command("/b")
    assert pending.take_back() == Draft("/b")


def test_a_draft_waits_while_a_sent_message_is_edited() -> None:
    pending = PendingDrafts()
    pending.start_edit(Draft("draft"))
    pending.edit_shown("sent")
    pending.start_edit(Draft("sent"))
    assert pending.editing
    assert pending.with_shown(Draft("sent"), []).text == "draft", "it is stored as it is"
    assert pending.with_shown(Draft("sent, changed"), []).text == "sent, changed\ndraft"
    assert pending.end_edit() == Draft("draft")
    assert pending.end_edit() is None


def test_a_place_within_a_label_is_moved_out_of_it() -> None:
    folds = Folds({"[file]": "text"})
    assert folds.outside("a [file] b", 4, after=True) == 8
    assert folds.outside("a [file] b", 4, after=False) == 2
    assert folds.outside("a [file] b", 2, after=True) == 2
