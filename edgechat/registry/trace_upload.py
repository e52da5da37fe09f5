"""Uploads chats to MLflow servers: each reply is a trace with its usage, timings and feedback.

Every trace and assessment has a permanent id generated here, and a server that already has it replaces it, so nothing
is duplicated however an upload was interrupted. The history records what was sent, so that next time only new or
changed replies are sent. Nothing is sent beyond what `traces_of` yields.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgechat.chat.sanitize import printable
from edgechat.errors import RegistryError
from edgechat.history.sync_state import Destination, SentLog
from edgechat.history.transfer.records import read_chat
from edgechat.i18n.sentence import Sentence
from edgechat.models.registry_uri import plain_server
from edgechat.registry.client import connect, server_uri, translate_errors
from edgechat.registry.push import experiment_in, experiment_name
from edgechat.registry.trace_mapping import NOTE, PREVIEW, THUMBS, ReplyTrace, assessment_id, traces_of

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracing.client import TracingClient

    from edgechat.history.database import Database

Change = Literal["new", "changed"]
"""Whether a trace is missing on the server or has changed."""

_SPAN = "chat"
_SOURCE = "edgechat"


@dataclass(frozen=True, slots=True)
class PendingReply:
    """A reply to be sent.

    Attributes:
        chat: Its chat.
        change: Why it is to be sent.
        trace: What will be sent.
    """

    chat: int
    change: Change
    trace: ReplyTrace


@dataclass(frozen=True, slots=True)
class Synced:
    """The result of an upload.

    Attributes:
        chats: Number of chats of which something was sent.
        new: Replies sent for the first time.
        changed: Replies sent again because they or their feedback had changed.
        known: Replies already on the server and unchanged.
        server: The server, without credentials.
        experiment: The experiment's name.
    """

    chats: int
    new: int
    changed: int
    known: int
    server: str
    experiment: str


def pending(
    database: Database, chats: Iterable[int], *, tracking_uri: str | None = None, experiment: str | None = None
) -> Iterator[PendingReply]:
    """Yield what would be sent according to local records, without contacting a server.

    Args:
        database: The history.
        chats: Ids of chats; one that is deleted meanwhile is skipped.
        tracking_uri: The server; defaults to MLFLOW_TRACKING_URI.
        experiment: The experiment; defaults to MLFLOW_EXPERIMENT_NAME, else "edgechat".

    Raises:
        RegistryError: No server is named.
        StorageError: The history cannot be read.
    """
    to = Destination(plain_server(server_uri(tracking_uri)), experiment_name(experiment))
    there = SentLog(database).digests(to)
    for chat, trace in _traces(database, chats, to.experiment):
        if there.get(trace.id) != trace.digest:
            yield PendingReply(chat, "changed" if there.get(trace.id) else "new", trace)


def sync(
    database: Database,
    chats: Iterable[int],
    *,
    tracking_uri: str | None = None,
    experiment: str | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Synced:
    """Send replies that are missing or outdated on the server.

    It may be interrupted at any point, and resumes when called again.

    Args:
        database: The history, which also records what was sent.
        chats: Ids of chats; one that is deleted meanwhile is skipped.
        tracking_uri: The server; defaults to MLFLOW_TRACKING_URI.
        experiment: The experiment, created if missing; defaults to MLFLOW_EXPERIMENT_NAME, else "edgechat".
        on_progress: Called with the number of replies sent.

    Raises:
        RegistryError: The server cannot be reached, refuses, or does not accept traces.
        StorageError: The history cannot be read or written.
    """
    server, name = server_uri(tracking_uri), experiment_name(experiment)
    client = connect(server)
    with translate_errors(server):
        found = experiment_in(client, server, name)
        sender = _Sender(server, found)
    to = Destination(plain_server(server), name, f"{found.experiment_id} {found.creation_time}")
    log = SentLog(database)
    there = log.digests(to)
    sent: dict[Change, int] = {"new": 0, "changed": 0}
    known, of = 0, set()
    for chat, trace in _traces(database, chats, name):
        before = there.get(trace.id)
        if before == trace.digest:
            known += 1
            continue
        log.record(to, trace.id)  # from here on parts of it may be on the server
        with translate_errors(server):
            sender.send(trace, again=before is not None)
        log.record(to, trace.id, trace.digest)
        sent["changed" if before else "new"] += 1
        of.add(chat)
        if on_progress is not None:
            on_progress(sum(sent.values()))
    return Synced(len(of), sent["new"], sent["changed"], known, to.server, name)


def _traces(database: Database, chats: Iterable[int], experiment: str) -> Iterator[tuple[int, ReplyTrace]]:
    for chat in chats:
        carried = read_chat(database, chat)
        if carried is not None:
            for trace in traces_of(carried, experiment):
                yield chat, trace


class _Sender:
    """Sends traces to one experiment."""

    def __init__(self, server: str, experiment: Experiment) -> None:
        from mlflow.tracing.client import TracingClient

        self._server = plain_server(server)
        self._experiment: str = experiment.experiment_id
        self._client: TracingClient = TracingClient(server)

    def send(self, trace: ReplyTrace, *, again: bool) -> None:
        """Create a trace on the server, or update an existing one.

        Args:
            trace: The trace.
            again: Whether an earlier version of it may exist.
        """
        # Not the fluent API, which generates ids and sends in the background without reporting failures.
        try:
            self._client.log_spans(self._experiment, [_span(trace)])
        except NotImplementedError as error:
            raise RegistryError(
                "MLflow server takes no traces",
                Sentence("{server}: {error}.", server=self._server, error=error),
                "Use MLflow 3.4 or newer, on a database.",
            ) from error
        self._client.start_trace(_info(trace, self._experiment))
        if again:
            current = {assessment.id for assessment in trace.assessments}
            for removed in {assessment_id(trace.id, name) for name in (THUMBS, NOTE)} - current:
                self._client.delete_assessment(_mlflow_id(trace), removed)


def _mlflow_id(trace: ReplyTrace) -> str:
    return f"tr-{trace.id}"


def _span(trace: ReplyTrace) -> Any:
    from mlflow.entities import Span

    attributes = {
        "mlflow.traceRequestId": _mlflow_id(trace),
        "mlflow.spanType": "CHAT_MODEL",
        "mlflow.spanInputs": trace.inputs,
        "mlflow.spanOutputs": trace.outputs,
        **trace.attributes,
    }
    whole = bytes.fromhex(trace.id)
    return Span.from_dict(
        {
            "name": _SPAN,
            "trace_id": base64.b64encode(whole).decode(),
            "span_id": base64.b64encode(whole[:8]).decode(),
            "parent_span_id": "",
            "start_time_unix_nano": trace.begun * 1_000_000,
            "end_time_unix_nano": (trace.begun + trace.duration) * 1_000_000,
            "status": {"code": "ERROR" if trace.failed else "OK"},
            "attributes": {name: json.dumps(value, ensure_ascii=False) for name, value in attributes.items()},
        }
    )


def _info(trace: ReplyTrace, experiment: str) -> Any:
    from mlflow.entities import AssessmentSource, Feedback, TraceInfo, TraceLocation, TraceState

    assessments = []
    for item in trace.assessments:
        assessment = Feedback(
            item.name,
            item.value,
            source=AssessmentSource("HUMAN", _SOURCE),
            trace_id=_mlflow_id(trace),
            rationale=item.rationale,
        )
        assessment.assessment_id = item.id
        assessments.append(assessment)
    usage = trace.attributes.get("mlflow.chat.tokenUsage")
    return TraceInfo(
        _mlflow_id(trace),
        TraceLocation.from_experiment_id(experiment),
        trace.begun,
        TraceState.ERROR if trace.failed else TraceState.OK,
        request_preview=printable(trace.inputs["messages"][-1]["content"][:PREVIEW]),
        response_preview=printable(trace.outputs["choices"][0]["message"]["content"][:PREVIEW]),
        client_request_id=trace.id,
        execution_duration=trace.duration,
        trace_metadata={
            "mlflow.trace.session": trace.session,
            **({"mlflow.trace.tokenUsage": json.dumps(usage)} if usage else {}),
        },
        tags={"mlflow.traceName": _SPAN},
        assessments=assessments,
    )
