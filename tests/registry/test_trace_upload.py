"""`edgechat sync` against a real MLflow server: what arrives, that it arrives once, and that nothing else is said."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from edgechat.chat.conversation import ReplyState
from edgechat.cli import main
from edgechat.errors import ExitCode, RegistryError
from edgechat.history.database import Database
from edgechat.history.store import HistoryStore
from edgechat.history.transfer.exporter import export
from edgechat.history.transfer.importer import import_chats
from edgechat.history.transfer.records import add_below, chat_ids, read_chat
from edgechat.history.transfer.schema import CarriedChat, CarriedReply, CarriedTurn
from edgechat.registry.client import connect
from edgechat.registry.trace_mapping import EARLIER, traces_of
from edgechat.registry.trace_upload import Synced, sync
from edgechat.runtime import paths
from tests.support.mlflow_server import MlflowServer, Proxy, free_port
from tests.support.networks import no_network

# Importing MLflow's larger parts brings warnings of others.
pytestmark = pytest.mark.filterwarnings("default")

numbers = count()


@pytest.fixture
def server(mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A running server, and an experiment of this test's own on it, named by the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", f"chats-{next(numbers)}")
    return mlflow_server.uri


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Stands before that server from then on, and is asked once for everything."""
    with Proxy(server) as made:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield made


@pytest.fixture
def store(own_home: Path) -> Iterator[HistoryStore]:
    """Two chats of two messages; the second message of the first has two replies, and feedback on the second one."""
    with closing(HistoryStore.open(paths.history_path())) as made:
        for name in ("rated", "other"):
            chat = made.create_conversation(system="Be brief.", model="phi").id
            first = made.add_turn(chat, None, f"{name} first \u05e9\u05dc\u05d5\u05dd")
            reply(made, first.id, "one")
            second = made.add_turn(chat, first.id, f"{name} second")
            reply(made, second.id, "two")
        made.feedback.rate(reply(made, 2, "too", ReplyState.STOPPED), 1, "Kurz.")
        yield made


def reply(store: HistoryStore, turn: int, text: str, state: ReplyState = ReplyState.COMPLETE) -> int:
    made = store.add_reply(turn, "phi").id
    store.close_reply(
        made, state, text=text, prompt_tokens=20, cached_tokens=5, completion_tokens=7, ttft=0.25, seconds=1.5
    )
    return made


def sent(*chats: int, uri: str | None = None, experiment: str | None = None) -> Synced:
    with closing(Database.open(paths.history_path())) as database:
        return sync(database, chats or chat_ids(database), tracking_uri=uri, experiment=experiment)


def there(uri: str, experiment: str | None = None) -> list[dict[str, Any]]:
    """What the server has of an experiment, but for what it makes up itself, oldest trace first."""
    client = connect(uri)
    found = client.get_experiment_by_name(experiment or os.environ["MLFLOW_EXPERIMENT_NAME"])
    if found is None:
        return []
    made = []
    for trace in client.search_traces(locations=[found.experiment_id], order_by=["timestamp_ms ASC"]):
        (span,) = trace.data.spans
        made.append(
            {
                "reply": span.outputs["choices"][0]["message"]["content"],
                "asked": [message["content"] for message in span.inputs["messages"]],
                "session": trace.info.trace_metadata["mlflow.trace.session"],
                "usage": trace.info.token_usage,
                "milliseconds": trace.info.execution_duration,
                "state": str(trace.info.state),
                "model": span.get_attribute("mlflow.llm.model"),
                "ttft": span.get_attribute("edgechat.ttft_seconds"),
                "ended": span.get_attribute("edgechat.state"),
                "previews": (trace.info.request_preview, trace.info.response_preview),
                "feedback": [
                    (said.name, said.value, said.rationale, said.source.source_type) for said in trace.info.assessments
                ],
            }
        )
    return made


def feedback(uri: str) -> list[tuple[Any, ...]]:
    return [said for trace in there(uri) for said in trace["feedback"]]


def test_each_reply_becomes_a_trace_with_its_feedback_usage_and_timings(server: str, store: HistoryStore) -> None:
    done = sent(1)
    assert (done.chats, done.new, done.changed, done.known, done.server) == (1, 3, 0, 0, server)
    one, two, too = there(server)
    assert one["asked"] == ["Be brief.", "rated first \u05e9\u05dc\u05d5\u05dd"]
    assert two["asked"] == too["asked"] == ["Be brief.", "rated first \u05e9\u05dc\u05d5\u05dd", "one", "rated second"]
    assert (one["reply"], two["reply"], too["reply"]) == ("one", "two", "too")
    assert len({trace["session"] for trace in (one, two, too)}) == 1
    for trace in (one, two, too):
        usage = {key: trace["usage"][key] for key in ("input_tokens", "output_tokens", "total_tokens")}
        assert usage == {"input_tokens": 20, "output_tokens": 7, "total_tokens": 27}
        assert (trace["milliseconds"], trace["ttft"], trace["model"], trace["state"]) == (1750, 0.25, "phi", "OK")
    assert too["ended"] == "stopped"
    assert too["previews"] == ("rated second", "too")
    assert [one["feedback"], two["feedback"]] == [[], []]
    assert too["feedback"] == [("thumbs_up", True, "Kurz.", "HUMAN")]


