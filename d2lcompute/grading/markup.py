"""Markup that nothing in a text can break: elements for the page and for JUnit."""

from __future__ import annotations

import unicodedata
from xml.etree import ElementTree
from xml.etree.ElementTree import Element as Element

Child = Element | str


def tag(name: str, /, *children: Child | None, **attributes: str | None) -> Element:
    """Return an element; `class_` and `data_name` become class and data-name, None is left out.

    >>> from d2lcompute.grading.markup import tag, to_html
    >>> to_html(tag("p", "a < b ", tag("b", "c"), " & d", class_="small"))
    '<p class="small">a &lt; b <b>c</b> &amp; d</p>'
    """
    given = {key: value for key, value in attributes.items() if value is not None}
    element = Element(name, {key.rstrip("_").replace("_", "-"): given[key] for key in given})
    for child in children:
        if isinstance(child, str):
            _add_text(element, child)
        elif child is not None:
            element.append(child)
    return element


def to_html(element: Element) -> str:
    """Return the element's text."""
    return ElementTree.tostring(element, encoding="unicode", method="html")


def _add_text(element: Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def visible(code: str) -> str:
    r"""Return code with what cannot be seen, and what turns text around, as escapes.

    >>> from d2lcompute.grading.markup import visible
    >>> print(visible("x = 1\u202e\n    y"))
    x = 1\u202e
        y
    """
    hidden = (unicodedata.category(char)[0] == "C" and char not in "\n\t" for char in code)
    pairs = zip(code, hidden, strict=True)
    return "".join(ascii(char)[1:-1] if is_hidden else char for char, is_hidden in pairs)
