"""A walk through the whole interface: the real program, the real model, a real terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgechat.settings.loader import config_path
from tests.support.chats import chat, last_chat
from tests.support.terminal import Terminal, needs_tmux

pytestmark = [pytest.mark.model, needs_tmux]


def close(terminal: Terminal, words: str) -> None:
    """Close a card, and see that it is gone."""
    terminal.press("Escape")
    terminal.wait_for_the_end_of(words)


def test_a_walk(home_with_model: Path) -> None:
    with chat(home_with_model, EDGECHAT_MAX_TOKENS="40", columns=120, rows=36) as terminal:
        terminal.wait_for("ready")
        terminal.wait_for("Search all chats")
        for question in ("What is the capital of France?", "Name a river."):
            terminal.press(question, "Enter")
            terminal.wait_for(question)
            terminal.wait_for("tok/s")
            terminal.wait_for("ready")
        # Reading: the first message, a thumb, a note.
        terminal.press("Escape")
        terminal.wait_for("reading: j k move")
        terminal.press("g", "+")
        terminal.wait_for("liked")
        terminal.press("n")
        terminal.wait_for("note")
        terminal.press("well said", "Enter")
        terminal.wait_for("well said")
        terminal.press("p")
        terminal.wait_for("<|im_start|>")
        close(terminal, "<|im_start|>")
        # Other screens, by key and by command.
        terminal.press("F10")
        terminal.wait_for("Speed here")
        close(terminal, "Speed here")
        terminal.press("F12")
        terminal.wait_for("edgechat.log")
        close(terminal, "edgechat.log")
        terminal.press("i")
        terminal.press("/stats", "Enter")
        terminal.wait_for("first word after")
        close(terminal, "first word after")
        terminal.press("C-s")
        terminal.wait_for("Repetition penalty")
        terminal.press("Down")
        terminal.wait_for("0 always takes the likeliest word")
        terminal.press("C-u")
        terminal.wait_for("changed")
        terminal.press("0.1")
        terminal.wait_for(" 0.1 ")
        terminal.press("C-s")
        terminal.wait_for_the_end_of("Repetition penalty")
        # Another chat, and back by the search.
        terminal.press("C-n")
        terminal.wait_for("Offline")
        terminal.press("/search river", "Enter")
        terminal.wait_for_the_end_of("Archived chats")
        terminal.press("Enter")
        terminal.wait_for("well said")
        terminal.press("a draft")
        terminal.wait_for("a draft")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")
    first, second = last_chat().turns
    assert (first.reply, second.reply) != (None, None)
    assert first.reply is not None
    assert (first.reply.rating, first.reply.note) == (1, "well said")
    assert "temperature" in config_path().read_text("utf-8")
    with chat(home_with_model, "--continue", columns=80, rows=24) as terminal:
        terminal.wait_for("ready")
        terminal.wait_for("a draft")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")


def test_in_hebrew(home_with_model: Path) -> None:
    with chat(home_with_model, LANG="he_IL.UTF-8", LC_ALL="C.UTF-8", EDGECHAT_LANGUAGE="he") as terminal:
        terminal.wait_for("ןכומ")  # "ready", in the order of the screen
        terminal.press("F1")
        terminal.wait_for("F10")
        close(terminal, "F10")
        terminal.press("C-q")
        terminal.wait_for("exit code 0")