def test_a_second_run_sends_nothing(proxy: Proxy, store: HistoryStore) -> None:
    assert sent().new == 5
    sessions = {trace["session"] for trace in there(proxy.uri)}
    assert len(sessions) == 2
    before = len(proxy.sent)
    again = sent()
    assert (again.chats, again.new, again.changed, again.known) == (0, 0, 0, 5)
    assert proxy.sent[before:] == ["/api/2.0/mlflow/experiments/search"], "it asks whether the server is one"
    assert len(there(proxy.uri)) == 5


def test_what_is_shown_or_added_since_changes_no_trace_that_is_there(server: str, store: HistoryStore) -> None:
    sent(1)
    store.branches.show_reply(2)
    reply(store, 1, "another one")
    store.add_turn(1, 2, "not answered yet")
    store.chats.rename(1, "Another name")
    done = sent(1)
    assert (done.new, done.changed, done.known) == (1, 0, 3)


@pytest.mark.parametrize("carried", ["here", "copied", "elsewhere"])
def test_what_was_said_before_a_reply_is_told_by_no_clock(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, carried: str
) -> None:
    """The device starts in 1970 after the first message; the reply gone on from is neither the newest nor shown."""
    clock = count(1e9)
    monkeypatch.setattr(time, "time", lambda: next(clock))
    with closing(HistoryStore.open(paths.history_path())) as made:
        chat = made.create_conversation().id
        first = made.add_turn(chat, None, "first").id
        one = reply(made, first, "one")
        clock = count(60.0)
        reply(made, first, "two")
        made.branches.show_reply(one)
        second = made.add_turn(chat, first, "second").id
        reply(made, second, "after one")
        reply(made, first, "three")
        third = made.add_turn(chat, first, "third").id
        reply(made, third, "after three")
        if carried == "copied":
            chat = made.chats.duplicate(chat)
    with closing(Database.open(paths.history_path())) as here, closing(Database.in_memory()) as there:
        database = here
        if carried == "elsewhere":
            database = there
            import_chats(there, io.BytesIO("".join(export(here, [chat], "json")).encode()))
        whole = read_chat(database, chat)
    assert whole is not None
    answered = {trace.outputs["choices"][0]["message"]["content"]: trace.inputs for trace in traces_of(whole, "e")}
    for last, before in (("after one", "one"), ("after three", "three")):
        assert [message["content"] for message in answered[last]["messages"]][:2] == ["first", before]


def test_what_is_deleted_stays_here(server: str, store: HistoryStore) -> None:
    store.branches.delete_turn(2)
    store.chats.delete(2)
    assert sent(1, 2).new == 1
    assert [trace["reply"] for trace in there(server)] == ["one"]


def test_changed_feedback_takes_the_place_of_the_old(server: str, store: HistoryStore) -> None:
    sent(1)
    for rating, note, expected in (
        (-1, "Falsch.", [("thumbs_up", False, "Falsch.", "HUMAN")]),
        (0, None, [("note", "Falsch.", None, "HUMAN")]),
        (0, "", []),
        (1, None, [("thumbs_up", True, None, "HUMAN")]),
    ):
        store.feedback.rate(5, rating, note)  # type: ignore[arg-type]  # a tuple forgets that these are ratings
        done = sent(1)
        assert (done.new, done.changed, done.known) == (0, 1, 2)
        assert feedback(server) == expected
    assert len(there(server)) == 3


def test_a_reply_that_went_on_takes_the_place_of_the_old(server: str, store: HistoryStore) -> None:
    sent(1)
    store.resume_reply(5)
    store.close_reply(5, ReplyState.COMPLETE, text="too much", prompt_tokens=20, completion_tokens=9)
    assert sent(1).changed == 1
    *_, last = there(server)
    assert (last["reply"], last["ended"], last["usage"]["output_tokens"]) == ("too much", "complete", 9)
    assert last["feedback"] == [("thumbs_up", True, "Kurz.", "HUMAN")]
    assert len(there(server)) == 3


