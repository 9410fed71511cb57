from pathlib import Path

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from d2lcompute.notebooks import plugin
from d2lcompute.notebooks.cell import KernelError
from d2lcompute.notebooks.isolation import count_cores
from d2lcompute.notebooks.published import way_to_get
from d2lcompute.notebooks.warm import NotWarmError
from pytest_d2l import RULE

pytest_plugins = ["pytester"]


def cell(source, *outputs, count=1, tags=(), **metadata):
    metadata = {"tags": list(tags), **metadata}
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


def printed(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def value(text, **more):
    return new_output("execute_result", {"text/plain": text, **more}, execution_count=1)


@pytest.fixture
def run(pytester):
    """Run `pytest --d2l` on notebooks given as lists of cells."""

    def run_notebooks(*notebooks, options=("--d2l",), runpytest=pytester.runpytest_inprocess):
        for number, cells in enumerate(notebooks):
            path = pytester.path / f"notebook{number}.ipynb"
            nbformat.write(new_notebook(cells=list(cells)), path)
        plugin = ["-p", "pytest_d2l", "-p", "no:cacheprovider", "-rA"]
        return runpytest(*plugin, *options)

    return run_notebooks


def test_what_agrees_passes_and_what_does_not_fails(run):
    result = run(
        [
            cell("print('loss', 0.12345)", printed("loss 0.12346\n")),
            cell("0.5 + 1e-9", value("0.500000002")),
            cell("6 * 7;"),
            cell("import sys; print('w', file=sys.stderr)", printed("other\n", "stderr")),
            cell("1 / 0", tags=["raises-exception", "nbval-ignore-output"]),
            cell("skipped", tags=["nbval-skip"]),
            cell("print(128)", printed("129\n")),
        ],
    )
    result.assert_outcomes(passed=5, skipped=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "Cell 1 shows something else than in the notebook",
            "  stored  129",
            "  now     128",
            "  129 is now 128: 1 apart",
        ]
    )


def test_html_is_compared_with_a_tolerance_too(run):
    code = "class T:\n    def _repr_html_(self): return '<td>0.33333</td>'\n"
    code += "    def __repr__(self): return 'T'\nT()"
    shown = {"text/html": "<td>0.33334</td>"}
    run([cell(code, value("T", **shown))]).assert_outcomes(passed=1)


def test_a_notebook_stops_at_its_first_failure_and_the_next_one_runs(run):
    result = run([cell("1 / 0"), cell("x = 1"), cell("x")], [cell("6 * 7", value("42"))])
    result.assert_outcomes(passed=1, failed=1, skipped=2)
    result.stdout.fnmatch_lines(
        [
            "Cell 1 raised ZeroDivisionError: division by zero",
            "cells of notebooks: 1 failed, 2 behind them not run (--d2l-keep-going)",
            "*stopped at Cell 1: 1 / 0*",
        ]
    )


def test_the_rest_is_run_where_it_is_asked_for_and_there_is_a_kernel(run):
    cells = [cell("1 / 0"), cell("x = 1", count=2), cell("x", value("2"), count=3)]
    result = run(cells, options=["--d2l", "--d2l-keep-going"])
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["cells of notebooks: 2 failed"])
    dead = [cell("import os; os._exit(3)"), cell("x", count=2)]
    result = run(dead, options=["--d2l", "--d2l-keep-going", "notebook0.ipynb"])
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["cells of notebooks: 1 failed, 1 behind them not run"])


def test_tests_have_the_numbers_that_jupyter_shows_and_the_names_of_what_cells_do(run):
    cells = [
        cell("# a comment\n\nx = 1  # one", count=7),
        cell("a = 'x::y'", count=8),
        cell("y = 2", name="the second", count=10),
        cell("", count=None),
    ]
    result = run([cell("x" * 100 + " = 1")], cells, options=["--d2l", "--collect-only", "-q"])
    lines = [line for line in result.outlines if "::" in line]
    assert lines == [
        f"notebook0.ipynb::Cell 1: {'x' * 60}",
        "notebook1.ipynb::Cell 7: x = 1  # one",
        "notebook1.ipynb::Cell 8: a = 'x:y'",
        "notebook1.ipynb::Cell 10: the second",
        "notebook1.ipynb::Cell [ ]: ",
    ]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("%no_such_magic", "*UsageError*no_such_magic*"),
        ("import os; os._exit(3)", "*the kernel ended with exit code 3*"),
        ("print('x' * 3_000_000)", "*the cell sent more than 1 MB at once*"),
        ("import time; time.sleep(60)", "*the notebook took longer than 2 s*"),
    ],
    ids=["magic", "dead", "output", "time"],
)
def test_what_nbval_overlooks_fails(run, code, message):
    limit = "--d2l-timeout=2" if "time" in code else "--d2l-output=1"
    result = run([cell(code), cell("x")], options=["--d2l", limit])
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines([message])


