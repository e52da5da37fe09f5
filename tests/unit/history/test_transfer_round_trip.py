"""Export and import are the identity, and what an export says is what the store holds."""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from edgechat.chat.conversation import ReplyState
from edgechat.chat.sanitize import storable
from edgechat.history.database import Database
from edgechat.history.store import HistoryStore
from edgechat.history.transfer.exporter import Format, export
from edgechat.history.transfer.importer import import_chats
from edgechat.history.transfer.records import add_below, chat_ids
from edgechat.history.transfer.schema import (
    CarriedChat,
    CarriedFile,
    CarriedReply,
    CarriedSettings,
    CarriedTurn,
    schema,
)

TEXT = st.text(st.characters(codec=None), max_size=30).map(lambda text: storable(text)[0])
TIME = st.floats(0, 1e11, allow_subnormal=False).map(abs)
COUNT = st.integers(0, 2**53)


def columns(table: str) -> set[str]:
    with closing(Database.in_memory()) as database, database.reading() as db:
        return {row[1] for row in db.execute(f"PRAGMA table_info({table})")}


COLUMNS = {table: columns(table) for table in ("conversation", "turn", "reply")}
"""What this history can hold; a value that it has no column for is told, and not kept."""


@st.composite
def replies(draw: st.DrawFn) -> CarriedReply:
    return CarriedReply(
        draw(TEXT),
        draw(st.sampled_from(["complete", "length", "stopped", "interrupted", "failed"])),
        draw(TIME),
        draw(TIME),
        draw(TEXT),
        draw(COUNT),
        draw(COUNT),
        draw(COUNT),
        draw(st.none() | TIME),
        draw(TEXT),
        draw(st.sampled_from([-1, 0, 1])) if "rating" in COLUMNS["reply"] else 0,
        draw(TEXT) if "note" in COLUMNS["reply"] else "",
    )


@st.composite
def chats(draw: st.DrawFn) -> CarriedChat:
    turns: list[CarriedTurn] = []
    for place in range(draw(st.integers(0, 6))):
        answers = tuple(draw(st.lists(replies(), max_size=3)))
        turns.append(
            CarriedTurn(
                draw(TEXT),
                draw(TIME),
                draw(st.none() | st.integers(0, place - 1)) if place else None,
                answers,
                draw(st.integers(0, len(answers) - 1)) if answers else None,
                "pinned" in COLUMNS["turn"] and draw(st.booleans()),
            )
        )
        parent = turns[-1].parent
        if parent is not None and turns[parent].replies and "follows" in COLUMNS["turn"]:
            follows = draw(st.none() | st.integers(0, len(turns[parent].replies) - 1))
            turns[-1] = replace(turns[-1], follows=follows)
    leaf = draw(st.integers(0, len(turns) - 1)) if turns else None
    settings = {
        name: draw(st.none() | strategy)
        for name, strategy in (
            ("temperature", st.floats(0, 2)),
            ("top_p", st.floats(0.001, 1)),
            ("seed", st.integers(0, 2**31 - 1)),
        )
        if name in COLUMNS["conversation"]
    }
    chosen = replace(CarriedSettings(), **settings)
    settled = None if chosen == CarriedSettings() else chosen
    shelf = {name: draw(st.booleans()) for name in ("pinned", "archived") if name in COLUMNS["conversation"]}
    held = (draw(TEXT), draw(TIME), draw(TIME), draw(TEXT), draw(TEXT), tuple(turns), leaf)
    return replace(CarriedChat(*held, settings=settled), **shelf)


def exported(database: Database, form: Format = "json") -> bytes:
    return "".join(export(database, chat_ids(database), form)).encode()


@settings(max_examples=60)
@given(st.lists(chats(), max_size=4))
def test_export_import_export_gives_the_same_bytes(held: list[CarriedChat]) -> None:
    with closing(Database.in_memory()) as here, closing(Database.in_memory()) as there:
        with here.writing() as db:
            add_below(db, held, len(held))
        first = exported(here)
        assert msgspec.json.decode(first, type=CarriedFile).chats == held
        result = import_chats(there, io.BytesIO(first))
        assert (result.chats, result.known, result.notes) == (len(held), 0, {})
        assert exported(there) == first
        again = import_chats(there, io.BytesIO(first))
        assert (again.chats, again.known) == (0, len(held))
        assert exported(there) == first


def test_what_was_chatted_is_what_is_exported(store: HistoryStore, path: Path) -> None:
    chat = store.create_conversation(system="Be brief.", model="phi")
    first = store.add_turn(chat.id, None, "One?")
    for text, state in (("Uno.", ReplyState.STOPPED), ("Eins.", ReplyState.COMPLETE)):
        reply = store.add_reply(first.id, "phi")
        store.close_reply(
            reply.id, state, text=text, prompt_tokens=9, cached_tokens=4, completion_tokens=3, ttft=0.25, seconds=1.5
        )
    store.add_turn(chat.id, first.id, "Left?")
    right = store.add_turn(chat.id, first.id, "Right?")
    streaming = store.add_reply(right.id, "phi")
    store.append_text(streaming.id, "half an ")
    store.append_text(streaming.id, "answer")
    with closing(Database.open(path)) as database:
        (carried,) = msgspec.json.decode(exported(database), type=CarriedFile).chats
    assert (carried.title, carried.system, carried.model, carried.created) == ("One?", "Be brief.", "phi", chat.created)
    assert [(turn.user, turn.parent) for turn in carried.turns] == [("One?", None), ("Left?", 0), ("Right?", 0)]
    assert carried.leaf == 2
    one, two = carried.turns[0].replies
    assert (one.text, one.state, two.text, two.state) == ("Uno.", "stopped", "Eins.", "complete")
    assert carried.turns[0].active == 1
    assert (two.prompt_tokens, two.cached_tokens, two.completion_tokens, two.ttft, two.seconds) == (9, 4, 3, 0.25, 1.5)
    (half,) = carried.turns[2].replies
    assert (half.text, half.state) == ("half an answer", "interrupted")


