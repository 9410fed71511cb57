import itertools
import json
import subprocess
from dataclasses import replace

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks import __main__ as command_line
from benchmarks import harness
from benchmarks.__main__ import SUBJECTS, main, merged, read, write
from benchmarks.harness import (
    RATE,
    Case,
    Series,
    Target,
    as_data,
    from_data,
    limit,
    measure,
    ours,
    peer,
    ratios,
)
from benchmarks.imports import seconds_of
from benchmarks.picture import name_it
from benchmarks.reporting import markdown, short, slower


@pytest.fixture(autouse=True)
def _no_more_rounds_than_needed(monkeypatch):
    monkeypatch.setattr(harness, "SECONDS", 0)
    monkeypatch.setattr(harness.gc, "collect", int)  # takes long beside so many other tests


def counting(name="case", step=1.0):
    """Candidates whose measures are known: ours takes twice the limit, the peer three times."""

    def growing(factor):
        numbers = itertools.count(step * factor, 0)
        return lambda: next(numbers)

    return Case(
        name,
        (
            ours("mine", growing(2)),
            peer("theirs", growing(3)),
            peer("absent", growing(1), needs="no_such_module"),
            peer("broken", lambda: [][0]),
            limit("least", growing(1)),
        ),
        (
            Target("mine", 2, "least"),
            Target("mine", 0.5, "theirs"),
            Target("mine", 1, "absent"),
            Target("mine", 3 * step),
        ),
        unit="MB",
        returned=True,
    )


def test_a_round_runs_every_candidate_once_and_the_rounds_differ_in_order():
    order = []
    candidates = tuple(ours(name, lambda name=name: order.append(name)) for name in "abc")
    measure("toy", Case("order", candidates), quick=True)
    rounds = ["".join(order[start : start + 3]) for start in (0, 3, 6)]
    assert [sorted(one) for one in rounds] == [["a", "b", "c"]] * 3
    assert rounds[1] != rounds[2]


def test_seven_rounds_are_the_least():
    result = measure("toy", counting())
    assert len(result.named("mine").values) == 7


def test_what_takes_long_is_not_warmed_up_and_compared_in_the_rounds_that_it_took_part_in():
    numbers = itertools.count(2)
    slow = peer("slow", lambda: next(numbers), rounds=2)
    ones = itertools.count()
    case = Case("case", (ours("one", lambda: next(ones)), slow), returned=True)
    result = measure("toy", case)
    one, other = result.series
    assert (one.values, other.values) == (tuple(range(1, 8)), (2, 3))
    assert ratios(other, one) == [2, 1.5]
    assert "slow 2.5 s (1.75 x, 2 runs)" in markdown([result])


def test_a_short_table_has_the_headlines_and_names_no_machine():
    result = replace(measure("toy", counting()), headline="cook", date="2026-01-01")
    result = replace(result, machine="2 cores, abacus, load 1.0")
    assert short([result, measure("toy", counting())]).splitlines() == [
        "Medians, 2026-01-01, 2 cores, CPU only:",
        "",
        "| | ours | beside it |",
        "|---|---|---|",
        "| cook | `mine` **2 MB** | theirs 3 MB, least 1 MB |",
    ]


def test_names_in_the_picture_do_not_overlap():
    taken, figure = [], Figure(dpi=120)
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    for name in ("first", "second", "third"):
        name_it(ax, 0, Series("peer", name, (1.0, 1.0)), [1.0, 1.0], taken)
    assert len(taken) == 3
    assert not any(one.overlaps(other) for one, other in itertools.combinations(taken, 2))


def test_what_fails_in_a_later_round_is_left_out():
    answers = iter([1, 2])
    late = peer("late", lambda: next(answers))
    result = measure("toy", Case("case", (ours("one", int), late)))
    assert result.named("late").values == ()
    assert result.named("late").problem == "fails with StopIteration"
    assert len(result.named("one").values) == 7


def test_a_rate_is_shown_from_the_seconds_of_one():
    case = Case("case", (ours("one", lambda: 0.5),), unit=RATE, returned=True)
    assert "one **120 notebooks/min** (120 notebooks/min to" in markdown([measure("toy", case)])


def test_a_reason_stands_where_a_target_is_not_reached():
    reached, missed = (Target("mine", most, "least", why="it checks more") for most in (2, 1))
    case = replace(counting(), targets=(reached, missed))
    assert "yes, 2<br>no, 2: it checks more" in markdown([measure("toy", case)])


