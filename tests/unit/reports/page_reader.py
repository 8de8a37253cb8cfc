"""Reads a page as a browser would, far enough to see its structure and that it is self-contained."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input", "hr"}


class PageReader(HTMLParser):
    """Elements, text and every address of a page; ``problems`` is what is wrong with its nesting."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.elements, self.text, self.problems, self._open = [], "", [], []
        self.feed(page)
        self.close()
        self.problems += [f"<{tag}> never closed" for tag in self._open]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.problems.append(f"</{tag}> out of place")

    def handle_data(self, data):
        if not self._open or self._open[-1] != "style":
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def addresses(self):
        """Every address in an attribute or in a style."""
        found = []
        for _, attributes in self.elements:
            for name, value in attributes.items():
                if name in ("src", "href", "action", "poster", "data", "srcset"):
                    found.append(value)
                found += re.findall(r"url\(\s*['\"]?([^)'\"]+)", value or "")
        return found

    def repeated_ids(self):
        ids = Counter(a["id"] for _, a in self.elements if "id" in a)
        return [name for name, count in ids.items() if count > 1]


def structural_problems(page):
    """Everything that would make a page depend on a network, a script, or one's eyesight."""
    reader = PageReader(page)
    problems = list(reader.problems)
    problems += [
        f"leads outside: {a[:60]}" for a in reader.addresses() if not a.startswith(("data:", "#"))
    ]
    problems += [f"id twice: {name}" for name in reader.repeated_ids()]
    problems += [f"<{tag}>" for tag in ("script", "link", "iframe", "object") if reader.all(tag)]
    problems += [
        f"handler {name}" for _, a in reader.elements for name in a if name.startswith("on")
    ]
    problems += ["image without alt" for a in reader.all("img") if not a.get("alt")]
    problems += ["svg without label" for a in reader.all("svg") if not a.get("aria-label")]
    problems += ["audio without label" for a in reader.all("audio") if not a.get("aria-label")]
    ids = {a["id"] for _, a in reader.elements if "id" in a}
    problems += [
        f"dead link {a}" for a in reader.addresses() if a.startswith("#") and a[1:] not in ids
    ]
    tables = [a for a in reader.all("th") if a.get("scope") not in ("row", "col")]
    problems += ["table header without scope"] * bool(tables)
    return problems
