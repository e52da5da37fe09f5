"""Draw the icon for the systems that take no SVG: `uv run --with pillow python assets/icon.py`.

The mark is that of `edgechat.svg`, in the sizes that each format asks for.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

INK, GREEN = "#14171a", "#6fbfae"
UNIT = 16
"""Pixels for one of the 64 units of the drawing; the picture is made smaller from there."""


def draw() -> Image.Image:
    """The icon at 1,024 pixels."""
    picture = Image.new("RGBA", (64 * UNIT, 64 * UNIT))
    pen = ImageDraw.Draw(picture)
    pen.rounded_rectangle((0, 0, 64 * UNIT - 1, 64 * UNIT - 1), 14 * UNIT, INK)
    for left, top in ((32, 14), (14, 32)):
        pen.rectangle((left * UNIT, top * UNIT, (left + 18) * UNIT - 1, (top + 18) * UNIT - 1), GREEN)
    return picture


if __name__ == "__main__":
    here = Path(__file__).parent
    icon = draw()
    icon.resize((256, 256), Image.Resampling.LANCZOS).save(here / "edgechat.png", optimize=True)
    icon.save(here / "edgechat.ico", sizes=[(size, size) for size in (16, 24, 32, 48, 64, 128, 256)])
    icon.save(here / "edgechat.icns")
