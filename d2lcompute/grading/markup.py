"""HTML built from elements, so that no text can be taken for markup."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

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
