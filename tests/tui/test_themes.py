"""Whether what is written can be read: contrast as WCAG counts it, and no colour where none is wanted."""

from __future__ import annotations

import pytest
from rich.color import Color as RichColour
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

from edgechat.engine.scripted import ScriptedEngine
from edgechat.tui.terminal.line_filters import Colourless, Simplified
from edgechat.tui.themes import CONTRAST, DARK, LIGHT, MONO, fitting_theme, own_themes, without_colour
from tests.tui.conftest import MakeApp
from tests.tui.helpers import ready, say, until

TEXTS = ("foreground", "muted", "text-primary", "text-accent", "text-warning", "text-error", "text-success")
GROUNDS = ("background", "surface", "panel", "error-card", "user")
CHOSEN = (
    ("block-cursor-foreground", "block-cursor-background"),
    ("input-selection-foreground", "input-selection-background"),
    ("screen-selection-foreground", "screen-selection-background"),
    ("input-cursor-foreground", "input-cursor-background"),
)


def luminance(colour: Color) -> float:
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in colour.normalized]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ratio(one: Color, other: Color) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def over(ground: Color, colour: Color) -> Color:
    return ground.blend(colour, colour.a, alpha=1) if colour.a < 1 else colour


def parse(text: str) -> Color:
    """A colour as a theme writes it, such as "#17695d 25%"."""
    colour, _, share = text.partition(" ")
    parsed = Color.parse(colour)
    return parsed.with_alpha(float(share.rstrip("%")) / 100) if share else parsed


def pairs(theme: Theme) -> dict[tuple[str, str], float]:
    """Every text on every ground it may stand on."""
    known = theme.to_color_system().generate()

    def named(name: str, ground: Color) -> Color:
        text = known[name]
        if text.startswith("auto"):  # black or white, whichever is better, at that strength
            _, _, share = text.partition(" ")
            best = ground.get_contrast_text(1.0)
            return ground.blend(best, float(share.rstrip("%")) / 100, alpha=1) if share else best
        return over(ground, parse(text))

    base = Color.parse(known["background"])
    grounds = {name: over(base, parse(known[name])) for name in GROUNDS if name in known}
    grounds["error-card"] = base.blend(Color.parse(known["error"]), 0.08, alpha=1)
    out: dict[tuple[str, str], float] = {}
    for ground_name, ground in grounds.items():
        texts = {name: named(name, ground) for name in TEXTS if name in known}
        texts["muted"] = ground.blend(Color.parse(known["foreground"]), 0.65, alpha=1)
        texts["text-muted"] = named("text-muted", ground)
        out |= {(name, ground_name): ratio(text, ground) for name, text in texts.items()}
    for text_name, ground_name in CHOSEN:
        if text_name in known and ground_name in known:
            ground = over(base, parse(known[ground_name]))
            out[text_name, ground_name] = ratio(named(text_name, ground), ground)
    return out


def muted_when_chosen(theme: Theme) -> float:
    """Quiet words in a line of a list that is chosen."""
    known = theme.to_color_system().generate()
    ground = parse(known["block-cursor-background"])
    return ratio(ground.blend(parse(known["foreground"]), 0.65, alpha=1), ground)


@pytest.mark.parametrize("few", [False, True], ids=["many", "sixteen"])
@pytest.mark.parametrize(
    ("name", "least"), [(DARK.name, 4.5), (LIGHT.name, 4.5), (MONO.name, 7.0), (CONTRAST.name, 7.0)]
)
def test_every_text_can_be_read(name: str, least: float, few: bool) -> None:
    poor = {pair: round(found, 2) for pair, found in pairs(own_themes(few)[name]).items() if found < least}
    assert not poor


@pytest.mark.parametrize("theme", [DARK, LIGHT, CONTRAST], ids=lambda theme: theme.name)
def test_what_is_chosen_can_be_told_and_read_to_the_end(theme: Theme) -> None:
    """Without colours the filter reverses it, whatever the theme says."""
    assert muted_when_chosen(theme) >= 4
    known = theme.to_color_system().generate()
    assert ratio(parse(known["block-cursor-background"]), parse(known["background"])) >= 1.4


