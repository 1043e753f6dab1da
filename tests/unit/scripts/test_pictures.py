"""The pictures of `arroyo top` and of the live page."""

import re

import pytest
from pictures import PACKAGE, slim


def test_that_of_top_takes_nothing_from_elsewhere_and_is_small():
    svg = (PACKAGE / "supervision" / "top.svg").read_text("utf-8")
    assert "@font-face" not in svg
    assert not re.findall(r'url\("?http|(?<!xmlns=)"http', svg)
    assert len(svg) < 40_000
    assert "holds the chain up" in svg.replace("\u00a0", " ")


@pytest.mark.parametrize("name", ["page.webp", "page_dark.webp"])
def test_those_of_the_page_are_small(name):
    picture = (PACKAGE / "dashboard" / name).read_bytes()
    assert picture[8:12] == b"WEBP"
    assert len(picture) < 120_000


def test_fonts_from_elsewhere_are_left_out():
    font = '@font-face {\n src: url("https://fonts");\n}\n'
    svg = f"<style>\n{font}\n.a {{ }}</style><text>a&#160;b</text>"
    assert slim(svg) == "<style>\n.a { }</style><text>a\u00a0b</text>"
