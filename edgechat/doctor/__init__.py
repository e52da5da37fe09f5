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

from edgechat import __version__, logs
from edgechat.config import Settings, load_settings
from edgechat.doctor import folders, kept, machine, network
from edgechat.doctor.hiding import hider
from edgechat.errors import EdgechatError
from edgechat.i18n import N_
from edgechat.models.words import shown
from edgechat.preflight import Finding, lines

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
            found.append(kept.failed("settings", N_("Settings"), error))
        checks: tuple[Callable[[], Iterator[Finding]], ...] = (
            lambda: machine.versions(version),
            folders.folders,
            lambda: kept.settings(read),
            lambda: kept.keys(read, key_problems),
            kept.personas,
            machine.hardware,
            machine.confinement,
            machine.terminal,
            lambda: kept.models(read),
            kept.history,
            kept.log,
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
        yield kept.failed("check", N_("Check"), error)
    except OSError as error:
        yield Finding("check", N_("Check"), "fail", shown(f"{error.filename}: {error.strerror or error}.", 400))
    except Exception as error:  # a doctor who faints helps nobody
        told = logs.fault(error, "doctor")
        yield Finding("check", N_("Check"), "fail", told.message, told.hint)