def test_an_imported_chat_goes_on_where_it_was_left(store: HistoryStore, path: Path, tmp_path: Path) -> None:
    chat = store.create_conversation(system="Be brief.")
    first = store.add_turn(chat.id, None, "One?")
    store.close_reply(store.add_reply(first.id, "phi").id, ReplyState.COMPLETE, text="Eins.")
    store.add_turn(chat.id, first.id, "Left?")
    store.add_turn(chat.id, first.id, "Right?")
    with closing(Database.open(path)) as database, closing(Database.open(tmp_path / "other.db")) as other:
        import_chats(other, io.BytesIO(exported(database)))
    with closing(HistoryStore.open(tmp_path / "other.db")) as there:
        found = there.latest()
        assert found is not None
        assert found.messages() == store.conversation(chat.id).messages()
        there.add_turn(found.id, found.turns[-1].id, "And on?")


def test_the_order_of_chats_is_kept_and_the_last_one_held_stays_first(store: HistoryStore, path: Path) -> None:
    for title in ("old", "older", "oldest"):
        store.create_conversation(title=title)
    store.add_turn(1, None, "changed last")
    with closing(Database.open(path)) as database, closing(Database.in_memory()) as there:
        import_chats(there, io.BytesIO(exported(database)))
        order = [chat.title for chat in HistoryStore(there).list_conversations()]
        assert order == ["old", "oldest", "older"]
        held = HistoryStore(there).create_conversation(title="held here")
        other = b'{"format":"edgechat-chats","version":1,"chats":[{"title":"new","created":1,"updated":9e9}]}'
        import_chats(there, io.BytesIO(other))
        assert [chat.title for chat in HistoryStore(there).list_conversations()][:2] == [held.title, "old"]
        assert HistoryStore(there).list_conversations()[-1].title == "new"


def test_a_chat_that_was_renamed_or_went_on_is_known(store: HistoryStore, path: Path) -> None:
    chat = store.create_conversation(title="before")
    turn = store.add_turn(chat.id, None, "One?")
    with closing(Database.open(path)) as database:
        early = exported(database)
        store.add_turn(chat.id, turn.id, "Two?")
        late = exported(database)
        assert import_chats(database, io.BytesIO(early.replace(b"before", b"after"))).known == 1
        with closing(Database.in_memory()) as other:
            import_chats(other, io.BytesIO(early))
            # It has words that are not there: rather twice than lost.
            assert import_chats(other, io.BytesIO(late)).chats == 1


def test_dry_run_adds_nothing(path: Path) -> None:
    one = b'{"format":"edgechat-chats","version":1,"chats":[{"title":"a","created":1,"updated":1}]}'
    with closing(Database.open(path)) as database:
        assert import_chats(database, io.BytesIO(one), dry_run=True).chats == 1
        assert chat_ids(database) == []


def test_members_in_another_order_are_read(path: Path) -> None:
    data = json.loads('{"format":"edgechat-chats","version":1,"chats":[{"title":"a","created":1,"updated":1}]}')
    with closing(Database.open(path)) as database:
        assert import_chats(database, io.BytesIO(json.dumps(data, sort_keys=True, indent=1).encode())).chats == 1


def test_markdown_and_the_other_forms() -> None:
    reply = CarriedReply("```python\nprint()\n```\n\x1b]0;x\x07", "stopped", 2.0, 0.0, "phi_3")
    turns = (
        CarriedTurn("## You\n````", 1.0, None, (CarriedReply("no", "complete", 1.0, 0.0), reply), 1),
        CarriedTurn("Other branch", 1.0),
    )
    with closing(Database.in_memory()) as database:
        with database.writing() as db:
            add_below(db, [CarriedChat("<b>\n*T*\x9b2J", 0.0, 0.0, "Sys", "", turns, 0)] * 2, 2)
        page = exported(database, "markdown").decode()
        assert page.startswith("# \\<b\\> \\*T\\*\ufffd2J\n")
        assert "`````text\n## You\n````\n`````" in page
        assert "## Reply (phi\\_3, stopped)\n\n````markdown\n```python\nprint()\n```\n␛]0;x␇\n````" in page
        assert "Other branch" not in page
        lines = exported(database, "openai").decode().splitlines()
        assert [message["role"] for message in json.loads(lines[0])["messages"]] == ["system", "user", "assistant"]
        assert len(lines) == 2
        one, two = exported(database, "phi3").decode().split("<|endoftext|>\n")
        assert one == two
        assert one.startswith("<|system|>\nSys<|end|>\n<|user|>\n## You\n````<|end|>\n<|assistant|>\n```python")


@given(TEXT)
def test_no_form_of_json_lets_a_terminal_obey(text: str) -> None:
    with closing(Database.in_memory()) as database:
        with database.writing() as db:
            add_below(db, [CarriedChat(text, 0.0, 0.0, turns=(CarriedTurn(text, 0.0),), leaf=0)], 1)
        for form in ("json", "openai"):
            shown = exported(database, form).decode()
            assert not any((ord(c) < 32 and c != "\n") or 0x7F <= ord(c) < 0xA0 or c in "\u202e\u2066" for c in shown)
            assert exported(database, form).count(b"\n") == (3 if form == "json" else 1)


def test_the_schema_names_every_field() -> None:
    definitions = schema()["$defs"]
    for form in (CarriedChat, CarriedTurn, CarriedReply):
        assert set(definitions[form.__name__]["properties"]) == set(form.__struct_fields__)
