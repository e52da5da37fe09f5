"""Prompt formats: convert messages to pieces, so that nothing a person types can become a control token.

A prompt is never built as one string and encoded. A format yields pieces: control tokens by name, its own markup, and
message text. Only a piece of kind "control" may become a control id; whoever encodes other pieces must treat every
character as text. Phi-3's is edgechat's native format (`PHI3`, and `phi3_text` for people); a model with another chat
template uses it through `TemplateForm`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from edgechat.chat.conversation import Message
from edgechat.errors import RequestError


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a prompt.

    Attributes:
        kind: "control": `text` names one control token. "markup": text of the format itself, such as a role name.
            "text": what a person wrote. "reply": what a model wrote; encoded separately from the markup before it, as
            it was when generated.
        text: The exact characters.
    """

    kind: Literal["control", "markup", "text", "reply"]
    text: str


class PromptForm(Protocol):
    """Converts messages to the pieces of a prompt."""

    @property
    def name(self) -> str:
        """The name of the format: "phi3", "chatml", "template"."""

    def pieces(self, messages: Sequence[Message], *, reply: bool = True) -> tuple[Piece, ...]:
        """Return the prompt of a conversation.

        Args:
            messages: The conversation, oldest first.
            reply: Whether to end with the opening of a new reply.

        Raises:
            RequestError: The format cannot express these messages.
        """


def prompt_pieces(form: PromptForm, messages: Sequence[Message]) -> tuple[Piece, ...]:
    """Return the prompt for what comes next: a new reply, or the rest of the last assistant message.

    Raises:
        RequestError: The format cannot express these messages.
    """
    if messages and messages[-1].role == "assistant" and messages[-1].content:
        return (*form.pieces(messages[:-1]), Piece("reply", messages[-1].content))
    return form.pieces(messages)


class Phi3Form:
    r"""`<|user|>\nU<|end|>\n<|assistant|>\n`, as in the Phi-3 model card.

    Phi-3's control tokens strip the white space after them, so the newlines never become ids. They are markup here,
    which the encoder strips after such a token, while spaces at the start of a message are text and stay.
    """

    name = "phi3"

    def pieces(self, messages: Sequence[Message], *, reply: bool = True) -> tuple[Piece, ...]:
        """Return the prompt of a conversation; any order of roles works."""
        out: list[Piece] = []
        for message in messages:
            out += [Piece("control", f"<|{message.role}|>"), Piece("markup", "\n")]
            out += [Piece("reply" if message.role == "assistant" else "text", message.content)]
            out += [Piece("control", "<|end|>"), Piece("markup", "\n")]
        if reply:
            out += [Piece("control", "<|assistant|>"), Piece("markup", "\n")]
        return tuple(out)


PHI3 = Phi3Form()


def phi3_text(messages: Sequence[Message], *, reply: bool = False) -> str:
    r"""Format a conversation as Phi-3 prompt text, for people and for export.

    Text that looks like a control token is unchanged, so the result is for reading, never for encoding.
    """
    return "".join(piece.text for piece in PHI3.pieces(messages, reply=reply))


_MARK = re.compile("\ue000([0-9]+)\ue001")

Render = Callable[[list[dict[str, str]], bool], str]
"""Applies a chat template: from role and content of the messages, and whether to open a reply, to the prompt text."""


@dataclass(frozen=True, slots=True)
class TemplateForm:
    """A model's own chat template, applied to placeholders instead of the messages' text.

    The template never sees what was typed: it gets one placeholder per message, and those in its output are then
        replaced
    by text pieces. So typed text can never be taken for markup, whatever the template does.

    Attributes:
        render: Applies the template. It may raise any exception for messages the template rejects.
        controls: The model's control tokens by name.
        name: The name shown by `edgechat models show`.
    """

    render: Render
    controls: frozenset[str]
    name: str = "template"

    def pieces(self, messages: Sequence[Message], *, reply: bool = True) -> tuple[Piece, ...]:
        """Return the prompt of a conversation.

        Some templates drop or reject a system message: its text then precedes the first user message. Some reject
        consecutive messages of one role: those are merged.
        """
        plain = list(messages)
        failure: Exception | None = None
        for attempt in (plain, _joined(plain), _joined(_without_system(plain))):
            try:
                rendered = self.render(
                    [{"role": message.role, "content": f"\ue000{i}\ue001"} for i, message in enumerate(attempt)], reply
                )
            except Exception as error:  # templates can raise anything
                failure = error
                continue
            marks = [int(number) for number in _MARK.findall(rendered)]
            if marks == list(range(len(attempt))):
                return tuple(self._split(rendered, attempt))
        raise RequestError(
            "The chat template cannot express this conversation",
            f"{failure}" if failure else "It leaves out or repeats a message.",
            "Start a new chat, or use a model with another template.",
        )

    def _split(self, rendered: str, messages: Sequence[Message]) -> Iterable[Piece]:
        parts = _MARK.split(rendered)
        for position, part in enumerate(parts):
            if position % 2:
                message = messages[int(part)]
                yield Piece("reply" if message.role == "assistant" else "text", message.content)
            else:
                yield from split_controls(part, self.controls)


def split_controls(markup: str, controls: frozenset[str]) -> Iterable[Piece]:
    """Split a format's own text into control tokens and markup; the longest name wins."""
    if not controls:
        if markup:
            yield Piece("markup", markup)
        return
    names = "|".join(re.escape(name) for name in sorted(controls, key=len, reverse=True))
    for part in re.split(f"({names})", markup):
        if part:
            yield Piece("control" if part in controls else "markup", part)


def _joined(messages: Sequence[Message]) -> list[Message]:
    out: list[Message] = []
    for message in messages:
        if out and out[-1].role == message.role:
            out[-1] = Message(message.role, f"{out[-1].content}\n\n{message.content}")
        else:
            out.append(message)
    return out


def _without_system(messages: Sequence[Message]) -> list[Message]:
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    rest = [message for message in messages if message.role != "system"]
    if not system:
        return rest
    if not rest or rest[0].role != "user":
        return [Message("user", system), *rest]
    return [Message("user", f"{system}\n\n{rest[0].content}"), *rest[1:]]
