"""Options shared by several commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgechat.runtime.logs import LEVELS

F = TypeVar("F", bound=Callable[..., Any])


def model_option(command: F) -> F:
    """Add `-m/--model-uri`."""
    return click.option(
        "-m",
        "--model-uri",
        metavar="URI",
        help="Model to use: a folder (MLflow model or ONNX GenAI), the name of an installed model, or the URI of a "
        "pulled one.",
    )(command)


def persona_option(command: F) -> F:
    """Add `--persona`."""
    return click.option(
        "--persona", metavar="NAME", help="A saved system message, by its name; see edgechat personas."
    )(command)


def log_option(command: F) -> F:
    """Add `--log-level`."""
    return click.option(
        "--log-level",
        type=click.Choice(LEVELS),
        help="How much to log (F12 shows the log); it never contains anything from chats.",
    )(command)


def history_option(command: F) -> F:
    """Add `--no-history`, whose value is False if given, else None."""
    return click.option(
        "--no-history",
        "history",
        flag_value=False,
        default=None,
        type=bool,
        help="Do not save the chat.",
    )(command)


class SettingType(click.ParamType[Any]):
    """A value of a setting, validated by the settings' own limits."""

    name = "value"

    def __init__(self, key: str) -> None:
        self._key = key

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the value."""
        from edgechat.errors import ConfigError
        from edgechat.i18n.error_messages import translate_error
        from edgechat.settings.loader import check_value

        try:
            return check_value(self._key, str(value))
        except ConfigError as error:
            self.fail(f"{translate_error(error.message)}.", param, ctx)
