"""Converts messages with a parent, as other programs store them, to turns and replies.

Elsewhere each message is a node: a reply follows a question, the next question follows one reply, and an answer may
consist of several messages with tool calls between them. Here a turn contains its replies, and the next turn follows
the turn. So the messages of an answer are merged into one reply, and if questions follow several replies of a turn, the
turn is repeated for each: a model then reads every branch as it happened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from edgechat.errors import TransferError
from edgechat.history.transfer.schema import CarriedReply, CarriedTurn
from edgechat.i18n.sentence import Sentence

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Sequence

LONGEST_ANSWER = 1000
"""Maximum number of messages merged into one reply."""


@dataclass(frozen=True, slots=True)
class Node:
    """One message from another program.

    Attributes:
        kind: Who wrote it; "none" for a skipped message, whose children are attached to its parent.
        parent: The message it follows; None for a first one.
        children: The messages that follow it; used only for their order.
        text: What the user or a system message said.
        created: Seconds since the epoch.
        reply: What a model said.
    """

    kind: Literal["system", "user", "assistant", "none"]
    parent: str | None
    children: tuple[str, ...] = ()
    text: str = ""
    created: float = 0.0
    reply: CarriedReply | None = None


@dataclass(frozen=True, slots=True)
class Tree:
    """The result of the conversion.

    Attributes:
        turns, leaf: As in `CarriedChat`.
        system: The system messages before the first turn.
    """

    turns: tuple[CarriedTurn, ...]
    leaf: int | None
    system: str


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """The messages of an answer so far: the last one, and its predecessors."""

    last: str
    reply: CarriedReply
    before: _Run | None
    length: int


@dataclass(frozen=True, slots=True, eq=False)
class _Answer:
    """A complete answer, and the questions that follow it."""

    run: _Run
    followed_by: list[str] = field(default_factory=list)

    @property
    def parts(self) -> list[CarriedReply]:
        """Return its messages, oldest first."""
        parts: list[CarriedReply] = []
        run: _Run | None = self.run
        while run is not None:
            parts.append(run.reply)
            run = run.before
        return parts[::-1]


def build_tree(nodes: dict[str, Node], current: str | None, notes: Counter[str]) -> Tree:
    """Build the turns of a chat.

    Args:
        nodes: The messages by id, in file order.
        current: The last message of the active branch.
        notes: Counts what to report to the user.

    Raises:
        TransferError: The messages form a cycle, or an answer consists of too many.
    """
    children = _children(nodes, notes)
    path = _path(nodes, current)
    on_path = set(path)
    turns: list[CarriedTurn] = []
    leaf: int | None = None
    systems: list[str] = []
    consumed = 0
    # First the messages before the first question, then each question with its answers.
    waiting: list[tuple[str | None, int | None]] = [(None, None)]
    while waiting:
        question, parent = waiting.pop()
        answers, direct, passed = _answers(nodes, children, question, systems, notes)
        consumed += passed
        active = max(
            (answer for answer in answers if answer.run.last in on_path),
            key=lambda answer: answer.run.length,
            default=None,
        )
        main = active or next((answer for answer in answers if answer.followed_by), answers[-1] if answers else None)
        later: list[tuple[str | None, int | None]] = []
        for replies, active_reply, after in _copies(answers, main, direct):
            place = parent
            if question is not None or replies:
                place = len(turns)
                turns.append(_turn(nodes, question, parent, replies, active_reply))
                if parent is not None:
                    turns[-1] = replace(turns[-1], follows=turns[parent].active)
                if active_reply is main and path and (question in on_path or question is None):
                    leaf = place
            later += [(name, place) for name in after]
        waiting += reversed(later)
    if consumed < len(nodes):
        raise TransferError(
            "Chat is damaged",
            Sentence("{value} of its messages follow each other in a circle.", value=len(nodes) - consumed),
            "Take that chat out of the file, then try again.",
        )
    if leaf is None and turns:
        leaf = len(turns) - 1
    return Tree(tuple(turns), leaf, "\n\n".join(dict.fromkeys(systems)))


def _copies(
    answers: Sequence[_Answer], main: _Answer | None, direct: Sequence[str]
) -> Iterator[tuple[list[_Answer], _Answer | None, list[str]]]:
    """Yield the turns a question becomes: the replies of each, the active one, and the questions that follow it.

    One turn has the main reply and those not followed by a question; every other reply gets a turn of its own.
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
    nodes: dict[str, Node], question: str | None, parent: int | None, answers: Sequence[_Answer], main: _Answer | None
) -> CarriedTurn:
    replies = tuple(_joined(answer.parts) for answer in answers)
    active = next((n for n, answer in enumerate(answers) if answer is main), None)
    if question is None:  # the model spoke first
        return CarriedTurn("", replies[0].created, parent, replies, active)
    return CarriedTurn(nodes[question].text, nodes[question].created, parent, replies, active)


def _joined(parts: Sequence[CarriedReply]) -> CarriedReply:
    """Merge several messages into one reply, which ended like the last of them."""
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
    question: str | None,
    systems: list[str],
    notes: Counter[str],
) -> tuple[list[_Answer], list[str], int]:
    """Return the answers to a question, the questions following it directly, and the number of messages consumed."""
    answers: dict[str, _Answer] = {}
    direct: list[str] = []
    passed = 0
    waiting: list[tuple[str, _Run | None]] = [(name, None) for name in reversed(children[question])]
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
                    "Chat is damaged",
                    Sentence("One answer has more than {longest_answer} messages.", longest_answer=LONGEST_ANSWER),
                    "Take that chat out.",
                )
        elif node.kind == "system" and node.text:
            if question is None and run is None:
                systems.append(node.text)
            else:
                notes["system messages in the middle of a chat were left out"] += 1
        if run is not None and not children[name]:
            answers.setdefault(run.last, _Answer(run))
        waiting += [(child, run) for child in reversed(children[name])]
    return list(answers.values()), direct, passed


def _children(nodes: dict[str, Node], notes: Counter[str]) -> dict[str | None, list[str]]:
    """Return the children of each message, and the first ones under None: by `parent`, in the order of `children`."""
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
