"""References and unclosed elements of a page."""

import re
from html.parser import HTMLParser

from typing_extensions import override

__all__ = ["Links", "asks_for_nothing", "parsed"]

_VOID = {"meta", "link", "br", "img", "input", "hr"}


class Links(HTMLParser):
    """The tags of a page and the addresses in it."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.urls += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in _VOID:
            self.open.append(tag)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Links:
    """The page, taken apart; all elements must be closed."""
    links = Links()
    links.feed(page)
    assert links.open == []
    return links


def asks_for_nothing(page: str) -> bool:
    """True if the page is self-contained and runs no code."""
    links = parsed(page)
    inside = all(url.startswith(("#", "data:")) for url in links.urls)
    targets = {url[1:] for url in links.urls if url.startswith("#")} <= set(links.ids)
    no_styles = not re.findall(r"url\((?!#)", page) and "@import" not in page
    return inside and targets and no_styles and not {"script", "iframe", "img"} & set(links.tags)
