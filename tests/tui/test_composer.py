"""Writing: long pastes, messages sent before, drafts, the length, attached files, the editor."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual import events

from edgechat.engine.scripted import ScriptedEngine
from edgechat.history.drafts import Draft
from edgechat.history.store import HistoryStore
from edgechat.session.session import Session
from edgechat.tui.app import EdgechatApp
from edgechat.tui.chat.draft_length import COUNT_AFTER
from edgechat.tui.external_editor import EditorError, editor_command
from tests.tui.conftest import MakeApp
from tests.tui.helpers import ask, ready, say, screen_text, told, until, write

LINES = "\n".join(f"line {n}" for n in range(3120))


def edge(app: EdgechatApp) -> str:
    return str(app.chat.composer.border_subtitle)


async def paste(app: EdgechatApp, text: str) -> None:
    app.chat.composer.post_message(events.Paste(text))


# Pastes


async def test_a_long_paste_is_folded_and_sent_whole(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["ok"], context=100_000))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("a", "space")
        await paste(app, LINES.replace("\n", "\r"))  # as terminals paste line ends
        await until(pilot, lambda: app.chat.composer.text == "a [pasted 3,120 lines]")
        await pilot.press("space", "z", "enter")
        await until(pilot, lambda: bool(app.session.conversation.turns) and not app.chat.sending)
        assert app.session.conversation.turns[0].user == f"a {LINES} z"


async def test_a_label_is_edited_as_one_character(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        composer = app.chat.composer
        await paste(app, LINES)
        await until(pilot, lambda: composer.text == "[pasted 3,120 lines]")
        await pilot.press("left", "left", "x")
        assert composer.text == "[pasted 3,120 lines]x"
        await pilot.press("backspace", "backspace")
        assert composer.text == ""
        await pilot.press("ctrl+z")
        assert composer.message.startswith(LINES)
        await pilot.press("home", "delete")
        assert composer.text == "x"


async def test_a_paste_of_100_kb_is_no_longer_than_its_label(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(context=1_000_000))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        for text in ("x" * 100_000, "word " * 20_000, "שלום 日本 😀\n" * 10_000):
            await paste(app, text)
            await until(pilot, lambda: bool(app.chat.composer.text))
            assert len(app.chat.composer.text) < 60
            assert app.chat.composer.message == text
            app.chat.composer.clear()


# Messages sent before


async def test_up_and_down_go_through_what_was_sent(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["ok"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        composer = app.chat.composer
        await say(pilot, "first")
        await say(pilot, "second\nof two lines")
        await pilot.press(*"draft")
        await pilot.press("up")
        assert composer.text == "second\nof two lines"
        await pilot.press("up", "up")  # through its lines first
        assert composer.text == "first"
        await pilot.press("up")
        assert composer.text == "first"
        await pilot.press("end", "x", "down", "down")
        assert composer.text == "draft"
        await pilot.press("up", "up", "up")
        assert composer.text == "firstx"  # what was changed there is kept until something is sent


async def test_what_other_chats_sent_can_be_had_again(make_app: MakeApp, history: Path) -> None:
    store = HistoryStore.open(history)
    store.add_turn(store.create_conversation().id, None, "long ago")
    store.close()
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("up")
        assert app.chat.composer.text == "long ago"


async def test_up_from_an_empty_composer_goes_to_the_conversation(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["ok"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "hello")
        await pilot.press("up", "backspace", "backspace", "backspace", "backspace", "backspace")
        assert app.chat.composer.text == ""
        await pilot.press("up")  # nothing was sent before that
        await until(pilot, lambda: app.focused is app.chat.view)


# Drafts


async def test_a_draft_is_kept_while_it_is_written(make_app: MakeApp, history: Path) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press(*"unsent")
        await paste(app, LINES)
        reader = HistoryStore.open(history)  # another process would see the same
        wanted = Draft("unsent[pasted 3,120 lines]", {"[pasted 3,120 lines]": LINES})
        await until(pilot, lambda: reader.drafts.get(0) == wanted)
        reader.close()
    again = make_app()
    async with again.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: again.chat.composer.message == f"unsent{LINES}")


async def test_the_last_words_are_kept_on_leaving(make_app: MakeApp, history: Path) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press(*"bye", "ctrl+q")
    store = HistoryStore.open(history)
    assert store.drafts.get(0).text == "bye"
    store.close()


async def test_each_chat_has_a_draft_of_its_own(make_app: MakeApp, history: Path) -> None:
    app = make_app(ScriptedEngine(["ok"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "a chat")
        await write(pilot, "for the old one")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: app.chat.composer.text == "")
        await write(pilot, "for the new one")
        await app.session.open(1)
        await app.chat.redraw()
        assert app.chat.composer.text == "for the old one"
        app.session.new()
        await app.chat.redraw()
        assert app.chat.composer.text == "for the new one"


async def test_a_message_that_was_sent_is_no_draft(make_app: MakeApp, history: Path) -> None:
    app = make_app(ScriptedEngine(["a long reply " * 20], delay=0.02))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await write(pilot, "question")
        store = HistoryStore.open(history)
        await until(pilot, lambda: store.drafts.get(0).text == "question")
        await pilot.press("enter", *"next")
        await until(pilot, lambda: store.drafts.get(1).text == "next")
        assert store.drafts.get(0) == Draft()
        store.close()
        await pilot.press("escape")
        await until(pilot, lambda: not app.chat.sending)


async def test_a_chat_that_is_not_kept_leaves_no_draft(tmp_path: Path) -> None:
    app = EdgechatApp(Session(ScriptedEngine(), HistoryStore.in_memory()))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press(*"secret")
        await until(pilot, lambda: app.chat.drafts.saved.text == "secret")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]


# The length


async def test_the_tokens_are_guessed_and_then_counted(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await write(pilot, "one two three")
        assert edge(app).startswith("\u2248")
        await until(pilot, lambda: edge(app) == "3 tokens, 3 of 4,096 with the chat")
        app.chat.composer.clear()
        await until(pilot, lambda: edge(app) == "")


async def test_what_is_written_during_a_reply_is_counted_with_it(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["one two three four five"], delay=0.05))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await write(pilot, "go")
        await pilot.press("enter")
        await until(pilot, lambda: app.session.busy)
        await write(pilot, "on and on")
        await until(pilot, lambda: not app.chat.sending)
        used = app.session.context_used + 3
        await until(pilot, lambda: edge(app) == f"3 tokens, {used} of 4,096 with the chat")


async def test_what_the_edge_says_is_whole_in_a_narrow_window(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["word " * 2_000], delay=0.02))
    async with app.run_test(size=(40, 12)) as pilot:
        await ready(pilot)

        async def shown(words: str) -> None:
            await until(pilot, lambda: edge(app).endswith(words) and f"{words} \u2500" in screen_text(pilot))

        await write(pilot, "word " * 999)
        await shown("999 tokens, 999 of 4,096")
        app.chat.composer.clear()
        await write(pilot, "go")
        await pilot.press("enter")
        await until(pilot, lambda: app.session.busy)
        await write(pilot, "on")
        await pilot.press("enter")
        await shown("Esc stops the reply")
        await pilot.press("escape")
        await until(pilot, lambda: not app.chat.sending)
        await pilot.press("ctrl+up")
        await shown("editing; Esc leaves it as it is")
        await pilot.press("escape", "escape")
        await shown("reading: F1 keys \u00b7 Enter writes")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "j k move" in edge(app))


async def test_a_message_that_is_too_long_warns(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(context=128))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await write(pilot, "word " * 200)
        await until(pilot, lambda: edge(app) == "200 tokens, 200 of 128 with the chat")
        assert app.chat.composer.has_class("-urgent")


async def test_what_is_written_is_read_by_the_model_when_the_user_pauses(make_app: MakeApp) -> None:
    engine = ScriptedEngine(["one two"])
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)

        async def computed(*messages: str) -> None:
            await until(
                pilot, lambda: [message.content for message in engine.prefills[-1]][-len(messages) :] == [*messages]
            )

        await write(pilot, "hello there")
        await computed("hello there")
        await pilot.press("enter")
        await until(pilot, lambda: not app.chat.sending)
        last = app.session.conversation.turns[-1].reply
        assert last is not None
        assert last.cached_tokens == (last.prompt_tokens or 0) - 1
        await computed("hello there", "one two", "")  # what every message begins with
        await write(pilot, "/stats")
        await pilot.pause(2 * COUNT_AFTER)
        await computed("hello there", "one two", "")
        app.chat.composer.clear()
        await write(pilot, "and on")
        await computed("hello there", "one two", "and on")
        app.chat.composer.clear()
        await pilot.press("ctrl+up")  # an earlier message, which belongs elsewhere
        await until(pilot, lambda: app.chat.composer.text == "hello there")
        await pilot.pause(2 * COUNT_AFTER)
        assert engine.prefills[-1][-1].content in ("", "and on")


async def test_nothing_is_asked_of_a_model_that_writes(make_app: MakeApp) -> None:
    app = make_app(ScriptedEngine(["word " * 2_000], delay=0.02))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await ask(pilot, "go")
        assert await app.session.prompts.count("text") is None
        await pilot.press("escape")
        await until(pilot, lambda: not app.chat.sending)


# Attached files


async def test_a_dropped_file_is_offered_and_attached(make_app: MakeApp, tmp_path: Path) -> None:
    path = tmp_path / "my notes.txt"
    path.write_text("one two three\n", encoding="utf-8")
    app = make_app(ScriptedEngine(["ok"]))
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await paste(app, f"'{path}'")
        await until(pilot, lambda: bool(app.chat.suggestions.choices))
        assert "Attach my notes.txt" in screen_text(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: app.chat.composer.text == "[my notes.txt, 7 tokens]\n")
        await pilot.press(*"what", "enter")
        await until(pilot, lambda: bool(app.session.conversation.turns) and not app.chat.sending)
        assert app.session.conversation.turns[0].user == "my notes.txt\n```\none two three\n```\nwhat"


async def test_a_dropped_path_can_stay_text(make_app: MakeApp, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("x", encoding="utf-8")
    app = make_app()
    async with app.run_test(size=(120, 24)) as pilot:
        await ready(pilot)
        await paste(app, f"'{path}'")
        await until(pilot, lambda: bool(app.chat.suggestions.choices))
        await pilot.press("escape")
        assert not app.chat.suggestions.display
        assert app.chat.composer.text == f"'{path}'"


async def test_a_file_that_no_context_holds_is_refused(make_app: MakeApp, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("word " * 500, encoding="utf-8")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\x00")
    app = make_app(ScriptedEngine(context=256))
    async with app.run_test(size=(100, 40)) as pilot:
        await ready(pilot)
        for name, words in (("long.txt", "503 tokens; the context holds 256"), ("picture.png", "not a text file")):
            await write(pilot, f"/read {tmp_path / name}")
            if app.chat.suggestions.choices:
                await pilot.press("escape")
            await pilot.press("enter")
            await told(pilot, words)
            assert app.chat.composer.text == f"/read {tmp_path / name}"  # to be mended
            app.chat.composer.clear()


# The editor


@contextmanager
def handed_over() -> Iterator[None]:
    yield


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An editor that adds a line and notes which file it was given, with its rights and what was in it."""
    note = tmp_path / "note"
    script = tmp_path / "editor"
    script.write_text(
        f'#!/bin/sh\nstat -c "%a %n" "$(dirname "$2")" "$2" > {note}\ncat "$2" >> {note}\n'
        'cp "$2" "$2~"\nprintf "\\nadded\\n" >> "$2"\nexit "${EDITOR_CODE:-0}"\n'
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("VISUAL", f"'{script}' --wait")
    return note


async def test_a_message_is_edited_in_the_editor(
    make_app: MakeApp, editor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        monkeypatch.setattr(app, "suspend", handed_over)
        await write(pilot, "draft ")
        await paste(app, LINES)
        await until(pilot, lambda: "[" in app.chat.composer.text)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: app.chat.composer.text == "draft [pasted 3,120 lines]\nadded")
        assert app.chat.composer.message == f"draft {LINES}\nadded"
        folder, file, *seen = editor.read_text().splitlines()
        assert folder.startswith("700 ")
        assert not Path(folder.split(" ", 1)[1]).exists()
        assert not Path(file.split(" ", 1)[1]).exists()
        assert "\n".join(seen) == f"draft {LINES}"
        await pilot.press("ctrl+z")
        assert app.chat.composer.text == "draft [pasted 3,120 lines]"


async def test_an_editor_that_fails_changes_nothing(
    make_app: MakeApp, editor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    monkeypatch.setenv("EDITOR_CODE", "3")
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        monkeypatch.setattr(app, "suspend", handed_over)
        await write(pilot, "draft")
        await pilot.press("ctrl+g")
        await until(pilot, lambda: any("code 3" in note.message for note in app._notifications))
        assert app.chat.composer.text == "draft"


async def test_a_terminal_that_cannot_be_left_says_so(make_app: MakeApp, editor: Path) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await pilot.press("ctrl+g")
        await until(pilot, lambda: any("cannot be opened here" in note.message for note in app._notifications))


def test_which_editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nano", "vi", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "mine -x 'a b'")
    assert editor_command() == ["mine", "-x", "a b"]
    monkeypatch.setenv("EDITOR", "absent")
    with pytest.raises(EditorError, match="EDITOR is absent"):
        editor_command()
    monkeypatch.delenv("EDITOR")
    assert editor_command() == ["nano"]
    (tmp_path / "nano").unlink()
    assert editor_command() == ["vi"]
    (tmp_path / "vi").unlink()
    with pytest.raises(EditorError, match="There is no editor"):
        editor_command()
