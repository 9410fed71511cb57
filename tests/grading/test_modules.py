"""Modules that students write beside the notebook: released, collected, run, and never trusted."""

import zipfile
from pathlib import Path

import pytest
from handins import Here, code, notebook
from nbformat.v4 import new_code_cell, new_notebook

from d2lcompute.grading.assignment import Assignment, AssignmentError, Cell, parse
from d2lcompute.grading.attempt import HAND_IN, Conditions
from d2lcompute.grading.examine import examine, findings
from d2lcompute.grading.grade import keep_reference
from d2lcompute.grading.judge import draw_seeds, expect, grade_submission
from d2lcompute.grading.release import release, write
from d2lcompute.grading.submissions import LARGEST_MODULE, Submission, find

HELPER = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION\n"
STUB = "def double(x):\n    ...  # your answer\n"
ASSIGNMENT = Assignment(
    (
        Cell(HELPER, "solution", "helper.py", module=True),
        Cell("import torch\nimport d2lcompute as d2c"),
        Cell("from helper import double", "solution", "use"),
        Cell("d2c.grading.answer(double(torch.rand(3)))", "check", "c", 2.0),
    )
)
CONDITIONS = Conditions(allow_unisolated=True)
USE = {"use": "from helper import double"}


def graded(*handed_in):
    seeds = [draw_seeds(ASSIGNMENT, "key", each) for each in handed_in]
    expected = expect(ASSIGNMENT, CONDITIONS, seeds)
    pairs = zip(handed_in, expected, strict=True)
    return [grade_submission(ASSIGNMENT, CONDITIONS, each, own) for each, own in pairs]


def test_a_module_is_imported_from_beside_the_notebook_and_can_only_be_read():
    spoilt = "open('helper.py', 'w')\n" + USE["use"]
    right, stub, missing, broken, written = graded(
        Submission("right", {"helper.py": "def double(x):\n    return x + x", **USE}),
        Submission("stub", {"helper.py": STUB, **USE}),
        Submission("missing", USE),
        Submission("broken", {"helper.py": "def double(x:\n", **USE}),
        Submission("written", {"helper.py": STUB, "use": spoilt}),
    )
    assert (right.earned, [each.state for each in right.outcomes]) == (2.0, ["done", "done"])
    assert (stub.earned, stub.outcomes[0].state) == (0.0, "untouched")
    assert (missing.earned, missing.outcomes[0].feedback) == (0.0, f"missing: {HAND_IN}")
    assert "No module named 'helper'" in missing.outcomes[1].details
    assert broken.outcomes[0].feedback.startswith("failed: SyntaxError: ")
    assert written.outcomes[1].details.startswith("PermissionError")


def test_a_module_is_examined():
    *_, (_, found) = examine(ASSIGNMENT, CONDITIONS, Here(), seeds=5)
    whose = {each.solution: each.kind for each, check in found.answers if check == "c"}
    assert whose.keys() == {"helper.py", "use"}
    (finding,) = findings(ASSIGNMENT, found)  # no check looks for a gradient
    assert finding.startswith("no check of helper.py sees a mistake, line 3: a detached result")


@pytest.mark.parametrize(
    "source",
    ["import os\nos._exit(0)", "raise SystemExit", "while True: pass", "\0", "\ufeff\f" * 9],
)
def test_a_hostile_module_costs_its_own_student_alone(source):
    conditions = Conditions(allow_unisolated=True, seconds=2.0)
    bad, good = Submission("bad", {"helper.py": source, **USE}), Submission("good", USE)
    seeds = [draw_seeds(ASSIGNMENT, "key", each) for each in (bad, good)]
    own, _ = expect(ASSIGNMENT, CONDITIONS, seeds)
    result = grade_submission(ASSIGNMENT, conditions, bad, own)
    assert (result.earned, result.trouble) == (0.0, "")


