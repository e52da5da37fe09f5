"""Requests and events as JSON lines, the language between `engine.client` and `engine.worker`.

Every line carries the number of the request it belongs to, so that a late stop or a late event can never be taken for
another reply's. Lines are decoded with their types; a line that does not fit is an error, never a guess.
"""

from __future__ import annotations

import msgspec

from edgechat.chat.conversation import Message
from edgechat.engine.fingerprint import Fingerprint
from edgechat.engine.protocol import Finished, Kind, ModelInfo, Progress, Prompt, Request, TextDelta
from edgechat.errors import EdgechatError, EngineError, ModelError, RequestError, StorageError

LINE_LIMIT = 64 * 1024 * 1024
"""Bytes of the longest line taken: a conversation far beyond any context still gets a proper answer."""


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load a model; answered by Progress and ModelInfo or Failure.

    Attributes:
        folder: The ONNX GenAI folder, or the Hugging Face folder with the weights.
        name: What to call the model.
        context: Tokens wanted; None is what the model and the memory allow.
        threads: Threads of the computation; None is one per physical core.
        spinning: Whether idle computing threads spin while they wait for work.
        kind: Which library runs the model.
        kept_bytes: Bytes of memory in which chats beside the one being held may stay computed; None is some of what is
            free.
        root: The folder of the whole model where `folder` is only a part of it; empty is the same. Nothing beside it
            can be read.
    """

    folder: str
    name: str
    context: int | None = None
    threads: int | None = None
    spinning: bool = True
    kind: Kind = "genai"
    kept_bytes: int | None = None
    root: str = ""


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Write a reply; answered by Progress, TextDelta and Finished, or Failure."""

    request: Request


class Count(msgspec.Struct, frozen=True, tag="count"):
    """Count the tokens of a prompt; answered by Counted or Failure."""

    messages: tuple[Message, ...]


class ShowPrompt(msgspec.Struct, frozen=True, tag="show_prompt"):
    """Show a prompt as it would be sent; answered by Prompt or Failure."""

    messages: tuple[Message, ...]


class Prefill(msgspec.Struct, frozen=True, tag="prefill"):
    """Compute the next prompt ahead, as far as it is known; answered by Prefilled or Failure.

    Questions that come meanwhile are answered in between; any other command ends it, and so does Stop.
    """

    messages: tuple[Message, ...]
    top_k: int | None = None


class TakeFingerprint(msgspec.Struct, frozen=True, tag="take_fingerprint"):
    """Say a fixed text in numbers; answered by Fingerprint or Failure. See `LoadedModel.fingerprint`."""

    reference: Fingerprint | None = None


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End what goes on under this number, a reply or a prefill; its last answer follows. Ignored when it is over."""


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    """The answer to Count."""

    tokens: int


class Prefilled(msgspec.Struct, frozen=True, tag="prefilled"):
    """The answer to Prefill: how many tokens were computed."""

    tokens: int


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """Said now and then, under the number 0, while a long computation goes on step by step."""


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """An EdgechatError on its way to the other process."""

    kind: str
    title: str
    message: str
    hint: str

    @classmethod
    def of(cls, error: EdgechatError) -> Failure:
        """Pack an error."""
        return cls(type(error).__name__, error.title, error.message, error.hint)

    def error(self) -> EdgechatError:
        """Unpack it as the nearest kind known here."""
        kinds: dict[str, type[EdgechatError]] = {
            kind.__name__: kind for kind in (ModelError, EngineError, RequestError, StorageError)
        }
        return kinds.get(self.kind, EngineError)(self.title, self.message, self.hint)


Command = Load | Generate | Count | ShowPrompt | Prefill | TakeFingerprint | Stop
Answer = ModelInfo | Progress | TextDelta | Finished | Counted | Prompt | Prefilled | Fingerprint | Alive | Failure


class CommandLine(msgspec.Struct, frozen=True):
    """One line to the worker."""

    id: int
    body: Command


class AnswerLine(msgspec.Struct, frozen=True):
    """One line from the worker."""

    id: int
    body: Answer


_encoder = msgspec.json.Encoder()
_commands = msgspec.json.Decoder(CommandLine)
_answers = msgspec.json.Decoder(AnswerLine)


def encode(line: CommandLine | AnswerLine) -> bytes:
    """One line, newline included; JSON escapes any newline within."""
    return _encoder.encode(line) + b"\n"


def decode_command(line: bytes) -> CommandLine:
    """Read a line the client wrote. Raises msgspec.DecodeError."""
    return _commands.decode(line)


def decode_answer(line: bytes) -> AnswerLine:
    """Read a line the worker wrote. Raises msgspec.DecodeError."""
    return _answers.decode(line)