def test_experiments_and_copies_of_a_chat_do_not_share_traces(server: str, store: HistoryStore) -> None:
    mine = os.environ["MLFLOW_EXPERIMENT_NAME"]
    assert sent(1).new == 3
    assert sent(1, experiment=f"{mine}-b").new == 3
    assert sent(store.chats.duplicate(1)).new == 3
    assert (len(there(server)), len(there(server, f"{mine}-b"))) == (6, 3)
    assert len({trace["session"] for trace in there(server)}) == 2


def test_a_chat_that_was_carried_to_another_device_is_the_same_there(
    server: str, store: HistoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(1)
    (tmp_path / "chats.json").write_text(subprocess_of("chats", "export", "1").stdout)
    monkeypatch.setenv("EDGECHAT_HOME", str(tmp_path / "elsewhere"))
    subprocess_of("chats", "import", str(tmp_path / "chats.json"))
    assert sent().new == 3
    assert len(there(server)) == 3


def subprocess_of(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What the real program says."""
    return subprocess.run(
        [sys.executable, "-m", "edgechat", *arguments], capture_output=True, text=True, check=True, timeout=120
    )


def test_a_line_that_breaks_anywhere_loses_nothing_and_sends_nothing_twice(
    proxy: Proxy, server: str, store: HistoryStore
) -> None:
    whole = os.environ["MLFLOW_EXPERIMENT_NAME"] + "-whole"
    sent(1, experiment=whole)
    expected = there(server, whole)
    assert len(expected) == 3
    for number in count():
        name = f"{whole}-{number}"
        left = iter(range(number))
        proxy.let_through = lambda left=left: next(left, None) is not None  # type: ignore[misc]
        try:
            sent(1, experiment=name)
        except RegistryError:
            proxy.let_through = lambda: True
        else:
            assert number > 8, "it was broken at every request before"
            break
        # Meanwhile the reader takes the feedback back, and gives it again: what was half sent must not stay.
        store.feedback.rate(5, 0, "")
        sent(1, experiment=name)
        assert [trace["feedback"] for trace in there(server, name)] == [[], [], []], number
        store.feedback.rate(5, 1, "Kurz.")
        sent(1, experiment=name)
        assert there(server, name) == expected, number
        assert sent(1, experiment=name).known == 3


@pytest.mark.parametrize("number", [4, 6, 7])
def test_killed_in_the_middle_it_goes_on(proxy: Proxy, server: str, store: HistoryStore, number: int) -> None:
    """When the server has the first reply's spans, the whole of it, and the second one's spans."""
    whole = os.environ["MLFLOW_EXPERIMENT_NAME"] + "-whole"
    sent(1, experiment=whole)
    answers = count()
    child = subprocess.Popen(
        [sys.executable, "-m", "edgechat", "sync", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )

    def killing() -> bool:
        if next(answers) == number:
            child.send_signal(signal.SIGKILL)
            child.wait(timeout=60)
        return child.poll() is None

    proxy.let_through = killing
    child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    proxy.let_through = lambda: True
    assert sent(1).new >= 1
    assert there(server) == there(server, whole)
    assert sent(1).known == 3


@pytest.mark.slow
def test_a_server_that_was_set_up_anew_gets_everything(
    own_home: Path, store: HistoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database is a server too, with the whole of MLflow."""
    database = tmp_path / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert subprocess_of("sync", "1").stdout == "sent 3 replies; 0 there already\n"
        assert subprocess_of("sync", "1").stdout == "sent 0 replies; 3 there already\n"
        assert len(there(f"sqlite:///{database}", "edgechat")) == 3
        database.unlink()
    assert {path.name for path in tmp_path.iterdir()} == {own_home.name}


def test_hostile_and_strange_values_arrive(server: str, own_home: Path) -> None:
    strange = CarriedReply("\x00\x1b]0;x\x07" + "\U0001f600" * 600, "failed", -5.0, 1e300, "m" * 5000, ttft=1e308)
    late = CarriedReply("", "failed", 1e11, 0.0, error="It broke.")
    chat = CarriedChat("t", 1e11, 0.0, "", "", (CarriedTurn("\x00" * 600, 1e11, None, (strange, late), 0),), 0)
    empty = CarriedChat("empty", 2.0, 0.0)
    with closing(Database.open(paths.history_path())) as database, database.writing() as db:
        add_below(db, [chat, empty], 2)
    assert sent().new == 2
    first, second = there(server)
    assert first["reply"] == strange.text
    assert [first["state"], second["state"]] == ["ERROR", "ERROR"]
    assert sent().known == 2


def test_a_long_chat_sends_no_more_with_a_reply_than_what_was_said_last() -> None:
    word = "x" * 1000
    turns = tuple(
        CarriedTurn(
            f"{place} {word}", 1.0, place - 1 if place else None, (CarriedReply(word, "complete", 1.0, 0.0),), 0
        )
        for place in range(200)
    )
    *_, last = traces_of(CarriedChat("t", 1.0, 1.0, "Sys", "", turns, 199), "e")
    messages = last.inputs["messages"]
    assert [message["role"] for message in messages[:3]] == ["system", "user", "assistant"]
    assert messages[-1]["content"].startswith("199 ")
    assert EARLIER - 3000 < sum(len(message["content"]) for message in messages[1:-1]) <= EARLIER


class TestCommand:
    """What `edgechat sync` chooses, says and refuses."""

    def said(self, *arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
        assert main.run(["sync", *arguments]) == ExitCode.OK
        return capsys.readouterr().out

    def test_chats_with_feedback_are_chosen(
        self, server: str, store: HistoryStore, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.said(capsys=capsys) == "sent 3 replies; 0 there already\n"
        assert self.said("2", capsys=capsys) == "sent 2 replies; 0 there already\n"
        store.feedback.rate(5, -1)
        assert self.said("--all", capsys=capsys) == "sent 1 reply, 1 changed; 4 there already\n"
        assert json.loads(self.said("--rated", "--json", capsys=capsys))["known"] == 3

    def test_a_dry_run_says_all_of_it_and_speaks_to_nobody(self, own_home: Path, store: HistoryStore) -> None:
        """It runs where there is no network at all, and the second time it says the same."""
        store.feedback.rate(5, 1, "Kurz.")
        command = [*no_network(), sys.executable, "-m", "edgechat", "sync", "--dry-run"]
        for _ in range(2):
            ended = subprocess.run(
                [*command, "--tracking-uri", "http://user:secret@mlflow.example:5000"],
                capture_output=True,
                text=True,
                check=True,
                timeout=120,
            )
            assert "secret" not in ended.stdout + ended.stderr
            shown = json.loads(ended.stdout)
            assert [trace["outputs"]["choices"][0]["message"]["content"] for trace in shown] == ["one", "two", "too"]
            assert [trace["change"] for trace in shown] == ["new"] * 3
            (said,) = shown[2]["assessments"]
            assert (said["name"], said["value"], said["rationale"]) == ("thumbs_up", True, "Kurz.")

    def test_nothing_to_send_is_told(self, own_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for arguments in ([], ["--all"]):
            assert main.run(["sync", "--tracking-uri", f"http://127.0.0.1:{free_port()}", *arguments]) == ExitCode.OK
            captured = capsys.readouterr()
            assert (captured.out, bool(captured.err)) == ("", True)

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (["1", "--all"], ExitCode.USAGE),
            (["--rated", "--all"], ExitCode.USAGE),
            (["99"], ExitCode.STORAGE),
            (["1"], ExitCode.MODEL),
        ],
    )
    def test_what_cannot_be_is_refused(
        self, store: HistoryStore, capsys: pytest.CaptureFixture[str], arguments: list[str], code: ExitCode
    ) -> None:
        assert main.run(["sync", *arguments]) == code
        assert "Traceback" not in capsys.readouterr().err

    def test_a_server_that_is_not_there_is_told_and_nothing_is_remembered(
        self, own_home: Path, store: HistoryStore, capsys: pytest.CaptureFixture[str]
    ) -> None:
        uri = f"http://127.0.0.1:{free_port()}"
        assert main.run(["sync", "--tracking-uri", uri]) == ExitCode.MODEL
        assert "cannot be reached" in capsys.readouterr().err
        assert len(json.loads(self.said("--dry-run", "--tracking-uri", uri, capsys=capsys))) == 3


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (.ci/run installs it)")
def test_it_speaks_to_that_server_alone_and_writes_nowhere_else(
    mlflow_server: MlflowServer, own_home: Path, store: HistoryStore, tmp_path: Path
) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "EDGECHAT_HOME": str(own_home),
    }
    tracer = ["strace", "-f", "-e", "trace=%network", "-e", "signal=none", "-o", str(tmp_path / "trace")]
    program = [sys.executable, "-P", "-m", "edgechat", "sync", "--all", "--tracking-uri", mlflow_server.uri]
    ended = subprocess.run(
        [*tracer, *program, "--experiment", f"chats-{next(numbers)}"],
        env=environment,
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "sent 5 replies; 0 there already\n", "")
    trace = (tmp_path / "trace").read_text(errors="replace")
    ports = re.findall(r"connect\(\d+, \{sa_family=AF_INET6?, sin6?_port=htons\((\d+)\)", trace)
    assert set(ports) == {mlflow_server.uri.rpartition(":")[2]}
    assert list(home.iterdir()) == []
    assert list(work.iterdir()) == []