def write_notebook(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(notebook(code(USE["use"], "use")))


def modules(source):
    return {
        each.name: each.solutions.get("helper.py") for each in find(source, ASSIGNMENT).submissions
    }


def test_modules_are_those_beside_each_notebook(tmp_path):
    for student in ("ada", "bob", "cyd"):
        write_notebook(tmp_path / student / "hw.ipynb")
    (tmp_path / "ada" / "helper.py").write_bytes(b"\xef\xbb\xbfx = 1\r\ny = 2\r\n")
    (tmp_path / "ada" / "old").mkdir()
    (tmp_path / "ada" / "old" / "helper.py").write_text("x = 0")
    (tmp_path / "bob" / "src").mkdir()
    (tmp_path / "bob" / "src" / "helper.py").write_text("x = 2")
    (tmp_path / "bob" / "my_helper.py").write_text("no")
    (tmp_path / "helper.py").write_text("nobody's")
    wanted = {"ada": "x = 1\ny = 2\n", "bob": "x = 2", "cyd": None}
    assert modules(tmp_path) == wanted
    listed = ["ada/hw.ipynb", "ada/helper.py", "bob/hw.ipynb", "bob/src/helper.py", "cyd/hw.ipynb"]
    (tmp_path / "list.txt").write_text("\n".join(listed))
    assert modules(tmp_path / "list.txt") == wanted
    assert list(modules(tmp_path / "ada" / "hw.ipynb").values()) == ["x = 1\ny = 2\n"]


@pytest.mark.parametrize(
    ("prefix", "name", "said"),
    [
        ("Ada Lovelace_11_assignsubmission_file_/", "helper.py", []),
        ("lovelaceada_77_1234_", "helper.py", []),
        (
            "lovelaceada_LATE_77_1234_",
            "helper-1.py",
            ["helper.py is what was handed in as helper-1.py"],
        ),
        ("hw_ada01_attempt_2026-11-20-23-58-01_", "helper.py", []),
        ("11-22 - Ada Lovelace - Nov 20, 2026 1158 PM/", "helper (1).py", ["helper (1).py"]),
        ("ada/", "Helper.PY", ["Helper.PY"]),
    ],
)
def test_modules_are_known_in_what_platforms_export(tmp_path, prefix, name, said):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr(f"{prefix}hw.ipynb", notebook(code(USE["use"], "use")))
        archive.writestr(f"{prefix}{name}", "x = 1")
        archive.writestr(f"{prefix}other.py", "x = 2")
    (found,) = find(tmp_path / "export.zip", ASSIGNMENT).submissions
    assert found.solutions["helper.py"] == "x = 1"
    assert [note[-len(end) :] for note, end in zip(found.notes, said, strict=True)] == said


def test_a_module_that_cannot_be_read_is_a_note(tmp_path):
    for student in ("ada", "bob", "cyd"):
        write_notebook(tmp_path / student / "hw.ipynb")
    (tmp_path / "ada" / "helper.py").write_bytes("# 张三".encode("gbk"))
    (tmp_path / "bob" / "helper.py").write_bytes(b"#" * (LARGEST_MODULE + 1))
    (tmp_path / "cyd" / "helper.py").symlink_to("/etc/passwd")
    found = find(tmp_path, ASSIGNMENT).submissions
    assert [each.notes for each in found] == [
        ("helper.py was not run: it is no text in UTF-8",),
        ("helper.py was not run: it is larger than 1 MiB",),
        ("helper.py was not run: the file is a link or a device, which is not followed",),
    ]
    assert not any("helper.py" in each.solutions for each in found)


def reference(modules, **more):
    cells = [
        new_code_cell("x = 1", metadata={"tags": ["solution"], "d2lcompute": {"id": "x"}}),
        new_code_cell(
            "answer(x)", metadata={"tags": ["check"], "d2lcompute": {"id": "c", "points": 1}}
        ),
    ]
    return new_notebook(cells=cells, metadata={"d2lcompute": {"modules": modules, **more}})


def test_a_module_is_released_as_a_stub_and_kept_with_the_results(tmp_path):
    Path(tmp_path, "helper.py").write_text(HELPER)
    book = reference({"helper.py": {"forbids": ["loop"]}})
    assignment = parse(book, tmp_path)
    assert assignment.modules["helper.py"].forbids == ("loop",)
    write(release(book, {}), tmp_path / "release", assignment.beside_release)
    released = (tmp_path / "release" / "helper.py").read_text()
    assert released == f"# not allowed here: loop\n{STUB}"
    Path(tmp_path, "reference.md").write_text("")
    keep_reference(tmp_path / "reference.md", assignment, tmp_path / "results")
    assert (tmp_path / "results" / "reference" / "helper.py").read_text() == HELPER


def test_a_changed_module_of_the_reference_is_graded_again(tmp_path):
    versions = []
    for text in (HELPER, HELPER.replace("2", "3")):
        Path(tmp_path, "helper.py").write_text(text)
        versions.append(parse(reference(["helper.py"]), tmp_path).versions)
    assert versions[0] != versions[1]


@pytest.mark.parametrize(
    ("modules", "more", "message"),
    [
        ("helper.py", {}, r"modules must be a list as \['helper.py'\]"),
        (["../helper.py"], {}, "a module must be called as helper.py, and not as Python's own"),
        (["random.py"], {}, "not as Python's own, got 'random.py'"),
        (["helper.py"], {"files": ["helper.py"]}, "among the files of the course and the modules"),
        ({"helper.py": {"points": 1}}, {}, "the module helper.py may have forbids and asks"),
        ({"helper.py": {"forbids": "loop"}}, {}, "forbids must be a list"),
        (["helper.py"], {}, "the file helper.py is not there"),
    ],
)
def test_what_is_wrong_with_modules_is_said(tmp_path, modules, more, message):
    with pytest.raises(AssignmentError, match=message):
        parse(reference(modules, **more), tmp_path)
