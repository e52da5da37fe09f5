"""The ways a worker can fail, as errors: stopped, silent for too long, or dead."""

from __future__ import annotations

import contextlib
import signal

from edgechat.engine.protocol import StoppedError
from edgechat.errors import EdgechatError, EngineError, ModelError
from edgechat.i18n.sentence import Sentence
from edgechat.runtime import paths


def stopped_error() -> StoppedError:
    """Return the error for a worker that had to be killed because it did not stop."""
    return StoppedError(
        "The model was stopped",
        "It did not stop by itself in time, so it was ended.",
        "The next message loads it again.",
    )


def timeout_error(seconds: float, *, loading: bool) -> EdgechatError:
    """Return the error for a worker that was silent for that long."""
    long = f"{round(seconds / 60)} minutes" if seconds >= 120 else f"{round(seconds)} seconds"
    if loading:
        return ModelError(
            "The model does not finish loading",
            Sentence("After {long} it was still not loaded, so it was ended.", long=long),
            "A model from somebody else may be made to load for ever: use another one. "
            "On a very slow device, close other programs and try again.",
        )
    return EngineError(
        "The model does not go on",
        Sentence("Nothing came of it for {long}, so it was ended.", long=long),
        "Send the message again to start a new one; if it stays, use another model.",
    )


def log_hint() -> str:
    """The next step after a worker that died."""
    return Sentence(
        "Send the message again to start a new one. Its last words are in {log_path}.",
        log_path=paths.log_path("worker"),
    )


def exit_error(code: int, *, loading: bool) -> EdgechatError:
    """Explain an unexpected end of the worker."""
    if code == -getattr(signal, "SIGKILL", 9):
        return EngineError(
            "The model process was ended by the system",
            "It was killed, most likely because memory ran out.",
            "Close other programs, set a smaller context (EDGECHAT_CONTEXT) or use a smaller model; "
            "then send the message again.",
        )
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            if loading:
                return ModelError(
                    "The model process crashed",
                    Sentence("It was ended by signal {name} while the model was loaded.", name=name),
                    Sentence(
                        "Copy the model again from its source, or use another one. Its last words are in {log_path}.",
                        log_path=paths.log_path("worker"),
                    ),
                )
            return EngineError(
                "The model process crashed", Sentence("It was ended by signal {name}.", name=name), log_hint()
            )
    return EngineError("The model process ended", Sentence("Its exit code was {code}.", code=code), log_hint())
