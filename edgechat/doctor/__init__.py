"""Checks everything edgechat depends on, for `edgechat doctor` and the interface's doctor dialog.

Each check reports what it found, and in case of a problem its cause and the next step. The output may be pasted into a
bug report: home folder, user and host names are removed, and neither chats nor the user's own texts are examined. The
checks never load a model and change nothing; `edgechat --self-test` proves that a reply can be generated.

The JSON form has schema version 1, which only ever gains fields:
  schema: 1
  version: edgechat's version
  ok: whether no check failed
  checks: a list of objects with id, title, state ("ok", "warn" or "fail"), detail, hint ("" for none)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from edgechat import __version__
from edgechat.doctor import folders, machine, network, stored_data
from edgechat.doctor.preflight import Finding, lines
from edgechat.doctor.redaction import hider
from edgechat.errors import EdgechatError
from edgechat.i18n.catalog import N_
from edgechat.i18n.error_messages import translate_error
from edgechat.models.sanitize import shown
from edgechat.runtime import logs
from edgechat.settings.loader import Settings, load_settings

SCHEMA = 1


def examine(
    version: str = __version__,
    *,
    settings: Callable[[], Settings] = load_settings,
    key_problems: Callable[[Mapping[str, str]], list[str]] | None = None,
) -> list[Finding]:
    """Run every check in turn; a failing check does not prevent the others.

    Args:
        version: The version of edgechat, with details of the build if known.
        settings: Reads the settings.
        key_problems: Returns what is wrong with the user's key bindings; None if there are none.

    Returns:
        The findings, safe to share.
    """
    found: list[Finding] = []
    with network.Guard() as guard:
        read: Settings | None = None
        try:
            read = settings()
        except EdgechatError as error:
            found.append(stored_data.failed("settings", N_("Settings"), error))
        checks: tuple[Callable[[], Iterator[Finding]], ...] = (
            lambda: machine.versions(version),
            folders.folders,
            lambda: stored_data.settings(read),
            lambda: stored_data.keys(read, key_problems),
            stored_data.personas,
            machine.hardware,
            machine.confinement,
            machine.terminal,
            lambda: stored_data.models(read),
            stored_data.history,
            stored_data.log,
        )
        for check in checks:
            found += _run(check)
        found += _run(lambda: network.offline(guard))
    hide = hider()
    return [
        Finding(one.id, one.title, one.state, hide(translate_error(one.detail)), hide(translate_error(one.hint)))
        for one in found
    ]


def healthy(findings: list[Finding]) -> bool:
    """Whether no check failed."""
    return all(finding.state != "fail" for finding in findings)


def as_text(findings: list[Finding]) -> str:
    """Format the findings for people and bug reports."""
    return "\n".join(lines(tuple(findings)))


def as_json(findings: list[Finding], version: str = __version__) -> dict[str, Any]:
    """Format the findings for scripts; the module docstring describes the schema."""
    return {
        "schema": SCHEMA,
        "version": version,
        "ok": healthy(findings),
        "checks": [
            {"id": one.id, "title": one.title, "state": one.state, "detail": one.detail, "hint": one.hint}
            for one in findings
        ],
    }


def _run(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from list(check())
    except EdgechatError as error:
        yield stored_data.failed("check", N_("Check"), error)
    except OSError as error:
        yield Finding("check", N_("Check"), "fail", shown(f"{error.filename}: {error.strerror or error}.", 400))
    except Exception as error:  # a broken check must not break the doctor
        fault = logs.fault(error, "doctor")
        yield Finding("check", N_("Check"), "fail", fault.message, fault.hint)
