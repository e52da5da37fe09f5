"""Messages that know their parent, as other programs keep them, to turns and replies.

Elsewhere each message is a node: a reply follows a question, the next question follows one reply, and an answer may
come in several messages with tools between them. Here a turn holds its replies, and the next turn follows the turn. So
the messages of an answer become one reply, and where questions follow more than one reply of a turn, the turn is
repeated for each: every branch is then read by a model as it was held.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from edgechat.errors import TransferError
from edgechat.history.transfer.schema import CarriedReply, CarriedTurn

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

LONGEST_ANSWER = 1000
"""Messages that may be joined to one reply."""


@dataclass(frozen=True, slots=True)
class Node:
    """One message of another program.

    Attributes:
        kind: Who wrote it; "none" for what was left out, through which its children still follow its parent.
        parent: The message it follows; None for a first one.
        children: The messages that follow it, in their order; only order is taken from it.
        text: What was written, by the user or as a system message.
        created: Seconds since the epoch.
        reply: What was written, by a model.
    """

    kind: Literal["system", "user", "assistant", "none"]
    parent: str | None
    children: tuple[str, ...] = ()
    text: str = ""
    created: float = 0.0
    reply: CarriedReply | None = None


@dataclass(frozen=True, slots=True)
class Tree:
    """What became of the messages.

    Attributes:
        turns, leaf: As in `CarriedChat`.
        system: The system messages before the first turn.
    """

    turns: tuple[CarriedTurn, ...]
    leaf: int | None
    system: str


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """The messages of an answer so far: the last one, and those before it."""

    last: str
    reply: CarriedReply
    before: _Run | None
    length: int


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """A whole answer, and what was asked after it."""

    run: _Run
    followed_by: list[str] = field(default_factory=list)

    @property
    def parts(self) -> list[CarriedReply]:
        """Its messages, oldest first."""
        parts: list[CarriedReply] = []
        run: _Run | None = self.run
        while run is not None:
            parts.append(run.reply)
            run = run.before
        return parts[::-1]


def grow(nodes: dict[str, Node], current: str | None, notes: Counter[str]) -> Tree:
    """The turns of a chat.

    Args:
        nodes: The messages by id, in the file's order.
        current: The last message of the branch that is shown.
        notes: Counts what people should be told.

    Raises:
        TransferError: Messages follow each other in a circle, or too many make one answer.
    """
    children = _children(nodes, notes)
    path = _path(nodes, current)
    on_path = set(path)
    turns: list[CarriedTurn] = []
    leaf: int | None = None
    systems: list[str] = []
    seen = 0
    # The messages before the first question, then each question with what answers it.
    waiting: list[tuple[str | None, int | None]] = [(None, None)]
    while waiting:
        asked, parent = waiting.pop()
        answers, direct, passed = _answers(nodes, children, asked, systems, notes)
        seen += passed
        shown = max(
            (answer for answer in answers if answer.run.last in on_path),
            key=lambda answer: answer.run.length,
            default=None,
        )
        main = shown or next((answer for answer in answers if answer.followed_by), answers[-1] if answers else None)
        later: list[tuple[str | None, int | None]] = []
        for replies, shown_reply, after in _copies(answers, main, direct):
            place = parent
            if asked is not None or replies:
                place = len(turns)
                turns.append(_turn(nodes, asked, parent, replies, shown_reply))
                if parent is not None:
                    turns[-1] = replace(turns[-1], follows=turns[parent].active)
                if shown_reply is main and path and (asked in on_path or asked is None):
                    leaf = place
            later += [(name, place) for name in after]
        waiting += reversed(later)
    if seen < len(nodes):
        raise TransferError(
            "Chat is damaged",
            f"{len(nodes) - seen} of its messages follow each other in a circle.",
            "Take that chat out of the file, then try again.",
        )
    if leaf is None and turns:
        leaf = len(turns) - 1
    return Tree(tuple(turns), leaf, "\n\n".join(dict.fromkeys(systems)))


def _copies(
    answers: Sequence[_Answer], main: _Answer | None, direct: Sequence[str]
) -> Iterator[tuple[list[_Answer], _Answer | None, list[str]]]:
    """The turns that one question becomes: the replies of each, the one shown, and the questions that follow it.

    One turn holds the main reply and those after which nothing was asked; each other reply has a turn of its own.
    """
    together = [answer for answer in answers if answer is main or not answer.followed_by]
    if main is None:
        yield [], None, list(direct)
    for answer in answers:
        if answer is main:
            yield together, main, [*answer.followed_by, *direct]
        elif answer.followed_by:
            yield [answer], answer, answer.followed_by


def _turn(
    nodes: dict[str, Node], asked: str | None, parent: int | None, answers: Sequence[_Answer], main: _Answer | None
) -> CarriedTurn:
    replies = tuple(_joined(answer.parts) for answer in answers)
    active = next((n for n, answer in enumerate(answers) if answer is main), None)
    if asked is None:  # a model that spoke first
        return CarriedTurn("", replies[0].created, parent, replies, active)
    return CarriedTurn(nodes[asked].text, nodes[asked].created, parent, replies, active)


def _joined(parts: Sequence[CarriedReply]) -> CarriedReply:
    """Several messages as one reply, which ended as the last of them did."""
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[-1],
        text="\n\n".join(part.text for part in parts if part.text),
        created=parts[0].created,
        model=next((part.model for part in reversed(parts) if part.model), ""),
        prompt_tokens=max(part.prompt_tokens for part in parts),
        completion_tokens=sum(part.completion_tokens for part in parts),
        error="\n".join(part.error for part in parts if part.error),
        rating=next((part.rating for part in reversed(parts) if part.rating), 0),
        note="\n".join(part.note for part in parts if part.note),
    )


def _answers(
    nodes: dict[str, Node],
    children: dict[str | None, list[str]],
    asked: str | None,
    systems: list[str],
    notes: Counter[str],
) -> tuple[list[_Answer], list[str], int]:
    """The answers to a question, the questions that follow it without an answer, and how many messages were passed."""
    answers: dict[str, _Answer] = {}
    direct: list[str] = []
    passed = 0
    waiting: list[tuple[str, _Run | None]] = [(name, None) for name in reversed(children[asked])]
    while waiting:
        name, run = waiting.pop()
        node = nodes[name]
        passed += 1
        if node.kind == "user":
            if run is None:
                direct.append(name)
            else:
                answers.setdefault(run.last, _Answer(run)).followed_by.append(name)
            continue
        if node.kind == "assistant" and node.reply is not None:
            run = _Run(name, node.reply, run, run.length + 1 if run else 1)
            if run.length > LONGEST_ANSWER:
                raise TransferError(
                    "Chat is damaged", f"One answer has more than {LONGEST_ANSWER} messages.", "Take that chat out."
                )
        elif node.kind == "system" and node.text:
            if asked is None and run is None:
                systems.append(node.text)
            else:
                notes["system messages in the middle of a chat were left out"] += 1
        if run is not None and not children[name]:
            answers.setdefault(run.last, _Answer(run))
        waiting += [(child, run) for child in reversed(children[name])]
    return list(answers.values()), direct, passed


def _children(nodes: dict[str, Node], notes: Counter[str]) -> dict[str | None, list[str]]:
    """What follows each message, and under None the first ones: by what `parent` says, in the order of `children`."""
    ranks = {child: n for node in nodes.values() for n, child in enumerate(node.children)}
    found: dict[str | None, list[str]] = {None: [], **{name: [] for name in nodes}}
    for name, node in nodes.items():
        parent = node.parent
        if parent is not None and parent not in nodes:
            notes["messages follow one that is missing, and begin a branch of their own"] += 1
            parent = None
        found[parent].append(name)
    for names in found.values():
        names.sort(key=lambda name: ranks.get(name, len(nodes)))
    return found


def _path(nodes: dict[str, Node], current: str | None) -> list[str]:
    path: dict[str, None] = {}
    while current is not None and current in nodes and current not in path:
        path[current] = None
        current = nodes[current].parent
    return list(path)
