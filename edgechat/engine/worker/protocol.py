"""Requests and events as JSON lines, the protocol between `worker.client` and `worker.process`.

Every line carries the number of its request, so that a late stop or event cannot be attributed to another reply. Lines
are decoded into their types; one that does not match is an error, never a guess.
"""

from __future__ import annotations

import msgspec

from edgechat.chat.conversation import Message
from edgechat.engine.fingerprint import Fingerprint
from edgechat.engine.protocol import Finished, Kind, ModelInfo, Progress, Prompt, Request, TextDelta
from edgechat.errors import EdgechatError, EngineError, ModelError, RequestError, StorageError
from edgechat.i18n.sentence import Plain, plain, restored

LINE_LIMIT = 64 * 1024 * 1024
"""Maximum bytes per line: even a conversation far beyond any context gets a proper answer."""


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Load a model; answered by Progress and ModelInfo or Failure.

    Attributes:
        folder: The ONNX GenAI folder, or the Hugging Face folder with the weights.
        name: Display name.
        context: Requested context window in tokens; None uses what the model and the memory allow.
        threads: Compute threads; None is one per physical core.
        spinning: Whether idle compute threads spin while waiting for work.
        kind: The library that runs the model.
        cache_bytes: Memory budget for KV caches of other recent chats; None uses a share of the free memory.
        root: The folder of the whole model if `folder` is only part of it, else empty. Nothing outside it can be read.
    """

    folder: str
    name: str
    context: int | None = None
    threads: int | None = None
    spinning: bool = True
    kind: Kind = "genai"
    cache_bytes: int | None = None
    root: str = ""


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Generate a reply; answered by Progress, TextDelta and Finished, or Failure."""

    request: Request


class Count(msgspec.Struct, frozen=True, tag="count"):
    """Count the tokens of a prompt; answered by Counted or Failure."""

    messages: tuple[Message, ...]


class ShowPrompt(msgspec.Struct, frozen=True, tag="show_prompt"):
    """Show a prompt as it would be sent; answered by Prompt or Failure."""

    messages: tuple[Message, ...]


class Prefill(msgspec.Struct, frozen=True, tag="prefill"):
    """Compute the next prompt ahead, as far as it is known; answered by Prefilled or Failure.

    Count and ShowPrompt are answered in between; any other command ends it, including Stop.
    """

    messages: tuple[Message, ...]
    top_k: int | None = None


class TakeFingerprint(msgspec.Struct, frozen=True, tag="take_fingerprint"):
    """Take a fingerprint; answered by Fingerprint or Failure. See `LoadedModel.fingerprint`."""

    reference: Fingerprint | None = None


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Stop the reply or prefill with this number; its last answer follows. Ignored if it has finished."""


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    """The answer to Count."""

    tokens: int


class Prefilled(msgspec.Struct, frozen=True, tag="prefilled"):
    """The answer to Prefill: the number of tokens computed."""

    tokens: int


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """A heartbeat, with number 0, while a long computation is making progress."""


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """An EdgechatError serialised for the other process."""

    kind: str
    title: Plain
    message: Plain
    hint: Plain

    @classmethod
    def of(cls, error: EdgechatError) -> Failure:
        """Serialise an error."""
        return cls(type(error).__name__, plain(error.title), plain(error.message), plain(error.hint))

    def error(self) -> EdgechatError:
        """Restore the error as the closest type known here."""
        kinds: dict[str, type[EdgechatError]] = {
            kind.__name__: kind for kind in (ModelError, EngineError, RequestError, StorageError)
        }
        return kinds.get(self.kind, EngineError)(*map(restored, (self.title, self.message, self.hint)))


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
    """Encode one line including its newline; JSON escapes any newline inside."""
    return _encoder.encode(line) + b"\n"


def decode_command(line: bytes) -> CommandLine:
    """Decode a line written by the client. Raises msgspec.DecodeError."""
    return _commands.decode(line)


def decode_answer(line: bytes) -> AnswerLine:
    """Decode a line written by the worker. Raises msgspec.DecodeError."""
    return _answers.decode(line)
