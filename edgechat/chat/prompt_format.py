"""Prompt forms: messages to pieces, so that nothing a person types can become a control token.

A prompt is never built as one string and encoded. A form yields pieces: control tokens by name, the form's own markup,
and the text of a message. Only a piece of kind "control" may become a control id; whoever encodes a piece of another
kind must treat every character of it as text. Phi-3's is edgechat's native form (`PHI3`, and `phi3_text` for people);
a model with another chat template uses its own through `TemplateForm`.
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
        kind: "control": `text` names one control token. "markup": words of the form itself, such as a role name.
            "text": what a person wrote. "reply": what a model wrote; it is encoded apart from the markup before it,
            as it was when it was generated.
        text: The characters, exactly.
    """

    kind: Literal["control", "markup", "text", "reply"]
    text: str


class PromptForm(Protocol):
    """Turns messages into the pieces of a prompt."""

    @property
    def name(self) -> str:
        """What the form is called: "phi3", "chatml", "template"."""

    def pieces(self, messages: Sequence[Message], *, reply: bool = True) -> tuple[Piece, ...]:
        """The prompt of a conversation.

        Args:
            messages: The conversation, oldest first.
            reply: Whether to end with the opening of a new reply.

        Raises:
            RequestError: The form cannot express these messages.
        """


def prompt_pieces(form: PromptForm, messages: Sequence[Message]) -> tuple[Piece, ...]:
    """The prompt that asks for what comes next: a new reply, or more of the assistant's last message.

    Raises:
        RequestError: The form cannot express these messages.
    """
    if messages and messages[-1].role == "assistant" and messages[-1].content:
        return (*form.pieces(messages[:-1]), Piece("reply", messages[-1].content))
    return form.pieces(messages)


class Phi3Form:
    r"""`<|user|>\nU<|end|>\n<|assistant|>\n`, as the Phi-3 model card gives it.

    Phi-3's control tokens swallow the white space after them, so the newlines never become ids. They are markup here,
    which the encoder strips after such a token, while the spaces at the start of a message are text and stay.
    """

    name = "phi3"

    def pieces(self, messages: Sequence[Message], *, reply: bool = True) -> tuple[Piece, ...]:
        """See `PromptForm.pieces`. Any order of roles can be expressed."""
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
    r"""The conversation as Phi-3 prompt text, for people and for export.

    Text that looks like a control token stays as it is, so the result is for reading, never for encoding.
    """
    return "".join(piece.text for piece in PHI3.pieces(messages, reply=reply))


_MARK = re.compile("\ue000([0-9]+)\ue001")

Render = Callable[[list[dict[str, str]], bool], str]
"""Applies a chat template: messages as role and content, and whether to open a reply, to the prompt text."""


@dataclass(frozen=True, slots=True)
class TemplateForm:
    """A model's own chat template, applied to marks in place of the messages' text.

    The template never sees what was typed: it is given one mark a message, and the marks in its output are replaced by
    pieces of text afterwards. So no typed text can be taken for markup, whatever the template does.

    Attributes:
        render: Applies the template. It may raise any exception for messages the template refuses.
        controls: The control tokens of the model, by name.
        name: What `edgechat models show` calls it.
    """

    render: Render
    controls: frozenset[str]
    name: str = "template"

    def pieces(self, messages: Sequence[Message], *, reply: bool = True) -> tuple[Piece, ...]:
        """See `PromptForm.pieces`.

        Some templates drop or refuse a system message: its text then goes in front of the first user message. Some
        refuse two messages of one role in a row: those are joined.
        """
        plain = list(messages)
        failure: Exception | None = None
        for attempt in (plain, _joined(plain), _joined(_without_system(plain))):
            try:
                rendered = self.render(
                    [{"role": message.role, "content": f"\ue000{i}\ue001"} for i, message in enumerate(attempt)], reply
                )
            except Exception as error:  # a template raises what it likes
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
    """Split a form's own text into control tokens and markup; the longest name wins where two begin alike."""
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
