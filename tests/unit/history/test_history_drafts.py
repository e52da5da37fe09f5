"""Messages being written, kept by chat."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from edgechat.history.drafts import Draft
from edgechat.history.store import HistoryStore

DRAFT = Draft("see [pasted 3 lines] שלום 😀", {"[pasted 3 lines]": "a\nb\nc"})


def test_each_chat_has_its_draft(tmp_path: Path) -> None:
    store = HistoryStore.open(tmp_path / "h.db")
    chat = store.create_conversation().id
    store.drafts.save(0, Draft("new"))
    store.drafts.save(chat, DRAFT)
    store.close()
    store = HistoryStore.open(tmp_path / "h.db")
    assert store.drafts.get(0) == Draft("new")
    assert store.drafts.get(chat) == DRAFT
    store.drafts.save(chat, Draft())
    assert store.drafts.get(chat) == Draft()
    store.close()


def test_a_purged_chat_takes_its_draft_along(tmp_path: Path) -> None:
    store = HistoryStore.open(tmp_path / "h.db")
    chat = store.create_conversation().id
    store.drafts.save(chat, DRAFT)
    store.chats.delete(chat)
    assert store.drafts.get(chat) == DRAFT  # it may be had back
    store.chats.purge()
    assert store.drafts.get(chat) == Draft()
    store.close()


def test_a_history_that_keeps_nothing_keeps_drafts_in_memory_only(tmp_path: Path) -> None:
    store = HistoryStore.in_memory()
    store.drafts.save(0, DRAFT)
    assert store.drafts.get(0) == DRAFT
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_draft_outlives_a_killed_process(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from edgechat.history.drafts import Draft\nfrom edgechat.history.store import HistoryStore\n"
        "HistoryStore.open(Path(sys.argv[1])).drafts.save(0, Draft('unsent'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path / "h.db")], check=False)
    assert ended.returncode == -signal.SIGKILL
    store = HistoryStore.open(tmp_path / "h.db")
    assert store.drafts.get(0) == Draft("unsent")
    store.close()


def test_messages_that_were_sent(tmp_path: Path) -> None:
    store = HistoryStore.open(tmp_path / "h.db")
    one, two = store.create_conversation().id, store.create_conversation().id
    first = store.add_turn(one, None, "first")
    store.add_turn(two, None, "second")
    store.add_turn(one, first.id, "first")
    assert store.drafts.sent() == ["second", "first"]
    assert store.drafts.sent(1) == ["first"]
    store.chats.delete(two)
    assert store.drafts.sent() == ["first"]
    store.close()
