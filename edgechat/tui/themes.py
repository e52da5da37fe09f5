"""The two palettes of edgechat: ink and paper, with one quiet colour of its own.

A theme says what a colour is for, never where it is used; that is the style sheet's work. The contrast of every pair of
text and background used there is at least 4.5 to 1.
"""

from __future__ import annotations

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
        "block-cursor-background": "#6fbfae",
        "block-cursor-foreground": "#14171a",
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
    foreground="#23272a",
    background="#faf8f3",
    surface="#f1eee6",
    panel="#e8e4d9",
    dark=False,
    variables={
        "border": "#17695d",
        "border-blurred": "#c9c3b4",
        "footer-key-foreground": "#17695d",
        "input-selection-background": "#17695d 25%",
        "block-cursor-background": "#17695d",
        "block-cursor-foreground": "#faf8f3",
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
