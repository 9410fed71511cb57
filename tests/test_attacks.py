"""Zero forged marks, no crash of the run, every other submission graded, nothing left running."""

import contextlib
import importlib.util
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from d2lcompute.grading import report
from d2lcompute.grading.assignment import parse, read_notebook
from d2lcompute.grading.attempt import Conditions, NotIsolatedError
from d2lcompute.grading.grade import Workers, grade, processes
from d2lcompute.grading.results import Journal
from d2lcompute.grading.submissions import find

ATTACKS = Path(__file__).parent / "attacks"
sys.path.insert(0, str(ATTACKS))
spec = importlib.util.spec_from_file_location("attacks_make", ATTACKS / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)

WRITTEN = list(make.notebooks())
NAMES = [name for name, _, _ in WRITTEN]
RIGHT = {"honest", *(name for name, _, _ in make.mishaps())}
KINDS = {name.removesuffix("_0").removesuffix("_1") for name in NAMES} - RIGHT
PATIENT, HASTY = Conditions(seconds=20), Conditions(seconds=3)
# These end by that limit, in two kernels and often more than once; no other comes near it.
ENDLESS = {
    "another_program", "answers_in_a_child", "broken_stdout", "carry_out_by_kinds_of_ending",
    "cleared_without_end", "deep_folders", "displays_without_end", "empty_files", "endless",
    "endless_in_check", "endless_regex", "error_with_endless_text", "fork_bomb", "full_pipes",
    "held_forever", "held_lock", "huge_power", "ignored_interrupts", "message_without_an_end",
    "page_tables", "shell_that_lies", "stopped", "thread_bomb", "warnings_without_end",
}  # fmt: skip
SECRETS = ("only-the-grader-knows-this-line", "hidden_input")


def why_not_isolated():
    try:
        return PATIENT.isolation and None
    except NotIsolatedError as error:
        return str(error)


isolated = pytest.mark.skipif(why_not_isolated() is not None, reason=f"{why_not_isolated()}")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """All attacks, graded in one run: its journal and its folder."""
    folder = tmp_path_factory.mktemp("attacked")
    assignment = parse(read_notebook(ATTACKS / "reference.md"))
    journal = Journal.start(folder, assignment)
    submissions = find(ATTACKS, assignment).submissions
    with processes(3) as executor:  # while one waits for a limit, two compute
        workers = Workers(lambda: contextlib.nullcontext(executor), 3)
        for conditions in (HASTY, PATIENT):
            some = [each for each in submissions if (each.name in ENDLESS) == (conditions is HASTY)]
            grade(assignment, some, journal, conditions, workers, lambda progress: None)
    return journal, folder


@pytest.fixture(scope="module")
def results(attacked):
    return {result.submission: result for result in attacked[0].results}


def test_there_are_attacks_of_many_kinds():
    assert len(KINDS) >= 180


@isolated
@pytest.mark.parametrize("name", [name for name in NAMES if name not in RIGHT])
def test_an_attack_earns_nothing(results, name):
    marks = {mark.check: mark.passed for mark in results[name].marks}
    assert not marks["twice-shown"]
    assert not marks["twice-hidden"]


@isolated
@pytest.mark.parametrize("name", [name for name in NAMES if name not in make.SPOIL_THE_OTHER])
def test_what_was_answered_honestly_still_counts(results, name):
    marks = {mark.check: mark.passed for mark in results[name].marks}
    assert marks["flip-shown"]
    assert marks["flip-hidden"]


@isolated
@pytest.mark.parametrize("name", sorted(RIGHT))
def test_a_right_answer_earns_all_points_whatever_happened_to_it(results, name):
    assert {mark.check: mark.feedback for mark in results[name].marks} == dict.fromkeys(
        ("twice-shown", "twice-hidden", "flip-shown", "flip-hidden"), "passed"
    )


@isolated
def test_every_submission_was_graded_in_isolation(results):
    assert sorted(results) == sorted(NAMES)
    assert [result.trouble for result in results.values() if result.trouble] == []
    levels = {result.isolation.partition(",")[0] for result in results.values()}
    assert levels <= {"namespaces", "bubblewrap"}


@isolated
def test_nothing_is_left_running(results):
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            assert b"98765" not in path.read_bytes()


@isolated
def test_no_code_of_an_answer_ran_here(results):
    assert not Path("/tmp/the-judge-ran-this").exists()


@isolated
def test_students_read_nothing_of_hidden_checks(attacked):
    journal, _ = attacked
    for secret in SECRETS:
        for result in journal.results:
            assert secret not in report.to_gradescope(result)
        assert secret not in report.to_junit(journal.heading, journal.results)


@isolated
@pytest.mark.parametrize("name", [name for name in NAMES if "carry_out" in name])
def test_students_read_no_choice_of_their_code_after_a_hidden_check(attacked, results, name):
    result, journal = results[name], attacked[0]
    assert {mark.feedback for mark in result.marks if mark.hidden} <= {"passed", "not passed"}
    cases = ElementTree.fromstring(report.to_junit(journal.heading, [result])).iter("testcase")
    times = {case.get("name"): case.get("time") for case in cases}
    assert times["twice-hidden"] == times["flip-hidden"] == "0"


@isolated
def test_nobody_says_much(results):
    for result in results.values():
        details = [part.details for part in (*result.marks, *result.outcomes)]
        assert max(map(len, details)) < 600, result.submission


@isolated
def test_what_students_wrote_is_text_in_every_report(attacked):
    journal, folder = attacked
    texts = [
        path.read_text(encoding="utf-8")
        for path in report.write_reports(journal.heading, report.settle(journal, folder), folder)
    ]
    assert not any(char in text for text in texts for char in "\x1b\x07\b\u202e")
    page = texts[0]
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.mark.parametrize(("name", "cells", "metadata"), WRITTEN, ids=NAMES)
def test_each_attack_is_the_one_that_is_described(name, cells, metadata):
    written = (ATTACKS / f"{name}.ipynb").read_text(encoding="utf-8")
    assert written == make.text_of(cells, metadata)