def test_a_cell_has_nbvals_time_limit(run):
    result = run([cell("while True: x = 1")], options=["--d2l", "--nbval-cell-timeout=0.5"])
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the cell took longer than 0.5 s and *"])


def test_a_kernel_that_does_not_start_is_no_failure_of_the_notebook(run, monkeypatch):
    def start_kernel(**arguments):
        raise KernelError("the kernel did not start within 600 s")

    monkeypatch.setattr(plugin, "start_kernel", start_kernel)
    result = run([cell("6 * 7", value("42")), cell("x", count=2)])
    result.assert_outcomes(errors=1, skipped=1)
    result.stdout.fnmatch_lines(
        [
            "the kernel did not start within 600 s; the notebook was not run, *no fault of it",
            "cells of notebooks: 0 failed, 1 behind them not run*",
        ]
    )


def raises(name):
    return new_output("error", ename=name, evalue="division by zero", traceback=[])


@pytest.mark.parametrize(
    "tags", [["raises-exception"], ["raises-exception", "nbval-ignore-output"]]
)
def test_a_marked_cell_must_still_raise_what_it_raised(run, tags):
    cells = [
        cell("1 / 0", raises("ZeroDivisionError"), tags=tags),
        cell("1 / 0", raises("ValueError"), tags=tags, count=2),
        cell("x = 1", raises("ValueError"), tags=tags, count=3),
    ]
    result = run(cells, options=["--d2l", "--d2l-keep-going"])
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        [
            "Cell 2 raised ZeroDivisionError, in the notebook it raises ValueError",
            "Cell 3 raised nothing, in the notebook it raises ValueError",
        ]
    )


def test_a_display_that_is_updated_counts_as_it_is_at_last(run):
    code = "from IPython.display import display\n"
    code += "bar = display('10 %', display_id=True)\nbar.update('100 %')"
    run([cell(code, new_output("display_data", {"text/plain": "'100 %'"}))]).assert_outcomes(
        passed=1
    )


def test_pictures_are_compared_to_the_byte_where_it_is_asked_for(run):
    code = "from IPython.display import display\n"
    code += "display({'image/png': 'AAAA', 'text/plain': 'a'}, raw=True)"
    kept = new_output("display_data", {"image/png": "AAAA", "text/plain": "a"})
    run([cell(code, kept)], options=["--d2l", "--d2l-pictures=bytes"]).assert_outcomes(passed=1)


SHUFFLE = """
import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    items[:] = items[1::2] + items[::-2]
"""


def test_a_plugin_that_shuffles_does_not_part_the_cells_of_a_notebook(run, pytester):
    pytester.makeconftest(SHUFFLE)
    pytester.makepyfile("def test_other(): pass")
    one, two = ([cell(f"x = {n}"), cell("x += 1"), cell("x", value(f"{n + 1}"))] for n in (1, 5))
    run(one, two).assert_outcomes(passed=7)


def test_a_project_may_have_options_of_our_names_without_prefix(pytester):
    options = ["--warm", "--keep-going", "--rtol", "--timeout"]
    code = "".join(f"    parser.addoption({name!r}, action='store_true')\n" for name in options)
    pytester.makeconftest(f"def pytest_addoption(parser):\n{code}")
    pytester.makepyfile("def test_warm(request): assert request.config.option.warm")
    pytester.runpytest("-p", "pytest_d2l", "--warm").assert_outcomes(passed=1)


def test_the_rule_is_said_in_the_help_and_in_the_documentation(pytester):
    said = "".join(pytester.runpytest("-p", "pytest_d2l", "--help").stdout.str().split())
    assert "".join(RULE.split()) in said
    assert RULE.count(". ") == 2
    page = Path(__file__).parents[2] / "docs" / "notebooks-compare.md"
    assert RULE in " ".join(page.read_text(encoding="utf-8").split())


def test_options_change_tolerance_and_stderr(run):
    cells = [
        cell("print(0.5)", printed("0.6\n")),
        cell("import sys; print('a', file=sys.stderr)", printed("b\n", "stderr")),
    ]
    result = run(cells, options=["--d2l", "--d2l-rtol=0.5", "--d2l-stderr=compare"])
    result.assert_outcomes(passed=1, failed=1)


@pytest.mark.parametrize("value", ["-1", "inf", "nan", "much"])
def test_a_tolerance_is_a_number_of_at_least_zero(pytester, value):
    result = pytester.runpytest("-p", "pytest_d2l", f"--d2l-rtol={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--d2l-rtol: must be a number of at least 0, got '{value}'"])


def test_a_text_may_be_sanitized_before_it_is_compared(run, pytester):
    pytester.makefile(".cfg", sanitize="[time]\nregex: \\d+ s\nreplace: TIME\n")
    result = run(
        [cell("print('12 s 0.50001')", printed("7 s 0.50002\n"))],
        options=["--d2l", "--nbval-sanitize-with=sanitize.cfg"],
    )
    result.assert_outcomes(passed=1)


