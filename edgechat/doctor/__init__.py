"""Whether everything edgechat stands on is right here, for `edgechat doctor` and the interface's own doctor.

Each check tells what it found, and where something is wrong its cause and the next step. What comes out may be pasted
into a bug report: no home folder, user or host name is left in it, and nothing of chats or of the user's own texts was
looked at. The checks never load a model and change nothing; that a reply can be written is proven by
`edgechat --self-test`.

The JSON form, whose schema is number 1 and only grows:
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
    """Run every check, one after the other; none that fails keeps the others from running.

    Args:
        version: Which edgechat this is, with what is known of its build.
        settings: Reads the settings.
        key_problems: What is wrong with the user's keys; None where nobody knows of any keys.

    Returns:
        The findings, fit to be shown to others.
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
    return [Finding(one.id, one.title, one.state, hide(one.detail), hide(one.hint)) for one in found]


def healthy(findings: list[Finding]) -> bool:
    """Whether no check failed."""
    return all(finding.state != "fail" for finding in findings)


def as_text(findings: list[Finding]) -> str:
    """The findings for people, and for a bug report."""
    return "\n".join(lines(tuple(findings)))


def as_json(findings: list[Finding], version: str = __version__) -> dict[str, Any]:
    """The findings for scripts; see this module's words on its schema."""
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
    except Exception as error:  # a doctor who faints helps nobody
        told = logs.fault(error, "doctor")
        yield Finding("check", N_("Check"), "fail", told.message, told.hint)
