"""SVG drawn by hand: shapes, and texts whose width is estimated by their characters before they are placed."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from xml.etree import ElementTree

FONT = 'system-ui, "Segoe UI", "Noto Sans", "Noto Sans KR", sans-serif'
INK, SOFT, LINE, PAPER = "#1d2430", "#5b6472", "#8a94a3", "#ffffff"
NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Widths in parts of the font size. DejaVu Sans, the widest of the usual system fonts: others leave room.
NARROW, WIDE, ANY, CAPITAL, FULL = 0.4, 0.98, 0.64, 0.72, 1.05
BOLD = 1.13


@dataclass(frozen=True)
class Vector:
    """A drawing that scales to any size, as SVG."""

    svg: str


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Room that a text takes at the most."""
    return size * (BOLD if bold else 1.0) * sum(map(_character, text))


def _character(character: str) -> float:
    if unicodedata.east_asian_width(character) in "WF":
        return FULL
    if character in " iljtfr.,:;|!'()[]/-":
        return NARROW
    if character in "mwMW@%…":
        return WIDE
    return CAPITAL if character.isupper() else ANY if character.isascii() else WIDE


def shortened(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """The text, or its beginning and an ellipsis, within the room."""
    if text_width(text, size, bold=bold) <= room:
        return text
    end = len(text)
    while end and text_width(text[:end] + "…", size, bold=bold) > room:
        end -= 1
    return text[:end].rstrip() + "…"


def mixed(colour: str, other: str, part: float) -> str:
    """A colour on the way from one (`#rrggbb`, at 0) to another (at 1)."""
    pairs = [(int(colour[at : at + 2], 16), int(other[at : at + 2], 16)) for at in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in pairs)


class Layer:
    """A group of shapes; later ones lie above earlier ones."""

    def __init__(self, element: ElementTree.Element) -> None:
        self.element = element

    def layer(self, title: str = "", *, label: str = "") -> Layer:
        """A group inside this one; its title is what a pointer over it shows, its label says what it is of."""
        inner = ElementTree.SubElement(self.element, "g", {"class": label} if label else {})
        if title:
            ElementTree.SubElement(inner, "title").text = clean(title)
        return Layer(inner)

    def rect(self, x: float, y: float, width: float, height: float, **style: object) -> None:
        self._add("rect", {"x": x, "y": y, "width": width, "height": height, **style})

    def circle(self, x: float, y: float, radius: float, **style: object) -> None:
        self._add("circle", {"cx": x, "cy": y, "r": radius, **style})

    def path(self, steps: str, **style: object) -> None:
        self._add("path", {"d": steps, "fill": "none", "stroke": LINE, "stroke_width": 1.5, **style})

    def text(self, x: float, y: float, text: str, size: float, **style: object) -> None:
        self._add("text", {"x": x, "y": y, "font_size": size, "fill": INK, **style}).text = clean(text)

    def pill(self, x: float, y: float, text: str, size: float, **style: object) -> None:
        """A text in a frame with round ends, `pill_width` wide, its top left corner at (x, y)."""
        width, height = pill_width(text, size), size + 5
        self.rect(x, y, width, height, **{"rx": height / 2, "fill": PAPER, "stroke": LINE, **style})
        self.text(x + width / 2, y + height / 2 + 0.36 * size, text, size, text_anchor="middle", fill=SOFT)

    def _add(self, tag: str, attributes: dict[str, object]) -> ElementTree.Element:
        written = {
            name.replace("_", "-"): f"{value:.6g}" if isinstance(value, float) else str(value)
            for name, value in attributes.items()
        }
        return ElementTree.SubElement(self.element, tag, written)


def pill_width(text: str, size: float) -> float:
    """Width of a pill with this text."""
    return text_width(text, size) + size


def clean(text: str) -> str:
    """The text without what XML cannot hold."""
    return NOT_IN_XML.sub("\ufffd", text)


class Canvas(Layer):
    """A drawing of a fixed width that becomes as high as is needed."""

    def __init__(self, width: float, *, title: str, description: str) -> None:
        super().__init__(ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img"}))
        self.width = width
        self.element.set("font-family", FONT)
        ElementTree.SubElement(self.element, "title").text = clean(title)
        ElementTree.SubElement(self.element, "desc").text = clean(description)
        self.paper = ElementTree.SubElement(self.element, "rect", {"fill": PAPER})

    def finished(self, height: float) -> Vector:
        """The drawing, cut at this height."""
        size = {"width": f"{self.width:g}", "height": f"{height:g}"}
        self.element.set("viewBox", f"0 0 {size['width']} {size['height']}")
        for element in (self.element, self.paper):
            element.attrib.update(size)
        return Vector(ElementTree.tostring(self.element, encoding="unicode"))
