"""Reads a page as a browser would, and lets nothing pass that loads or runs."""

from __future__ import annotations

import re
from html.parser import HTMLParser

HOSTILE = "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>'\"&{{ 7*7 }}"
LOADING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "formaction"}
ALLOWED = {"html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer", "h1", "h2", "p"}
ALLOWED |= {"span", "figure", "figcaption", "div", "table", "thead", "tbody", "tr", "th", "td", "details", "summary"}
ALLOWED |= {"pre"}


class Reader(HTMLParser):
    """Checks every tag of a page and collects its text."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.tags: list[str] = []
        self.svg = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.svg += tag == "svg"
        self.tags.append(tag)
        assert self.svg or tag in ALLOWED, f"<{tag}>"
        assert tag not in ("script", "iframe", "object", "embed", "link", "base", "foreignobject")
        for name, value in attributes:
            assert not name.startswith("on"), name
            assert name not in LOADING or (value or "").startswith(("#", "data:")), f"{name}={value}"
            assert "url(http" not in (value or "").replace(" ", "")

    def handle_endtag(self, tag: str) -> None:
        self.svg -= tag == "svg"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    """The page's text, after it was found to be self-contained."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.svg == 0
    assert "<script" not in page.lower()
    assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", page)
    return reader