def test_both_options_give_each_notebook_once(run):
    cells = [cell("print(0.12345)", printed("0.12346\n"))]
    run(cells, options=["--d2l", "--nbval"]).assert_outcomes(passed=1)


def test_a_file_that_is_no_notebook_is_one_line(run, pytester):
    (pytester.path / "broken.ipynb").write_text("{")
    options = ["--d2l", "--continue-on-collection-errors"]
    result = run([cell("6 * 7", value("42"))], options=options)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["broken.ipynb can not be read as a notebook: *"])
    result.stdout.no_fnmatch_line("*During handling*")


def test_an_error_is_told_without_colours_where_there_are_none(run):
    result = run([cell("1 / 0")], options=["--d2l", "--color=no"])
    result.stdout.fnmatch_lines(["ZeroDivisionError *Traceback (most recent call last)"])


@pytest.mark.parametrize("options", [["--nbval", "--nbval-current-env"], []])
def test_without_the_option_nothing_changes(run, pytester, options):
    cells = [cell("print(0.12345)", printed("0.12346\n")), cell("print(1)", printed("1\n"))]
    # In a process of its own: nbval leaves a file open.
    result = run(cells, options=options, runpytest=pytester.runpytest_subprocess)
    if options:
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["PASSED notebook0.ipynb::Cell 1"])
    else:
        result.assert_outcomes()


def test_lax_compares_what_is_marked(run):
    cells = [cell("1", value("2")), cell("# NBVAL_CHECK_OUTPUT\n1", value("2"))]
    run(cells, options=["--d2l", "--nbval-lax"]).assert_outcomes(passed=1, failed=1)


def test_the_options_cost_no_import(pytester):
    pytester.makepyfile("import sys\ndef test_light(): assert 'd2lcompute' not in sys.modules")
    result = pytester.runpytest_subprocess("-p", "pytest_d2l", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)


def test_without_nbval_the_way_out_is_said(pytester):
    result = pytester.runpytest_inprocess("-p", "pytest_d2l", "-p", "no:nbval", "--d2l")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert f"--d2l needs nbval; do {way_to_get('notebooks')}" in result.stderr.str()


def test_warm_kernels_have_torch(run):
    warm = [cell("import sys; print('torch' in sys.modules)", printed("True\n"))]
    run(warm, warm, options=["--d2l", "--d2l-warm"]).assert_outcomes(passed=2)


def test_where_no_kernel_can_be_forked_the_reason_is_told(run, monkeypatch):
    monkeypatch.setattr("d2lcompute.notebooks.warm._check_system", refuse)
    result = run([cell("6 * 7", value("42"))], options=["--d2l", "--d2l-warm"])
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["1 of the notebooks started cold: no forks today"])


def refuse():
    raise NotWarmError("no forks today")


# Each of two notebooks goes on only when it has seen the other.
MEETING = """
import pathlib, time
pathlib.Path("here{}").touch()
while not pathlib.Path("here{}").exists():
    time.sleep(0.01)
"""


def test_notebooks_run_side_by_side_where_it_is_asked_for(run):
    meeting = [[cell(MEETING.format(one, 1 - one)), cell("1", value("1"))] for one in (0, 1)]
    result = run(*meeting, options=["--d2l", "--d2l-jobs=2", "-v"])
    result.assert_outcomes(passed=4)
    told = [f"notebook{one}.ipynb::Cell 1: {name} PASSED*" for one in "01" for name in "i1"]
    result.stdout.fnmatch_lines([line.replace(": i ", ": import* ") for line in told])


def test_side_by_side_a_notebook_stops_at_its_first_failure_too(run):
    cells = [
        cell("1 / 0", tags=["raises-exception", "nbval-ignore-output"]),
        cell("skipped", tags=["nbval-skip"]),
        cell("1", value("2")),
        cell("1 / 0"),
    ]
    options = ["--d2l", "--d2l-jobs=2"]
    run(cells, cells, options=options).assert_outcomes(passed=2, failed=2, skipped=4)
    result = run(options=[*options, "--d2l-keep-going", "-x"])
    result.assert_outcomes(passed=1, failed=1, skipped=1)


def test_a_run_that_is_stopped_ends_the_notebooks_beside_it(run):
    before = psutil.Process().children()
    endless = [cell("while True: x = 1")]
    run([cell("1", value("2"))], endless, options=["--d2l", "--d2l-jobs=2", "-x"])
    new = [child for child in psutil.Process().children() if child not in before]
    assert psutil.wait_procs(new, timeout=60)[1] == []


def test_kernels_that_run_side_by_side_share_the_cores(run, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads = [cell("import torch; torch.get_num_threads()", value("1"))]
    options = ["--d2l", "--d2l-warm", f"--d2l-jobs={count_cores()}"]
    run(threads, options=options).assert_outcomes(passed=1)


@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_the_number_of_jobs_is_at_least_one(pytester, value):
    result = pytester.runpytest("-p", "pytest_d2l", f"--d2l-jobs={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--d2l-jobs: must be an integer of at least 1, got '{value}'"])
