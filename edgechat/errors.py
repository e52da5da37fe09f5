"""The one family of errors a user may see.

Each carries what went wrong, why, and the next step, so that the command line, the TUI and a log can all show the same
words. Nothing else in edgechat may reach a user as a traceback; `cli` is the one place that maps these to exit codes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process exits with. Scripts rely on these; never renumber them."""

    OK = 0
    ERROR = 1
    USAGE = 2
    MODEL = 3
    ENGINE = 4
    STORAGE = 5
    INTERRUPTED = 130


class EdgechatError(Exception):
    """A failure told to the user.

    Attributes:
        title: A few words naming the failure, without a full stop: "No model installed".
        message: One or two sentences with the cause: the path, the key, the number.
        hint: The next step for the user; empty when there is none.

    All three are source texts in English, with parameters as `edgechat.i18n.sentence.Sentence`; they are translated
    where they are shown.

        exit_code: What a command ends with when nothing handles the error.
    """

    exit_code: ExitCode = ExitCode.ERROR

    def __init__(self, title: str, message: str = "", hint: str = "") -> None:
        super().__init__(title, message, hint)
        self.title = title
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.title}: {self.message}" if self.message else self.title


class FaultError(EdgechatError):
    """Something that was not foreseen; the log has where it happened.

    Attributes:
        seen: Whether there was one since `forget`; the process then does not end as if all had been well.
    """

    seen: ClassVar[bool] = False

    def __init__(self, title: str, message: str = "", hint: str = "") -> None:
        super().__init__(title, message, hint)
        FaultError.seen = True

    @staticmethod
    def forget() -> None:
        """Another command begins."""
        FaultError.seen = False


class ConfigError(EdgechatError):
    """A setting from a flag, a variable or the TOML file is not usable."""

    exit_code = ExitCode.USAGE


class ModelError(EdgechatError):
    """A model folder is missing, damaged, unsafe or of a kind that is not supported."""

    exit_code = ExitCode.MODEL


class UnverifiedError(ModelError):
    """A model folder has no manifest, so there is nothing to compare it with."""


class ConvertError(ModelError):
    """A source in another format cannot be turned into an ONNX GenAI folder."""


class RegistryError(ModelError):
    """An MLflow server does not answer or refuses, or does not have the model that was asked for."""


class EngineError(EdgechatError):
    """The engine refused, failed or died."""

    exit_code = ExitCode.ENGINE


class RequestError(EngineError):
    """What was asked for cannot be done by this model or by any: too long, out of range, not understood."""


class StorageError(EdgechatError):
    """A file or folder of edgechat's own cannot be read or written: read-only, full, damaged."""

    exit_code = ExitCode.STORAGE


class TransferError(EdgechatError):
    """A file of chats that was given to be imported cannot be read: malformed, hostile, or of no known form."""


class DamagedError(StorageError):
    """The history's file is not what was written to it: cut, overwritten, or never a database."""


def is_panic(error: BaseException) -> bool:
    """Whether it is the failure of a library in Rust, which is none of Python's `Exception`s."""
    return type(error).__name__ == "PanicException"