def test_a_candidate_that_does_not_end_is_left_out(monkeypatch):
    monkeypatch.setattr(harness, "PATIENCE", 1)
    endless = peer("endless", lambda: [None for _ in iter(int, 1)])
    result = measure("toy", Case("time", (ours("one", int), endless)), quick=True)
    assert result.named("endless").problem == "no end within 1 s"
    assert len(result.named("one").values) == 2
    result = replace(result, targets=(Target("one", 1, "endless"),))
    assert "| yes, no end within 1 s |" in markdown([result])


def test_what_a_candidate_needs_is_made_anew_each_time():
    made = itertools.count()
    taken = []
    one = ours("one", taken.append, fresh=lambda: next(made))
    measure("toy", Case("fresh", (one,)), quick=True)
    assert taken == [0, 1, 2]


def test_seconds_are_measured_where_nothing_is_returned():
    result = measure("toy", Case("time", (ours("one", lambda: "not a number"),)), quick=True)
    assert all(value >= 0 for value in result.named("one").values)


def test_the_table_shows_ratios_targets_and_what_is_missing(golden):
    result = replace(
        measure("toy", counting(), quick=True),
        date="2026-01-01",
        machine="2 cores, abacus, load 1.0",
        versions={"Python": "3", "torch": "not installed"},
    )
    golden(markdown([result]).rstrip("\n"))


def test_results_come_back_from_json_as_they_were():
    result = measure("toy", counting(), quick=True)
    assert list(from_data(json.loads(json.dumps(as_data([result]))))) == [result]


def test_a_run_is_not_slower_than_itself():
    result = measure("toy", counting(), quick=True)
    assert slower([result], [result]) == []


def test_a_slower_machine_is_not_a_slower_library():
    before, now = (measure("toy", counting(step=step), quick=True) for step in (1, 5))
    assert slower([now], [before]) == []


def test_what_became_slower_is_named_with_both_figures():
    before = measure("toy", counting(), quick=True)
    series = [replace(s, values=(3.0, 3.0)) if s.name == "mine" else s for s in before.series]
    now = replace(before, series=tuple(series))
    assert slower([now], [before]) == ["toy: case, mine: 3 times least, was 2"]


def test_what_fails_now_counts_as_slower():
    before = measure("toy", counting(), quick=True)
    failed = replace(before.series[0], values=(), problem="fails with ValueError")
    now = replace(before, series=(failed, *before.series[1:]))
    assert slower([now], [before]) == ["toy: case, mine: fails with ValueError, and did not before"]


def test_subjects_that_were_not_measured_keep_their_results():
    one = measure("toy", counting(), quick=True)
    old = [replace(one, subject=subject) for subject in SUBJECTS]
    new = measure(SUBJECTS[0], counting("another"), quick=True)
    assert merged([new], old) == [new, *old[1:]]


def test_a_table_a_picture_and_the_numbers_are_written(tmp_path):
    results = [measure("toy", counting(), quick=True)]
    write(results, tmp_path / "run.json")
    assert read(tmp_path / "run.json") == results
    assert (tmp_path / "run.md").read_text(encoding="utf-8") == markdown(results)
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")


def test_an_unknown_subject_is_named(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "cooking"])
    assert "cooking" in capsys.readouterr().err


def test_a_subject_is_measured_in_a_process_of_its_own(tmp_path, capsys):
    assert main(["--only", "ties", "--quick", "--save", str(tmp_path / "run.json")]) == 0
    (result,) = read(tmp_path / "run.json")
    assert len(result.named("tied_groups").values) == 2
    assert "| ties: 1,000 blocks | tied_groups" in capsys.readouterr().out


def test_a_subject_that_fails_is_named_and_does_not_stop_the_others(monkeypatch, capsys):
    def measured(subject, quick):
        if subject == "ties":
            raise subprocess.CalledProcessError(1, "python")
        return [measure(subject, counting(), quick)]

    monkeypatch.setattr(command_line, "in_own_process", measured)
    assert main(["--only", "ties", "--only", "files", "--quick"]) == 1
    said = capsys.readouterr().out
    assert "| files: case |" in said
    assert said.endswith("failed: ties\n")


def test_an_import_is_measured_in_a_new_process():
    assert seconds_of("import sys; assert 'pytest' not in sys.modules") > 0