def test_the_measure_is_that_of_wcag() -> None:
    assert ratio(Color.parse("#000"), Color.parse("#fff")) == pytest.approx(21)
    assert ratio(Color.parse("#777"), Color.parse("#fff")) == pytest.approx(4.48, abs=0.01)
    assert min(pairs(Theme("poor", primary="#222", foreground="#444", background="#333")).values()) < 2


@pytest.mark.parametrize("name", [DARK.name, LIGHT.name, CONTRAST.name])
def test_sixteen_colours_are_enough_to_tell_everything_apart(name: str) -> None:
    """What differs in the theme differs as well where the terminal takes the nearest of its own colours."""
    known = own_themes(True)[name].to_color_system().generate()

    def number(variable: str) -> int | None:
        return RichColour.parse(known[variable]).downgrade(ColorSystem.STANDARD).number

    grounds = {number(name) for name in ("background", "surface", "panel")}
    texts = {number(name) for name in ("foreground", "text-primary", "text-warning", "text-error", "text-success")}
    assert len(grounds) == 1
    assert not grounds & texts
    assert number("block-cursor-background") not in grounds | {number("block-cursor-foreground")}
    assert number("input-selection-background") not in grounds
    assert number("text-error") not in {number("foreground"), number("text-primary")}


@pytest.mark.parametrize(
    ("told", "name"), [(None, DARK.name), ("15;0", DARK.name), ("0;15", LIGHT.name), ("0;default;15", LIGHT.name),
                       ("12;8", DARK.name), ("x", DARK.name)]
)  # fmt: skip
def test_the_terminals_background_is_followed_where_it_is_told(told: str | None, name: str) -> None:
    assert fitting_theme({} if told is None else {"COLORFGBG": told}) == name


def test_no_color_counts_when_it_is_not_empty() -> None:
    assert without_colour({"NO_COLOR": "1"})
    assert not without_colour({"NO_COLOR": ""})
    assert not without_colour({})


def test_without_colour_what_is_chosen_is_reversed_and_nothing_is_coloured() -> None:
    segments = [
        Segment("plain", Style.parse("#ffffff on #000000")),
        Segment("title", Style.parse("bold underline #7fe8d0 on #101010")),
        Segment("chosen", Style.parse("#000000 on #ffffff")),
        Segment("cursor", Style.parse("reverse #ffffff on #000000")),
        Segment("bare", None),
    ]
    drawn = Colourless().apply(segments, Color.parse("#000000"))
    codes = [segment.style.render(segment.text) if segment.style else segment.text for segment in drawn]
    assert codes == ["plain", "\x1b[1;4mtitle\x1b[0m", "\x1b[7mchosen\x1b[0m", "\x1b[7mcursor\x1b[0m", "bare"]


def test_signs_are_simplified_with_their_styles() -> None:
    style = Style.parse("bold")
    drawn = Simplified("ascii").apply([Segment("\u2026\u256d\u2500", style)], Color.parse("#000000"))
    assert drawn == [Segment("~+-", style)]


@pytest.mark.parametrize("name", [MONO.name, CONTRAST.name])
@pytest.mark.parametrize(("key", "chosen"), [("ctrl+p", "Help"), ("ctrl+o", "the only chat")])
async def test_what_is_chosen_beside_a_line_that_is_written_can_be_seen(
    make_app: MakeApp, name: str, key: str, chosen: str
) -> None:
    app = make_app(ScriptedEngine(["one"]))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        app.theme = name
        await say(pilot, "the only chat")
        await pilot.press(key)
        wanted = Color.parse(app.theme_variables["block-cursor-background"]).rgb

        def grounds() -> list[tuple[int, ...]]:
            return [
                tuple(segment.style.bgcolor.get_truecolor())
                for strip in app.screen._compositor.render_strips()
                for segment in strip
                if chosen in segment.text and segment.style is not None and segment.style.bgcolor is not None
            ]

        await until(pilot, lambda: wanted in grounds())
