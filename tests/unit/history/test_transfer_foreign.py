"""Chats of ChatGPT, Open WebUI and llm come in with their branches, and what is left out is told."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edgechat.chat.conversation import Message
from edgechat.history.database import Database
from edgechat.history.transfer.importer import Imported, import_chats
from edgechat.history.transfer.records import chat_ids, read_chat
from edgechat.history.transfer.schema import CarriedChat, active_branch


@pytest.fixture
def database() -> Iterator[Database]:
    with closing(Database.in_memory()) as database:
        yield database


def taken(database: Database, source: Any) -> tuple[Imported, list[CarriedChat]]:
    """Import a file, or what becomes one as JSON: the result, and all chats that are there then."""
    if not isinstance(source, Path):
        source = io.BytesIO(json.dumps(source).encode())
    result = import_chats(database, source)
    return result, [chat for id_ in chat_ids(database) if (chat := read_chat(database, id_)) is not None]


def gpt(role: str, text: Any, parent: str | None, **more: Any) -> dict[str, Any]:
    """A node as ChatGPT exports it."""
    content = text if isinstance(text, dict) else {"content_type": "text", "parts": [text]}
    message = {
        "id": "m",
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": 1700000000.25,
        "update_time": None,
        "content": content,
        "status": "finished_successfully",
        "end_turn": True,
        "weight": 1.0,
        "metadata": {"model_slug": "gpt-4o"} if role == "assistant" else {},
        "recipient": "all",
    }
    return {"id": "n", "message": message | more, "parent": parent, "children": []}


def chatgpt(current: str, **nodes: dict[str, Any]) -> list[dict[str, Any]]:
    root: dict[str, Any] = {"id": "root", "message": None, "parent": None, "children": []}
    times = {"create_time": 1700000000.0, "update_time": 1700000009.5}
    return [{"title": "A\nchat", **times, "mapping": {"root": root, **nodes}, "current_node": current, "id": "c"}]


def test_chatgpts_branches_keep_the_reply_they_follow(database: Database) -> None:
    export = chatgpt(
        "right_reply",
        empty=gpt("system", "", "root"),
        question=gpt("user", "Hi 😀", "empty"),
        left=gpt("assistant", "Hello", "question"),
        unused=gpt("assistant", "Unused", "question"),
        right=gpt("assistant", "Hey", "question"),
        left_question=gpt("user", "Left?", "left"),
        right_question=gpt("user", "Right?", "right"),
        right_reply=gpt("assistant", "Right.", "right_question"),
    )
    result, (chat,) = taken(database, export)
    assert (result.chats, result.turns, result.replies, result.notes) == (1, 4, 4, {})
    assert (chat.title, chat.created, chat.updated, chat.model) == ("A chat", 1700000000.0, 1700000009.5, "gpt-4o")
    assert [message.content for message in active_branch(chat).messages()] == ["Hi 😀", "Hey", "Right?", "Right."]
    by_user = {turn.user: turn for turn in chat.turns if turn.parent is not None}
    before_left = chat.turns[by_user["Left?"].parent or 0]
    assert [reply.text for reply in before_left.replies] == ["Hello"]
    before_right = chat.turns[by_user["Right?"].parent or 0]
    assert [reply.text for reply in before_right.replies] == ["Unused", "Hey"]
    assert before_right.replies[0].created == 1700000000.25


def test_chatgpts_tools_and_thoughts_are_told_and_pictures_named(database: Database) -> None:
    picture = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-1"}
    export = chatgpt(
        "answer",
        about=gpt(
            "user",
            {"content_type": "user_editable_context", "user_profile": "A sailor", "user_instructions": "Be brief."},
            "root",
            metadata={"is_visually_hidden_from_conversation": True},
        ),
        question=gpt("user", {"content_type": "multimodal_text", "parts": [picture, "What is it?"]}, "about"),
        thoughts=gpt("assistant", {"content_type": "thoughts", "thoughts": [{"content": "hm"}]}, "question"),
        first=gpt("assistant", "I shall draw.", "thoughts"),
        call=gpt("assistant", {"content_type": "code", "text": "draw()"}, "first", recipient="dalle.text2im"),
        output=gpt("tool", {"content_type": "multimodal_text", "parts": [picture]}, "call"),
        log=gpt("tool", {"content_type": "tether_browsing_display", "result": "done"}, "output"),
        answer=gpt("assistant", {"content_type": "code", "text": "x = '```'"}, "log"),
    )
    result, (chat,) = taken(database, export)
    assert active_branch(chat).messages() == (
        Message("system", "A sailor\n\nBe brief."),
        Message("user", "[image: file-service://file-1]\n\nWhat is it?"),
        Message("assistant", "I shall draw.\n\n[image: file-service://file-1]\n\n````\nx = '```'\n````"),
    )
    assert result.notes == {
        "images could not be taken along, and are named in the text": 2,
        "messages of a model to itself were left out": 1,
        "calls of tools were left out": 1,
        "outputs of tools were left out": 1,
    }


def test_chatgpts_cut_replies_and_half_characters(database: Database) -> None:
    cut = gpt("assistant", "To be \ud83d continued\u0000", "question")
    cut["message"]["metadata"]["finish_details"] = {"type": "max_tokens"}
    result, (chat,) = taken(database, chatgpt("cut", question=gpt("user", "\\ud83d stays", "root"), cut=cut))
    assert chat.turns[0].user == "\\ud83d stays"
    (reply,) = chat.turns[0].replies
    assert (reply.text, reply.state) == ("To be \ufffd continued\ufffd", "length")
    assert result.notes == {"characters that are not text were replaced by \ufffd": 1}


def test_a_chat_in_which_the_model_spoke_first(database: Database) -> None:
    _, (chat,) = taken(
        database, chatgpt("user", hello=gpt("assistant", "Hello!", "root"), user=gpt("user", "Hi", "hello"))
    )
    assert [message.content for message in active_branch(chat).messages()] == ["", "Hello!", "Hi"]


def test_chatgpts_archive_is_read_without_unpacking(database: Database, tmp_path: Path) -> None:
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("../../escaped", "x")
        file.writestr("chat.html", "<html>")
        file.writestr("conversations.json", json.dumps(chatgpt("a", a=gpt("user", "Hi", "root"))))
    result, (chat,) = taken(database, archive)
    assert (result.chats, chat.turns[0].user) == (1, "Hi")
    assert [path.name for path in tmp_path.iterdir()] == ["export.zip"]
    assert import_chats(database, io.BytesIO(archive.read_bytes())).known == 1


def webui(role: str, text: Any, parent: str | None, **more: Any) -> dict[str, Any]:
    """A message as Open WebUI exports it."""
    return {
        "id": "m",
        "parentId": parent,
        "childrenIds": [],
        "role": role,
        "content": text,
        "timestamp": 1700000001,
    } | more


def test_open_webui(database: Database) -> None:
    messages = {
        "question": webui("user", "Hi", None, childrenIds=["b", "a"], models=["a", "b"], files=[{"type": "image"}]),
        "a": webui(
            "assistant", "From a", "question", model="a", done=True, usage={"prompt_tokens": 7, "eval_count": 3}
        ),
        "b": webui("assistant", "", "question", model="b", error={"content": "No such model"}),
        "broken": {"parentId": "question", "childrenIds": [], "usage": 3, "files": 4, "annotation": "x"},
        "next": webui("user", [{"type": "text", "text": "And?"}], "a"),
        "last": webui("assistant", "Half", "next", done=False, annotation={"rating": -1, "comment": "No."}),
    }
    history = {"messages": messages, "currentId": "last"}
    chat = {"title": "T", "models": ["a"], "params": {"system": "S"}, "history": history, "timestamp": 1700000000123}
    record = {
        "id": "x",
        "user_id": "u",
        "title": "Named",
        "chat": chat,
        "created_at": 1700000000,
        "updated_at": 1700000099,
        "pinned": False,
        "archived": False,
        "meta": {},
    }
    result, (carried,) = taken(database, [record])
    assert (carried.title, carried.created, carried.updated) == ("Named", 1700000000.0, 1700000099.0)
    assert (carried.model, carried.system) == ("a", "S")
    first, second = carried.turns
    assert (first.user, second.user) == ("[image]\n\nHi", "And?")
    assert [(reply.text, reply.state, reply.error) for reply in first.replies] == [
        ("", "failed", "No such model"),
        ("From a", "complete", ""),
    ]
    assert first.active == 1
    assert (first.replies[1].prompt_tokens, first.replies[1].completion_tokens) == (7, 3)
    assert second.replies[0].state == "interrupted"
    assert result.notes["images could not be taken along, and are named in the text"] == 1
    # The inner part alone is the same chat, but without the time of the record.
    _, both = taken(database, [chat])
    assert sorted(chat.created for chat in both) == [1700000000.0, 1700000000.123]
    assert both[0].turns == both[1].turns


def test_open_webuis_newest_form_has_the_words_beside_the_content(database: Database) -> None:
    output = [{"type": "reasoning", "content": [{"text": "Hm"}]}, {"type": "message", "content": [{"text": "Ho"}]}]
    messages = {"q": webui("user", "Hi", None), "a": webui("assistant", "", "q", output=output)}
    _, (chat,) = taken(database, [{"title": "T", "chat": {"history": {"messages": messages, "currentId": "a"}}}])
    assert [message.content for message in active_branch(chat).messages()] == ["Hi", "Ho"]


def test_open_webuis_oldest_form_is_a_list(database: Database) -> None:
    listed = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    _, (chat,) = taken(database, [{"title": "T", "chat": {"messages": listed}, "created_at": 1}])
    assert [message.content for message in active_branch(chat).messages()] == ["Hi", "Ho"]


def llm_log(path: Path) -> sqlite3.Connection:
    """A log as llm 0.27 makes it, as far as its tables matter."""
    db = sqlite3.connect(path)
    db.executescript("""
        CREATE TABLE [conversations] ([id] TEXT PRIMARY KEY, [name] TEXT, [model] TEXT);
        CREATE TABLE [responses] ([id] TEXT PRIMARY KEY, [model] TEXT, [prompt] TEXT, [system] TEXT, [prompt_json] TEXT,
            [options_json] TEXT, [response] TEXT, [response_json] TEXT, [conversation_id] TEXT, [duration_ms] INTEGER,
            [datetime_utc] TEXT, [input_tokens] INTEGER, [output_tokens] INTEGER, [token_details] TEXT,
            [schema_id] TEXT, [resolved_model] TEXT);
        CREATE TABLE [attachments] ([id] TEXT PRIMARY KEY, [type] TEXT, [path] TEXT, [url] TEXT, [content] BLOB);
        CREATE TABLE [prompt_attachments] ([response_id] TEXT, [attachment_id] TEXT, [order] INTEGER);
        CREATE TABLE [fragments] ([id] INTEGER PRIMARY KEY, [hash] TEXT, [content] TEXT, [datetime_utc] TEXT);
        CREATE TABLE [prompt_fragments] ([response_id] TEXT, [fragment_id] INTEGER, [order] INTEGER);
        CREATE TABLE [system_fragments] ([response_id] TEXT, [fragment_id] INTEGER, [order] INTEGER);
        CREATE TABLE [tool_calls] ([id] INTEGER PRIMARY KEY, [response_id] TEXT, [name] TEXT);
        CREATE TABLE [tool_results] ([id] INTEGER PRIMARY KEY, [response_id] TEXT, [output] TEXT);
        INSERT INTO conversations VALUES ('c1', 'Pumps', 'gpt-4o'), ('c2', NULL, 'phi');
        INSERT INTO responses (id, model, prompt, system, response, conversation_id, datetime_utc, input_tokens,
            output_tokens) VALUES
            ('r2', 'gpt-4o', 'And then?', NULL, 'Wait.', 'c1', '2024-05-01T10:00:05.500000', 20, 4),
            ('r1', 'gpt-4o', 'Which valve?', 'Be brief.', 'The red one.', 'c1', '2024-05-01T10:00:00+00:00', 9, 3),
            ('r3', 'phi', 'Alone', NULL, NULL, 'c2', 'yesterday', NULL, NULL),
            ('r4', 'phi', 'No chat', NULL, 'One', NULL, '2024-05-02T00:00:00', NULL, NULL),
            ('r5', 'phi', 'No chat', NULL, 'Two', NULL, '2024-05-03T00:00:00', NULL, NULL);
        INSERT INTO fragments VALUES (1, 'h', 'Long text', NULL);
        INSERT INTO prompt_fragments VALUES ('r1', 1, 0);
        INSERT INTO attachments VALUES ('a', 'image/png', 'pictures/x.png', NULL, NULL);
        INSERT INTO prompt_attachments VALUES ('r2', 'a', 0);
        INSERT INTO tool_calls VALUES (1, 'r1', 'look');
    """)
    return db


def test_llms_log(database: Database, tmp_path: Path) -> None:
    log = tmp_path / "logs?.db"
    llm_log(log).close()
    result, chats = taken(database, log)
    assert (result.chats, result.turns) == (4, 5)
    pumps = next(chat for chat in chats if chat.title == "Pumps")
    assert (pumps.system, pumps.model, pumps.created, pumps.updated) == (
        "Be brief.",
        "gpt-4o",
        1714557600.0,
        1714557605.5,
    )
    assert [(turn.user, turn.parent, turn.replies[0].text) for turn in pumps.turns] == [
        ("Long text\nWhich valve?", None, "The red one."),
        ("And then?\n[attachment: pictures/x.png]", 0, "Wait."),
    ]
    assert (pumps.turns[1].replies[0].prompt_tokens, pumps.turns[1].replies[0].completion_tokens) == (20, 4)
    assert sorted(chat.title for chat in chats) == ["Alone", "No chat", "No chat", "Pumps"]
    assert result.notes["calls of tools were left out"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["logs?.db"]
    assert import_chats(database, io.BytesIO(log.read_bytes())).known == 4


def test_llms_newer_log_of_threads(database: Database, tmp_path: Path) -> None:
    """As llm 0.36 wrote it: a message is stored once, and a thread that was forked has two ends."""
    with closing(llm_log(tmp_path / "logs.db")) as db:
        db.executescript("""
            DELETE FROM responses WHERE id NOT IN ('r3', 'r4');
            UPDATE responses SET id = '1' WHERE id = 'r4';
            DELETE FROM tool_calls;
            CREATE TABLE [threads] ([id] TEXT PRIMARY KEY, [name] TEXT, [tip_message_hash] TEXT, [forked_from] TEXT,
                [datetime_utc] TEXT);
            CREATE TABLE [turns] ([id] TEXT PRIMARY KEY, [thread_id] TEXT, [parent_message_hash] TEXT,
                [tip_message_hash] TEXT, [model] TEXT, [input_tokens] INTEGER, [output_tokens] INTEGER,
                [datetime_utc] TEXT);
            CREATE TABLE [messages] ([hash] TEXT PRIMARY KEY, [parent_hash] TEXT, [role] TEXT);
            CREATE TABLE [parts] ([id] INTEGER PRIMARY KEY, [message_hash] TEXT, [position] INTEGER, [type] TEXT,
                [tool_name] TEXT, [text] TEXT, [payload] TEXT);
            INSERT INTO threads VALUES ('t', 'Pumps', 'left', NULL, '2024-05-01 10:00:00+00:00');
            INSERT INTO messages VALUES ('s', NULL, 'system'), ('u', 's', 'user'), ('a', 'u', 'assistant'),
                ('left?', 'a', 'user'), ('left', 'left?', 'assistant'), ('right?', 'a', 'user'),
                ('right', 'right?', 'assistant'), ('tool', 'right?', 'assistant');
            INSERT INTO turns VALUES
                ('1', 't', 'u', 'a', 'phi', 9, 3, '2024-05-01T10:00:00+00:00'),
                ('2', 't', 'right?', 'right', 'phi', 12, 4, '2024-05-01T10:00:09+00:00'),
                ('3', 't', 'left?', 'left', 'gpt-4o', 12, 4, '2024-05-01T10:00:20+00:00');
            INSERT INTO parts (message_hash, position, type, text, payload) VALUES
                ('s', 0, 'text', 'Be brief.', NULL),
                ('u', 0, 'text', NULL, '{"text_ref": [{"fragment": 1}, {"literal": "\\nWhich valve?"}]}'),
                ('u', 1, 'attachment', NULL, '{"attachment": {"id": "a"}}'),
                ('a', 0, 'reasoning', 'Hm.', NULL),
                ('a', 1, 'text', 'The red one.', NULL),
                ('left?', 0, 'text', 'Left?', NULL),
                ('left', 0, 'text', 'Yes.', NULL),
                ('right?', 0, 'text', 'Right?', NULL),
                ('right', 0, 'text', 'No.', NULL);
        """)
    result, chats = taken(database, tmp_path / "logs.db")
    # The older half of the file is read too, but for what the newer one has.
    older, chat = sorted(chats, key=lambda chat: chat.title)
    assert (older.title, older.turns[0].user) == ("Alone", "Alone")
    assert active_branch(chat).messages() == (
        Message("system", "Be brief."),
        Message("user", "Long text\nWhich valve?\n\n[attachment: pictures/x.png]"),
        Message("assistant", "The red one."),
        Message("user", "Left?"),
        Message("assistant", "Yes."),
    )
    assert (chat.title, chat.model, chat.created, chat.updated) == ("Pumps", "gpt-4o", 1714557600.0, 1714557620.0)
    assert [(turn.user, turn.parent) for turn in chat.turns[1:]] == [("Right?", 0), ("Left?", 0)]
    (reply,) = chat.turns[0].replies
    assert (reply.model, reply.prompt_tokens, reply.completion_tokens) == ("phi", 9, 3)
    assert result.notes["messages of a model to itself were left out"] == 1


def test_a_log_that_llm_is_writing_is_read_as_it_was(database: Database, tmp_path: Path) -> None:
    with closing(llm_log(tmp_path / "logs.db")) as llm:
        llm.execute("PRAGMA journal_mode = WAL")
        llm.execute("INSERT INTO responses (id, prompt) VALUES ('r6', 'uncommitted')")
        assert import_chats(database, tmp_path / "logs.db").chats == 4


def test_messages_whose_parent_is_missing_begin_a_branch(database: Database) -> None:
    result, (chat,) = taken(database, chatgpt("b", a=gpt("user", "One", "root"), b=gpt("user", "Two", "gone")))
    assert [(turn.user, turn.parent) for turn in chat.turns] == [("One", None), ("Two", None)]
    assert result.notes == Counter({"messages follow one that is missing, and begin a branch of their own": 1})
    assert active_branch(chat).messages() == (Message("user", "Two"),)


def test_a_chat_twenty_thousand_messages_deep(database: Database) -> None:
    nodes = {
        str(n): {
            "parent": str(n - 1) if n else None,
            "message": {"author": {"role": role}, "content": {"parts": ["x"]}},
        }
        for n in range(20_000)
        for role in [("user", "assistant")[n % 2]]
    }
    result = import_chats(database, io.BytesIO(json.dumps([{"mapping": nodes, "current_node": "19999"}]).encode()))
    assert (result.turns, result.replies) == (10_000, 10_000)
