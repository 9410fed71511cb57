"""The results as one page for the instructor, with nothing in it that comes from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import statistics
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from importlib.resources import files

from .formats import Element, tag, to_html, visible
from .overview import Alike, Cluster, Question, questions
from .results import Heading, Mark, Outcome, Result
from .submissions import NEXT_CELL

BINS = 10
LONGEST = 20_000  # characters of an answer that are shown
EMPTY = ("missing", "untouched")
FLAGS = (
    "something failed", "something missing", "to be marked", "marked by hand", "late", "alike",
    "noted", "unreadable", "not graded", "another attempt counts",
)  # fmt: skip
PLAIN = ("something failed", "something missing", "noted")
SIGNS = {
    "yes": ("✓", "pass"),
    "part": ("◐", "soft"),
    "no": ("✗", "fail"),
    "wait": ("?", "soft"),
}
FOOTER = (
    "For the instructor: it shows what hidden checks found. What students may read is in "
    "gradescope/ and, as “feedback”, in report.json."
)


def render(
    heading: Heading,
    results: Sequence[Result],
    alike: Sequence[Alike] = (),
    notes: Sequence[str] = (),
) -> str:
    """Return the page; nothing that a student wrote can be markup in it, and nothing can load.

    `alike` are groups of answers, `notes` what people should look at again.
    """
    graded = [result for result in results if not result.trouble and result.counts]
    style, script = (
        files(__package__).joinpath(name).read_text() for name in ("page.css", "page.js")
    )
    title = heading.title or "Marks"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Marks: {title}"),
        tag("style", style),
    )
    main = tag(
        "main",
        tag("header", tag("h1", title), _figures(heading, results, graded)),
        _notes(notes) if notes else None,
        _forgeable(heading.forgeable) if heading.forgeable else None,
        _isolation(graded) if graded else None,
        _section("Distribution of marks", _histogram(heading, graded)),
        _section("Questions, hardest first", *_questions(questions(heading, results))),
        *_written(heading, results),
        _alike(alike) if alike else None,
        _section("Submissions", _controls(), _submissions(heading, results, alike)),
        tag("footer", FOOTER),
    )
    page = tag("html", head, tag("body", main, tag("script", script)), lang="en")
    return f"<!doctype html>\n{to_html(page)}\n"


def _policy(style: str, script: str) -> str:
    """Allow this style and this script, and nothing else at all."""
    ours = (hashlib.sha256(text.encode()).digest() for text in (style, script))
    first, second = (f"'sha256-{base64.b64encode(digest).decode()}'" for digest in ours)
    rest = "base-uri 'none'; form-action 'none'"
    return f"default-src 'none'; style-src {first}; script-src {second}; {rest}"


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
    waiting = sum(mark.waits for result in graded for mark in result.marks)
    counts = {state: states.count(state) for state in ("unreadable", "not graded")}
    for name, count in {**counts, "answers to be marked": waiting}.items():
        if count:
            figures.append(_figure(name, count))
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
        bars.append(tag("div", str(count or ""), _bar(part, upright=True), tag("i", *edges)))
        if count:
            told.append(f"{low} to {low + width} %: {count}")
    label = f"Submissions by percent of the points. {', '.join(told)}"
    chart = tag("div", *bars, class_="histogram", role="img", aria_label=label)
    return tag("figure", chart, tag("figcaption", "submissions by percent of the points"))


def _bar(part: float, upright: bool = False) -> Element:
    place = {"y": f"{1 - part:.3f}", "width": "1", "height": f"{part:.3f}"}
    rectangle = place if upright else {"width": f"{part:.3f}", "height": "1"}
    box = {"viewBox": "0 0 1 1", "preserveAspectRatio": "none", "aria-hidden": "true"}
    bar = tag("svg", tag("rect", **rectangle), class_="bar")
    bar.attrib.update(box)
    return bar


def _notes(notes: Sequence[str]) -> Element:
    lines = [tag("li", note, class_="said") for note in notes]
    return _section("To look at", tag("ul", *lines), class_="warning")


def _forgeable(checks: Sequence[str]) -> Element:
    told = (
        f"{', '.join(checks)}: these checks are asserts that run beside the student's code, which "
        "can forge them. Rewrite them with d2c.grading.answer."
    )
    return _section("Marks that can be forged", tag("p", told, class_="said"), class_="warning")


def _questions(found: Sequence[Question]) -> Iterator[Element]:
    names = ("question", "points", "full marks", "mean", "discrimination", "seconds", "")
    hardest = sorted(found, key=lambda question: question.rate)
    yield tag("div", _table(names, [_question(each) for each in hardest]), class_="wide")
    for question in hardest:
        if question.wrong:
            lines = [_cluster(cluster) for cluster in question.wrong]
            title = tag("summary", f"{question.name}: what went wrong", class_="plain")
            yield tag("details", title, tag("ul", *lines, class_="small"))


def _question(question: Question) -> Element:
    kinds = _badge(question.hidden, "hidden"), _badge(question.written, "written")
    numbers = (
        f"{question.points:g}",
        f"{question.full} of {question.answers}",
        f"{question.mean:.2f}",
        "" if question.correlation is None else f"{question.correlation:.2f}",
        "" if question.written else f"{question.seconds:.2f}",
    )
    remark = tag("span", question.remark, class_="kept") if question.remark else None
    return tag(
        "tr",
        tag("th", f"{question.name} ", *kinds, remark, scope="row"),
        *(tag("td", number, class_="number") for number in numbers),
        tag("td", tag("span", _bar(question.rate), class_="track"), class_="rate"),
    )


def _cluster(cluster: Cluster) -> Element:
    count, names = len(cluster.submissions), ", ".join(cluster.submissions)
    return tag("li", tag("b", f"{count}: "), cluster.said, " ", tag("small", names), class_="said")


def _written(heading: Heading, results: Sequence[Result]) -> Iterator[Element]:
    for name, rubric in heading.written.items():
        answers = [
            tag("div", tag("h3", _whose(result, mark)), *_answer(result, mark), class_="answer")
            for result in results
            for mark in result.marks
            if mark.check == name
        ]
        told = tag("p", f"Rubric: {rubric}", class_="soft said") if rubric else None
        title = tag("summary", f"{len(answers)} answers side by side", class_="plain")
        content = tag("details", title, told, tag("div", *answers, class_="answers"))
        yield _section(f"Written: {name} ({heading.checks[name]:g} points)", content)


def _whose(result: Result, mark: Mark) -> str:
    given = "" if mark.given is None else f": {mark.given:g} of {mark.points:g}"
    return f"{result.submission}{given}"


def _answer(result: Result, mark: Mark) -> Iterator[Element]:
    yield tag("pre", _shown(result.sources.get(mark.check, "")))
    yield tag("p", mark.feedback, _hand(mark), class_="small said")


def _alike(groups: Sequence[Alike]) -> Element:
    rows = [
        tag(
            "tr",
            tag("th", group.solution, scope="row"),
            tag("td", "the same" if group.identical else "nearly the same"),
            tag("td", ", ".join(group.submissions), class_="said"),
        )
        for group in groups
    ]
    hint = "Code without names, comments and layout. Alike is not copied: read both before you ask."
    table = _table(("solution", "", "submissions"), rows)
    return _section("Answers that are alike", tag("p", hint, class_="soft small"), table)


def _table(names: Sequence[str], rows: Sequence[Element], class_: str | None = None) -> Element:
    right = ("points", "full marks", "mean", "discrimination", "seconds")
    cells = [tag("th", name, class_="number" if name in right else None) for name in names]
    head = tag("thead", tag("tr", *cells))
    return tag("table", head, tag("tbody", *rows), class_=class_)


def _badge(wanted: bool, text: str) -> Element | None:
    return tag("span", text, class_="badge") if wanted else None


def _controls() -> Element:
    orders = {"name": "by name", "low": "lowest mark first", "high": "highest mark first"}
    search = tag("input", id="search", type="search", autocomplete="off")
    shown = {"": "all", **{flag: flag for flag in FLAGS}}
    keys = "Keys: / searches, j and k go on and back, Enter opens."
    return tag(
        "div",
        tag("label", "Search by name", search),
        tag("label", "Show", _select("shown", shown)),
        tag("label", "Order", _select("order", orders)),
        tag("p", tag("output", id="count"), f" {keys}", class_="soft small"),
        class_="controls",
        hidden="",
    )


def _select(name: str, options: Mapping[str, str]) -> Element:
    each = [tag("option", text, value=value) for value, text in options.items()]
    return tag("select", *each, id=name)


def flags(result: Result, alike: Container[str] = ()) -> list[str]:
    """Return by which of `FLAGS` a submission is found."""
    unanswered = [outcome.state in EMPTY for outcome in result.outcomes]
    unanswered += [mark.reason in EMPTY for mark in result.marks if mark.written]
    found = {
        "something failed": not all(mark.full for mark in result.marks),
        "something missing": any(unanswered),
        "to be marked": any(mark.waits for mark in result.marks),
        "marked by hand": bool(result.extra) or any(mark.by_hand for mark in result.marks),
        "late": bool(result.seconds_late) or result.sender.late,
        "alike": result.submission in alike,
        "noted": bool(result.notes),
        "unreadable": bool(result.fault),
        "not graded": bool(result.trouble),
        "another attempt counts": not result.counts,
    }
    return [flag for flag in FLAGS if found[flag]]


def _submissions(heading: Heading, results: Sequence[Result], alike: Sequence[Alike]) -> Element:
    names = {name for group in alike for name in group.submissions}
    each = (_submission(heading, result, flags(result, names)) for result in results)
    return tag("div", *each, id="submissions")


def _submission(heading: Heading, result: Result, found: Sequence[str]) -> Element:
    total = "not graded" if result.trouble else f"{result.earned:g} of {heading.points:g}"
    dots = [tag("i", class_=_kind(mark)) for mark in result.marks]
    shown = [flag for flag in found if flag not in PLAIN]
    summary = tag(
        "summary",
        tag("span", result.submission, *(_badge(True, flag) for flag in shown), class_="name"),
        tag("span", *dots, class_="strip", aria_hidden="true"),
        tag("span", total, class_="number"),
    )
    fault = result.trouble or result.fault
    body = tag("div", tag("p", fault, class_="fail said") if fault else None, class_="body")
    lines = [result.lateness, "" if result.counts else result.state, result.comment, *result.notes]
    if result.extra:
        lines.append(f"{result.extra:+g} points by hand for the whole")
    body.extend(tag("p", line, class_="said small") for line in lines if line)
    if result.marks:
        names = ("question", "points", "what the student may read", "seconds")
        marks = _table(names, [_mark(mark) for mark in result.marks], class_="marks")
        outcomes = tag("ul", *map(_outcome, result.outcomes), class_="outcomes small")
        body.append(tag("div", tag("div", marks, outcomes), _sources(result), class_="sides"))
    name, earned = result.submission.lower(), f"{result.earned:g}"
    told = "|".join(found)
    return tag("details", summary, body, data_name=name, data_earned=earned, data_flags=told)


def _sources(result: Result) -> Element | None:
    if not result.sources:
        return None
    parts = []
    for name, source in result.sources.items():
        parts += [tag("h3", name), tag("pre", _shown(source))]
    return tag("div", *parts, class_="sources")


def _shown(source: str) -> str:
    more = len(source) - LONGEST
    rest = f"\n... {more:,} characters more" if more > 0 else ""
    return visible(source[:LONGEST].replace(NEXT_CELL, "\n\n")) + rest


def _kind(mark: Mark) -> str:
    if mark.waits:
        return "wait"
    if mark.full:
        return "yes"
    return "part" if mark.earned else "no"


def _mark(mark: Mark) -> Element:
    sign, kind = SIGNS[_kind(mark)]
    said = ": ".join(filter(None, [mark.reason, mark.details]))
    kept = tag("span", said, " ", _badge(True, "not for students"), class_="kept")
    shown = mark.written or said in ("", mark.said)
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
        tag("td", mark.feedback, _hand(mark), None if shown else kept, class_="said"),
        tag("td", "" if mark.written else f"{mark.seconds:.2f}", class_="number"),
    )


def _hand(mark: Mark) -> Element | None:
    """Say who gave points or a comment, when, and what the check itself had given."""
    if not mark.by_hand:
        return None
    before = "" if mark.written else f", in place of {mark.automatic:g}"
    return tag("span", f"by {mark.by or 'hand'}, {mark.at}{before}", class_="kept")


def _outcome(outcome: Outcome) -> Element:
    state = tag("span", outcome.state, class_="pass" if outcome.state == "done" else "fail")
    details = f": {outcome.details} " if outcome.details else ""
    note = _badge(bool(outcome.details) and outcome.private, "not for students")
    return tag("li", f"{outcome.solution} ", state, details, note, class_="said")
