"""The results as one page for the instructor, with nothing in it that comes from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from importlib.resources import files
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .results import Heading, Mark, Outcome, Result

BINS = 10
FOOTER = (
    "For the instructor: it shows what hidden checks found. What students may read is in "
    "gradescope/ and, as “feedback”, in report.json."
)


def render(heading: Heading, results: Sequence[Result]) -> str:
    """Return the page; nothing that a student wrote can be markup in it, and nothing can load."""
    graded = [result for result in results if not result.trouble]
    style, script = (
        files(__package__).joinpath(name).read_text() for name in ("page.css", "page.js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    title = heading.title or "Marks"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Marks: {title}"),
        tag("style", style),
    )
    main = tag(
        "main",
        tag("header", tag("h1", title), _figures(heading, results, graded)),
        _isolation(graded) if graded else None,
        _section("Distribution of marks", _histogram(heading, graded)),
        _section("Checks, hardest first", _checks(graded)),
        _section("Submissions", _controls(), _submissions(heading, results)),
        tag("footer", FOOTER),
    )
    page = tag("html", head, tag("body", main, tag("script", script)), lang="en")
    return f"<!doctype html>\n{to_html(page)}\n"


def _section(title: str, *content: Element, class_: str | None = None) -> Element:
    return tag("section", tag("h2", title), *content, class_=class_)


def _figures(heading: Heading, results: Sequence[Result], graded: Sequence[Result]) -> Element:
    earned = [result.earned for result in graded]
    states = [result.state for result in results]
    figures = tag("dl", _figure("submissions", len(results)), class_="figures")
    if earned:
        points = f" of {heading.points:g}"
        figures.append(_figure("mean", round(statistics.mean(earned), 1), points))
        figures.append(_figure("median", round(statistics.median(earned), 1), points))
        figures.append(_figure("full marks", sum(one == heading.points for one in earned)))
    for state in ("unreadable", "not graded"):
        if state in states:
            figures.append(_figure(state, states.count(state)))
    return figures


def _figure(name: str, value: float, unit: str = "") -> Element:
    return tag("div", tag("dt", name), tag("dd", f"{value:g}", tag("small", unit)))


def _isolation(graded: Sequence[Result]) -> Element:
    walls = Counter((result.isolation, result.gaps) for result in graded)
    lines = []
    for (level, gaps), count in walls.items():
        kept = "; ".join(gaps) or "no network, no files, no other processes, limits on all"
        lines.append(tag("p", f"{count} of {len(graded)} by {level}: {kept}."))
    seconds, warm = sum(one.seconds for one in graded), sum(one.warm for one in graded)
    each = f"{seconds / max(1, len(graded)):.1f} s for a submission, {seconds:.0f} s in all"
    lines.append(tag("p", f"{warm} in warm kernels; {each}.", class_="soft small"))
    if any(result.gaps for result in graded):
        return _section("Student code was not fully held back", *lines, class_="warning")
    return _section("Student code was isolated", *lines)


def _histogram(heading: Heading, graded: Sequence[Result]) -> Element:
    counts = [0] * BINS
    for result in graded:
        part = result.earned / heading.points if heading.points else 1.0
        counts[min(BINS - 1, int(part * BINS))] += 1
    width = 100 // BINS
    bars, told = [], []
    for low, count in zip(range(0, 100, width), counts, strict=True):
        edges = [tag("span", str(low)), tag("span", "100") if low + width == 100 else None]
        part = count / max(1, *counts)
        bars.append(tag("div", str(count or ""), _bar(part), tag("i", *edges)))
        if count:
            told.append(f"{low} to {low + width} %: {count}")
    label = f"Submissions by percent of the points. {', '.join(told)}"
    chart = tag("div", *bars, class_="histogram", role="img", aria_label=label)
    return tag("figure", chart, tag("figcaption", "submissions by percent of the points"))


def _bar(part: float) -> Element:
    return tag("b", style=f"--part: {part:.3f}")


def _checks(graded: Sequence[Result]) -> Element:
    marks: defaultdict[str, list[Mark]] = defaultdict(list)
    for mark in (mark for result in graded for mark in result.marks):
        marks[mark.check].append(mark)
    rows = []
    for check, those in sorted(marks.items(), key=lambda item: _rate(item[1])):
        passed = f"{sum(mark.passed for mark in those)} of {len(those)}"
        rows.append(
            tag(
                "tr",
                tag("th", f"{check} ", _badge(those[0].hidden, "hidden"), scope="row"),
                tag("td", f"{those[0].points:g}", class_="number"),
                tag("td", passed, class_="number"),
                tag("td", tag("span", _bar(_rate(those)), class_="track"), class_="rate"),
            )
        )
    return _table(("check", "points", "passed", ""), rows)


def _rate(marks: Sequence[Mark]) -> float:
    return sum(mark.passed for mark in marks) / len(marks)


def _table(names: Sequence[str], rows: Sequence[Element], class_: str | None = None) -> Element:
    right = ("points", "passed")
    cells = [tag("th", name, class_="number" if name in right else None) for name in names]
    head = tag("thead", tag("tr", *cells))
    return tag("table", head, tag("tbody", *rows), class_=class_)


def _badge(wanted: bool, text: str) -> Element | None:
    return tag("span", text, class_="badge") if wanted else None


def _controls() -> Element:
    orders = {"name": "by name", "low": "lowest mark first", "high": "highest mark first"}
    options = [tag("option", text, value=value) for value, text in orders.items()]
    search = tag("input", id="search", type="search", autocomplete="off")
    return tag(
        "div",
        tag("label", "Search by name", search),
        tag("label", "Order", tag("select", *options, id="order")),
        class_="controls",
        hidden="",
    )


def _submissions(heading: Heading, results: Sequence[Result]) -> Element:
    return tag("div", *(_submission(heading, result) for result in results), id="submissions")


def _submission(heading: Heading, result: Result) -> Element:
    total = "not graded" if result.trouble else f"{result.earned:g} of {heading.points:g}"
    dots = [tag("i", class_="yes" if mark.passed else "no") for mark in result.marks]
    summary = tag(
        "summary",
        tag("span", result.submission, class_="name"),
        tag("span", *dots, class_="strip", aria_hidden="true"),
        tag("span", total, class_="number"),
    )
    fault = result.trouble or result.fault
    body = tag("div", tag("p", fault, class_="fail said") if fault else None, class_="body")
    body.extend(tag("p", note, class_="said small") for note in result.notes)
    if result.marks:
        names = ("check", "points", "what the student may read")
        body.append(_table(names, [_mark(mark) for mark in result.marks], class_="marks"))
        body.append(tag("ul", *map(_outcome, result.outcomes), class_="outcomes small"))
    name, earned = result.submission.lower(), f"{result.earned:g}"
    return tag("details", summary, body, data_name=name, data_earned=earned)


def _mark(mark: Mark) -> Element:
    sign, kind = ("✓", "pass") if mark.passed else ("✗", "fail")
    said = ": ".join(filter(None, [mark.reason, mark.details]))
    kept = tag("span", said, " ", _badge(True, "not for students"), class_="kept")
    return tag(
        "tr",
        tag(
            "th",
            tag("span", sign, class_=f"sign {kind}", aria_hidden="true"),
            f" {mark.check} ",
            _badge(mark.hidden, "hidden"),
            scope="row",
        ),
        tag("td", f"{mark.earned:g} of {mark.points:g}", class_="number"),
        tag("td", mark.feedback, kept if said not in ("", mark.feedback) else None, class_="said"),
    )


def _outcome(outcome: Outcome) -> Element:
    state = tag("span", outcome.state, class_="pass" if outcome.state == "done" else "fail")
    details = f": {outcome.details} " if outcome.details else ""
    note = _badge(bool(outcome.details) and outcome.private, "not for students")
    return tag("li", f"{outcome.solution} ", state, details, note, class_="said")


Child = Element | str


def tag(name: str, /, *children: Child | None, **attributes: str | None) -> Element:
    """Return an element; `class_` and `data_name` become class and data-name, None is left out.

    >>> from d2lcompute.grading.page import tag, to_html
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
