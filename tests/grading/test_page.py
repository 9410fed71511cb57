import base64
import hashlib
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import PATIENCE

from d2lcompute.grading.formats import tag, to_html
from d2lcompute.grading.overview import Alike
from d2lcompute.grading.page import render
from d2lcompute.grading.results import TO_BE_MARKED, Heading, Mark, Outcome, Result

HEADING = Heading("Homework & more", "digest", {"easy": 4.0, "hard": 6.0})
EVIL = "<script>alert(1)</script><img src=http://x onerror=alert(1)>\"'&amp;"


def result(name, easy, hard, **more):
    marks = (
        Mark("easy", 4.0, easy, False, "" if easy else "no answer"),
        Mark("hard", 6.0, hard, True),
    )
    return Result(name, "d", marks, (Outcome("x", "done"),), isolation="namespaces", **more)


CLASS = [result("ada", True, True), result("bob", True, False), result("eve", False, False)]


class Reader(HTMLParser):
    """Collects elements, attributes and text."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def of(self, name):
        return [attributes for element, attributes in self.elements if element == name]


def test_the_page_sums_up():
    text = " ".join(Reader(render(HEADING, CLASS)).text.split())
    for part in (
        "Homework & more",
        "submissions3",
        "mean4.7 of 10",
        "median4 of 10",
        "full marks1",
    ):
        assert part in text


def test_checks_stand_hardest_first():
    page = render(HEADING, CLASS)
    table = page[page.index("hardest first") : page.index("Search by name")]
    assert table.index("1 of 3") < table.index("2 of 3")
    assert table.index(">hard ") < table.index(">easy ")


def test_the_distribution_can_be_read_aloud():
    (chart,) = [a for a in Reader(render(HEADING, CLASS)).of("div") if a.get("role") == "img"]
    assert chart["aria-label"] == (
        "Submissions by percent of the points. 0 to 10 %: 1, 40 to 50 %: 1, 90 to 100 %: 1"
    )


def test_every_submission_can_be_opened():
    details = Reader(render(HEADING, CLASS)).of("details")
    names = [attributes["data-name"] for attributes in details if "data-name" in attributes]
    assert names == ["ada", "bob", "eve"]


WRITTEN = Heading("Homework", "digest", {"easy": 4.0, "why": 3.0}, {"why": "one for the reason"})


def written(name, text, **more):
    marks = Mark("easy", 4.0, True, False), Mark("why", 3.0, False, False, written=True, **more)
    sources = {"x": "x = 1  # <b>\u202e", "why": text}
    return Result(name, "d", marks, (Outcome("x", "done"),), sources=sources)


def test_written_answers_stand_side_by_side_with_what_was_given():
    given = written("bob", "no idea", given=1.0, comment="see page 3", by="kim", at="2026-11-21")
    page = render(WRITTEN, [written("ada", "because", reason=TO_BE_MARKED), given])
    text = " ".join(Reader(page).text.split())
    assert "Written: why (3 points)" in text
    assert "Rubric: one for the reason" in text
    assert "adabecauseto be marked" in text
    assert "bob: 1 of 3no ideasee page 3by kim, 2026-11-21" in text
    assert "answers to be marked1" in text


def test_code_stands_beside_its_feedback_and_hides_nothing():
    page = render(WRITTEN, [written("ada", "because", reason=TO_BE_MARKED)])
    assert "<pre>x = 1  # &lt;b&gt;\\u202e</pre>" in page


def test_a_page_holds_the_begin_of_an_answer_without_end():
    page = render(WRITTEN, [written("ada", "why " * 10_000, reason=TO_BE_MARKED)])
    assert page.count("why ") < 11_000
    assert "... 20,000 characters more" in page


@pytest.mark.parametrize(("given", "sign"), [(None, "?"), (0.0, "✗"), (1.5, "◐"), (3.0, "✓")])
def test_a_part_of_the_points_is_no_failure(given, sign):
    page = render(WRITTEN, [written("ada", "because", reason=TO_BE_MARKED, given=given)])
    assert f">{sign}</span> why " in page


def test_automatic_points_stay_visible_beside_those_by_hand():
    changed = Result("ada", "d", (Mark("easy", 4.0, True, False, given=3.0, by="kim", at="today"),))
    text = " ".join(Reader(render(HEADING, [changed])).text.split())
    assert "3 of 4 passed 3 of 4 points by handby kim, today, in place of 4" in text.replace(
        "4passed", "4 passed"
    )


def test_each_submission_is_found_by_what_is_the_matter():
    waits = written("ada", "because", reason=TO_BE_MARKED)
    results = [
        waits,
        replace(waits, submission="bob", seconds_late=3600.0, taken=1.0),
        replace(waits, submission="eve", fault="no notebook", counts=False),
        result("joe", True, True),
    ]
    details = Reader(render(WRITTEN, results, [Alike("x", ("ada", "joe"), True)])).of("details")
    assert [each["data-flags"].split("|") for each in details if "data-flags" in each] == [
        ["something failed", "to be marked", "alike"],
        ["something failed", "to be marked", "late"],
        ["something failed", "to be marked", "unreadable", "another attempt counts"],
        ["alike"],
    ]


def test_what_people_should_look_at_stands_on_top():
    page = render(HEADING, CLASS, notes=["ada, why: two people differ"])
    assert page.index("two people differ") < page.index("Distribution of marks")


def test_nothing_comes_from_elsewhere():
    page = render(HEADING, CLASS)
    assert not re.search(r"https?:|//\w|@import|url\(", page)
    assert not {"link", "img", "iframe", "object"} & {name for name, _ in Reader(page).elements}


def test_only_its_own_script_may_run():
    page = render(HEADING, [result(EVIL, False, False)])
    (policy,) = [a["content"] for a in Reader(page).of("meta") if "http-equiv" in a]
    digests = []
    for element in ("style", "script"):
        text = re.search(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)[1]
        digests.append(base64.b64encode(hashlib.sha256(text.encode()).digest()).decode())
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digests[0]}'; script-src 'sha256-{digests[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
    named = {name for _, attributes in Reader(page).elements for name in attributes}
    assert not any(name == "style" or name.startswith("on") for name in named)


def test_what_students_wrote_is_text():
    marks = (Mark("easy", 4.0, False, False, EVIL, EVIL, True),)
    outcomes = (Outcome(EVIL, "failed", EVIL, True),)
    results = [
        Result(EVIL, "d", marks, outcomes, isolation="namespaces"),
        Result("bob", "d", marks, outcomes, fault=EVIL),
        Result("eve", "d", trouble=EVIL),
    ]
    reader = Reader(render(HEADING, results))
    assert len(reader.of("script")) == 1
    assert reader.of("img") == []
    assert reader.text.count(EVIL) >= 6


def test_what_was_not_isolated_is_said():
    assert "Student code was isolated" in render(HEADING, CLASS)
    open_ = [result("joe", True, True, gaps=("the network is open",))]
    page = render(HEADING, CLASS + open_)
    assert "Student code was not fully held back" in page
    assert "the network is open" in page


def test_what_was_not_graded_is_said_and_counts_in_no_mean():
    text = Reader(render(HEADING, [*CLASS, Result("joe", "d", trouble="no kernel")])).text
    for part in ("mean4.7", "not graded1", "no kernel"):
        assert part in text


def test_without_submissions_there_is_a_page_too():
    text = Reader(render(HEADING, [])).text
    assert "submissions0" in text
    assert "mean0" not in text
    assert "isolated" not in text


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_a_browser_runs_the_script_and_nothing_else(tmp_path):
    path = tmp_path / "report.html"
    path.write_text(render(HEADING, [*CLASS, result(EVIL, False, False)]), encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'user'}",
    ]
    command = ["chromium", *options, "--dump-dom", path.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert '<div class="controls">' in found.stdout  # the script made it visible
    assert "4 of 4 are shown." in found.stdout
    assert "Refused" not in found.stderr


class TagReader(HTMLParser):
    """Collects tags, attributes and text as a browser would."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text = [], [], ""

    def handle_starttag(self, name, attributes):
        self.tags.append(name)
        self.attributes += attributes

    def handle_data(self, data):
        self.text += data


# What `plain` leaves of a student's text; a carriage return would be read as a new line.
texts = st.text(st.characters(exclude_categories=["C"]))


@given(texts, texts)
def test_no_text_is_taken_for_markup(text, value):
    reader = TagReader()
    reader.feed(to_html(tag("p", text, tag("b", text), text, data_name=value)))
    reader.close()
    assert reader.tags == ["p", "b"]
    assert reader.attributes == [("data-name", value)]
    assert reader.text == text * 3


def test_none_is_left_out():
    assert to_html(tag("p", None, "a", None, class_=None, hidden="")) == '<p hidden="">a</p>'


def test_names_may_be_attributes():
    assert to_html(tag("meta", name="x", http_equiv="y")) == '<meta name="x" http-equiv="y">'
