"""The last line of the screen: what the model is doing, and how full its memory of the chat is.

It is a pure drawing of a `Status` into whatever width there is: the state always stays, the rest gives way in a fixed
order. It keeps no state of its own and never asks the session anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from textual.app import RenderResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from edgechat.chat.sanitize import printable
from edgechat.engine.protocol import Progress
from edgechat.i18n.catalog import N_, _
from edgechat.tui import glyphs
from edgechat.tui.themes import MUTED

METER_CELLS = 10


class Activity(StrEnum):
    """What the model is doing; `_WORDS` has the words shown."""

    LOADING = "loading"
    INSTALLING = "installing"
    READY = "ready"
    READING = "reading the prompt"
    SUMMING_UP = "summing up what is left out"
    WRITING = "writing"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"


_WORDS = {
    Activity.LOADING: N_("loading"),
    Activity.INSTALLING: N_("installing"),
    Activity.READY: N_("ready"),
    Activity.READING: N_("reading the prompt"),
    Activity.SUMMING_UP: N_("summing up what is left out"),
    Activity.WRITING: N_("writing"),
    Activity.STOPPING: N_("stopping"),
    Activity.STOPPED: N_("stopped"),
    Activity.ERROR: N_("error"),
}

_SIGN = {
    Activity.READY: (glyphs.DONE, "$text-success"),
    Activity.WRITING: (glyphs.DONE, "$text-primary"),
    Activity.READING: (glyphs.WAITING, "$text-primary"),
    Activity.SUMMING_UP: (glyphs.WAITING, "$text-primary"),
    Activity.STOPPED: (glyphs.STOPPED, MUTED),
    Activity.ERROR: (glyphs.FAILED, "$text-error"),
}


@dataclass(frozen=True, slots=True)
class Status:
    """What the line shows.

    Attributes:
        activity: What the model is doing.
        note: A few more words on it: percent, tokens, the title of an error.
        model: Its name; empty until it is known.
        used, context: Tokens in use and available; `context` is 0 until it is known.
        speed: Tokens per second of the current or last reply; 0 is unknown.
        exact: Whether `speed` was measured by the engine rather than guessed from the fragments.
    """

    activity: Activity = Activity.LOADING
    note: str = ""
    model: str = ""
    used: int = 0
    context: int = 0
    speed: float = 0.0
    exact: bool = False


def progress_words(progress: Progress) -> tuple[Activity, str]:
    """What the line says of a step that is going on."""
    match progress.phase:
        case "install":
            percent = f"{min(100, 100 * progress.done // progress.total)} %" if progress.total else ""
            return Activity.INSTALLING, " ".join(part for part in (percent, progress.note) if part)
        case "check":
            return Activity.LOADING, _("checking {percent} %").format(
                percent=100 * progress.done // max(1, progress.total)
            )
        case "load":
            return Activity.LOADING, progress.note
        case "prefill":
            tokens = f"{progress.done:,}/{progress.total:,}" if progress.total else ""
            return Activity.READING, tokens
        case "summarise":
            return Activity.SUMMING_UP, ""


class StatusLine(Widget):
    """Draws a `Status`."""

    status: reactive[Status] = reactive(Status())

    def render(self) -> RenderResult:
        """The parts that fit, the state first."""
        return status_content(self.status, self.content_size.width)


def status_content(status: Status, width: int) -> Content:
    """The status in at most `width` cells; parts that do not fit are left out, least important first."""
    sign, colour = _SIGN.get(status.activity, (glyphs.WAITING, "$text-accent"))
    between = ": " if status.activity is Activity.ERROR else " "
    activity = _(_WORDS[status.activity])
    word = printable(f"{activity}{between}{status.note}" if status.note else activity)
    state = Content.assemble((sign, colour), " ", (word, "$foreground"))
    model = Content.styled(printable(status.model), MUTED)
    meter = _meter(status)
    numbers = _numbers(status)
    speed = _speed(status)
    keys = Content.styled(_("F1 help"), MUTED)
    for parts in (
        (model, meter, speed, keys),
        (model, meter, speed),
        (model, numbers, speed),
        (model, numbers),
        (numbers,),
        (),
    ):
        shown = [part for part in parts if part.cell_length]
        need = state.cell_length + sum(part.cell_length + 3 for part in shown)
        if need <= width:
            right = Content("   ").join(shown)
            gap = max(1, width - state.cell_length - right.cell_length)
            return Content.assemble(state, " " * gap, right) if shown else state
    return state.truncate(max(1, width), ellipsis=True)


def _numbers(status: Status) -> Content:
    if not status.context:
        return Content()
    return Content.styled(f"{status.used:,}/{status.context:,}", MUTED)


def _meter(status: Status) -> Content:
    if not status.context:
        return Content()
    share = min(1.0, status.used / status.context)
    full = min(METER_CELLS, round(share * METER_CELLS)) if share else 0
    full = max(full, 1) if status.used else 0
    colour = "$text-error" if share > 0.95 else "$text-warning" if share > 0.8 else "$text-primary"
    return Content.assemble(
        (glyphs.METER * full, colour),
        (glyphs.METER_REST * (METER_CELLS - full), "$foreground 25%"),
        " ",
        _numbers(status),
    )


def _speed(status: Status) -> Content:
    if status.speed <= 0:
        return Content()
    return Content.styled(f"{'' if status.exact else '~'}{status.speed:.1f} {_('tok/s')}", MUTED)
