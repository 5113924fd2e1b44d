"""Controls can be made out by weak eyes: their border, against all that they stand on (WCAG 2.2, 1.4.11)."""

import re
from itertools import product

import pytest

from gateways.console.rendering import STATIC

CSS = (STATIC / "console.css").read_text(encoding="utf-8")
THEMES = [dict(re.findall(r"(--\w+): (#\w+);", block)) for block in re.findall(r"\{([^{}]*--ground[^{}]*)\}", CSS)]


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("theme", "ground"), list(product(range(3), ("--ground", "--raised", "--field"))))
def test_borders_of_controls_are_seen(theme: int, ground: str) -> None:
    colours = THEMES[theme]
    assert contrast(colours["--edge"], colours[ground]) >= 3


@pytest.mark.parametrize("control", ["button,\n.button", "input", ".tabs a"])
def test_controls_have_such_a_border(control: str) -> None:
    block = re.search(rf"^{re.escape(control)} \{{([^}}]*)\}}", CSS, re.MULTILINE)
    assert block is not None
    assert "1px solid var(--edge)" in block[1]
