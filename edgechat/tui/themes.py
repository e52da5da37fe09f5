"""The palettes of edgechat: ink and paper, with one quiet colour of its own; and what a terminal can show of them.

A theme says what a colour is for, never where it is used; that is the style sheet's work. The contrast of every pair of
text and background used there is at least 4.5 to 1, and 7 to 1 where high contrast is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from textual.theme import Theme

MUTED = "$foreground 65%"
"""Quiet words in rendered content, where the automatic colours of a style sheet do not work; any theme has it."""

DARK = Theme(
    name="edgechat-dark",
    primary="#6fbfae",
    secondary="#8aa4b8",
    accent="#d8a657",
    warning="#d8a657",
    error="#e07a72",
    success="#8fbf7f",
    foreground="#d9dcd6",
    background="#14171a",
    surface="#1b1f23",
    panel="#23282d",
    dark=True,
    variables={
        "border": "#6fbfae",
        "border-blurred": "#3a4248",
        "footer-key-foreground": "#6fbfae",
        "input-selection-background": "#6fbfae 30%",
        "screen-selection-background": "#2f4f4a",
        "screen-selection-foreground": "#f2f4f0",
        "block-cursor-background": "#274842",
        "block-cursor-foreground": "#f2f4f0",
        "block-cursor-text-style": "none",
        "scrollbar": "#333a40",
        "scrollbar-hover": "#465058",
        "scrollbar-active": "#6fbfae",
        "scrollbar-background": "#14171a",
        "scrollbar-background-hover": "#14171a",
        "scrollbar-background-active": "#14171a",
        "scrollbar-corner-color": "#14171a",
    },
)

LIGHT = Theme(
    name="edgechat-light",
    primary="#17695d",
    secondary="#4a5f6e",
    accent="#8a5a0b",
    warning="#8a5a0b",
    error="#a8322d",
    success="#3d6b2c",
    foreground="#1c1f22",
    background="#faf8f3",
    surface="#f1eee6",
    panel="#e8e4d9",
    dark=False,
    variables={
        "border": "#17695d",
        "border-blurred": "#c9c3b4",
        "footer-key-foreground": "#17695d",
        "input-selection-background": "#17695d 25%",
        "screen-selection-background": "#bcd6ce",
        "screen-selection-foreground": "#111314",
        "block-cursor-background": "#b9d6cc",
        "block-cursor-foreground": "#111314",
        "block-cursor-text-style": "none",
        "scrollbar": "#d5cfc0",
        "scrollbar-hover": "#bdb6a4",
        "scrollbar-active": "#17695d",
        "scrollbar-background": "#faf8f3",
        "scrollbar-background-hover": "#faf8f3",
        "scrollbar-background-active": "#faf8f3",
        "scrollbar-corner-color": "#faf8f3",
    },
)


def _flat(
    name: str,
    background: str,
    foreground: str,
    strong: str,
    chosen: str,
    on_chosen: str,
    *,
    notable: str,
    error: str,
    success: str,
) -> Theme:
    """A theme whose surfaces are all of one colour, and whose selections are a solid block."""
    return Theme(
        name=name,
        primary=strong,
        secondary=strong,
        foreground=foreground,
        background=background,
        surface=background,
        panel=background,
        boost=background,
        dark=background == "#000000",
        accent=notable,
        warning=notable,
        error=error,
        success=success,
        variables={
            "border": strong,
            "border-blurred": foreground,
            "footer-key-foreground": strong,
            "text-primary": strong,
            "text-secondary": strong,
            "text-accent": notable,
            "text-warning": notable,
            "text-error": error,
            "text-success": success,
            "input-selection-background": chosen,
            "input-selection-foreground": on_chosen,
            "screen-selection-background": chosen,
            "screen-selection-foreground": on_chosen,
            "input-cursor-background": foreground,
            "input-cursor-foreground": background,
            "block-cursor-background": chosen,
            "block-cursor-foreground": on_chosen,
            "block-cursor-blurred-background": background,
            "block-cursor-blurred-foreground": strong,
            "block-cursor-text-style": "none",
            "block-hover-background": background,
            "scrollbar": foreground,
            "scrollbar-hover": strong,
            "scrollbar-active": strong,
            "scrollbar-background": background,
            "scrollbar-background-hover": background,
            "scrollbar-background-active": background,
            "scrollbar-corner-color": background,
        },
    )


CONTRAST = _flat(
    "edgechat-contrast",
    "#000000",
    "#ffffff",
    "#7fe8d0",
    "#004fa6",
    "#ffffff",
    notable="#ffe066",
    error="#ff9c94",
    success="#9be88a",
)
"""For those who need it: nothing on it is below 7 to 1."""

MONO = _flat(
    "edgechat-mono",
    "#000000",
    "#ffffff",
    "#ffffff",
    "#ffffff",
    "#000000",
    notable="#ffffff",
    error="#ffffff",
    success="#ffffff",
)
"""No colour; what is chosen is reversed. It is what NO_COLOR asks for, drawn without any code for a colour."""

# Exactly the colours that a terminal of 16 has, so that none of them falls together with another one.
_DARK_16 = _flat(
    DARK.name,
    "#000000",
    "#ffffff",
    "#55ffff",
    "#0000aa",
    "#ffffff",
    notable="#ffff55",
    error="#ff5555",
    success="#55ff55",
)
_LIGHT_16 = _flat(
    LIGHT.name,
    "#ffffff",
    "#000000",
    "#0000aa",
    "#0000aa",
    "#ffffff",
    notable="#aa00aa",
    error="#aa0000",
    success="#0000aa",
)
_CONTRAST_16 = replace(_DARK_16, name=CONTRAST.name)


def own_themes(few_colours: bool) -> dict[str, Theme]:
    """Edgechat's themes by name.

    Args:
        few_colours: Whether the terminal has 16 colours and no more.
    """
    shown = (_DARK_16, _LIGHT_16, _CONTRAST_16, MONO) if few_colours else (DARK, LIGHT, CONTRAST, MONO)
    return {theme.name: theme for theme in shown}


def fitting_theme(environment: Mapping[str, str]) -> str:
    """The name of the theme that fits the terminal's background, where it tells of it; else the dark one.

    Asking the terminal itself would take a round trip, which may be over a slow line, before the first paint.
    """
    # As rxvt, Konsole, iTerm2 and others tell it: "foreground;background", by number.
    background = environment.get("COLORFGBG", "").rpartition(";")[2]
    return LIGHT.name if background in ("7", "9", "10", "11", "12", "13", "14", "15") else DARK.name


def without_colour(environment: Mapping[str, str]) -> bool:
    """Whether the user wants no colours at all; see https://no-color.org."""
    return bool(environment.get("NO_COLOR"))
