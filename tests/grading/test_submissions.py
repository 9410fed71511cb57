import io
import json
import os
import struct
import sys
import zipfile
from pathlib import Path

import pytest
from handins import code, notebook
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.grading import platforms, sources, submissions
from d2lcompute.grading.assignment import Assignment, Cell
from d2lcompute.grading.submissions import LARGEST, NEXT_CELL, Submission, find

SOLUTIONS = [Cell("...", "solution", name) for name in ("a", "f", "g", "x")]
CHECK = Cell("d2c.grading.answer(f(torch.rand(3)))", "check", "c", 1.0)
ASSIGNMENT = Assignment((Cell("import os"), *SOLUTIONS, CHECK))


def read(data):
    return submissions.read(data, ASSIGNMENT)


def test_only_the_source_of_the_declared_cells_is_taken():
    data = notebook(
        {"cell_type": "markdown", "metadata": {}, "source": "# Hi"},
        code("import os"),
        code(["def f(x):\n", "    return x"], "f", tags=["solution", "nbval-skip"]),
        code("g = 1", "g"),
        code("h = 1", "h"),
        code(f"d2c.grading.seed(0)\n{CHECK.source}\n"),
        code("\n"),
    )
    found = read(data)
    assert found.solutions == {"f": "def f(x):\n    return x", "g": "g = 1"}
    assert found.notes == ("1 code cell stands outside of the answers: only answers are run",)


def test_a_solution_that_was_split_or_copied_runs_as_several_cells():
    data = notebook(code("", "f"), code("a = 1", "f"), code("import os"), code("b = a", "f"))
    found = read(data)
    assert found.solutions == {"f": f"a = 1{NEXT_CELL}b = a"}
    assert found.notes == ("f stands in 3 cells",)


def test_a_solution_is_known_by_its_cells_id_where_its_metadata_are_gone():
    cells = [code("a = 1"), code("f = 1"), code("g = 1", "g")]
    cells[0]["id"], cells[1]["id"] = SOLUTIONS[0].notebook_id, "12345678"
    found = read(notebook(*cells))
    assert found.solutions == {"a": "a = 1", "g": "g = 1"}
    assert found.notes == ("1 code cell stands outside of the answers: only answers are run",)


def test_where_no_answer_is_found_it_is_said():
    found = read(notebook(code("import os"), code("f = 1")))
    assert found.solutions == {}
    assert found.notes == ("no answer of this assignment was found among 2 code cells",)


def test_an_answer_that_became_a_text_cell_is_told():
    text = {"cell_type": "markdown", "metadata": {"d2lcompute": {"id": "f"}}, "source": "f = 1"}
    found = read(notebook(text, code("a = 1", "a")))
    assert found.solutions == {"a": "a = 1"}
    assert found.notes == ("f is a text cell: it was not run",)


def test_an_old_format_is_read():
    cell = {"cell_type": "code", "input": ["a = 1"], "metadata": {"d2lcompute": {"id": "a"}}}
    old = {"nbformat": 3, "worksheets": [{"cells": [cell]}]}
    assert read(json.dumps(old).encode()).solutions == {"a": "a = 1"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe\x00",
        b"[]",
        b"{}",
        b'{"cells": 1}',
        b'{"cells": [1]}',
        b'{"cells": [{"cell_type": "code", "metadata": {"d2lcompute": {"id": "x"}}}]}',
        b'{"cells": [{"cell_type": "code", "metadata": [], "source": ""}]}',
        b'{"worksheets": [1]}',
        b"[" * 200_000,
        b"1" * 10_000,
        notebook(code(5, "x")),
        notebook(code([5], "x")),
    ],
    ids=lambda data: data[:40].decode("latin-1"),
)  # fmt: skip
def test_what_is_no_notebook_is_a_fault(data):
    found = read(data)
    assert found.fault.startswith("the file is not a notebook: ")
    assert found.solutions == {}


@given(st.binary())
def test_no_file_raises(data):
    assert read(data).name == ""


def test_a_file_that_is_too_large_is_not_parsed():
    assert read(b"[" * (LARGEST + 1)).fault == "the file is larger than 32 MiB"


@pytest.mark.parametrize("identity", [3, None, ["x"], {"x": 1}, ""])
def test_an_id_that_is_no_text_is_none(identity):
    assert read(notebook(code("a", identity))).solutions == {}


def test_half_a_character_does_not_get_through():
    data = notebook(code("x = 1", "x")).replace(b"x = 1", b"'\\ud800'")
    assert read(data).solutions == {"x": "'?'"}
    assert read(data).digest


def test_the_digest_tells_submissions_apart():
    one = Submission("ada", {"f": "1"})
    others = [Submission("bob", {"f": "1"}), Submission("ada", {"f": "2"}), Submission("ada")]
    others.append(Submission("ada", fault="no notebook was handed in"))
    assert len({submission.digest for submission in [one, *others]}) == 5
    assert one.digest == Submission("ada", {"f": "1"}).digest


HOMEWORK = notebook(code("a = 1", "a"))
OTHER = notebook(code("print()"))


@pytest.fixture
def zipped(tmp_path):
    """Write a zip of names and contents."""

    def write(entries, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "export.zip"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, data in entries:
                archive.writestr(name, data)
        return path

    return write


@pytest.fixture
def folder(tmp_path):
    """Write a folder of names and contents."""

    def write(entries):
        for name, data in entries:
            path = tmp_path / "handed-in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return tmp_path / "handed-in"

    return write


def found(source):
    submissions = find(Path(source), ASSIGNMENT).submissions
    return {each.name: each.fault or dict(each.solutions) for each in submissions}


GOOD = {"a": "a = 1"}
NOTHING = "no notebook was handed in"
LAYOUTS = {
    "files": (["ada.ipynb", "bob.ipynb", "README.md"], {"ada": GOOD, "bob": GOOD}),
    "folders": (["ada/x/hw.ipynb", "bob/hw.ipynb"], {"ada": GOOD, "bob": GOOD}),
    "moodle folders": (
        ["Ada Lovelace_31_assignsubmission_file_/hw.ipynb", "Bob_7_assignsubmission_file/h.pdf"],
        {"Ada Lovelace (31)": GOOD, "Bob (7)": f"{NOTHING}: h.pdf"},
    ),
    "moodle files": (
        ["Ada Lovelace_31_assignsubmission_file_hw.ipynb", "Bob_7_assignsubmission_file_h.pdf"],
        {"Ada Lovelace (31)": GOOD, "Bob (7)": f"{NOTHING}: Bob_7_assignsubmission_file_h.pdf"},
    ),
    "moodle folders in others": (
        ["groups/A/Ada_31_assignsubmission_file_/x/hw.ipynb",
         "groups/B/Bob_7_assignsubmission_file_/Ada_31_assignsubmission_file_/hw.ipynb"],
        {"Ada (31)": GOOD, "Bob (7)": GOOD},
    ),
    "students' own folders, one called as by a platform": (
        ["ada/hw.ipynb", "bob/Ada_31_assignsubmission_file_/hw.ipynb",
         "eve/12-67 - Ada - Nov 20, 2026 1158 PM/hw.ipynb", "dan/Ada_31_20261120_235800/hw.ipynb"],
        {"ada": GOOD, "bob": GOOD, "dan": GOOD, "eve": GOOD},
    ),
    "one folder called as by a platform beside others of the same student": (
        ["bob/hw.ipynb", "bob/Ada_31_assignsubmission_file_/hw.ipynb"],
        {"bob: bob/hw.ipynb": GOOD, "bob: bob/Ada_31_assignsubmission_file_/hw.ipynb": GOOD},
    ),
    "canvas": (
        ["lovelaceada_1234_567890_hw.ipynb", "roebob_LATE_77_567_hw-1.ipynb", "eve_12_34_x.txt"],
        {"eve (12)": f"{NOTHING}: x.txt", "lovelaceada (1234)": GOOD, "roebob (77, late)": GOOD},
    ),
    "rubbish": (
        ["ada/hw.ipynb", "ada/.ipynb_checkpoints/hw.ipynb", "__MACOSX/ada/hw.ipynb", "._b.ipynb",
         ".git/config", ".git/x.ipynb", "bob.ipynb", "__pycache__/make.cpython-311.pyc",
         "eve/__pycache__/helper.cpython-311.pyc"],
        {"ada": GOOD, "bob": GOOD, "eve": f"{NOTHING}: helper.cpython-311.pyc"},
    ),
    "names like others'": (
        ["x.IPYNB", ".hidden.ipynb", "__init__.ipynb", "X.ipynb", ".ipynb"],
        {"x": GOOD, ".hidden": GOOD, "__init__": GOOD, "X": GOOD, ".ipynb": GOOD},
    ),
    "long names": (
        [f"{'An introduction ' * 7}{name}.ipynb" for name in ("ada", "bob", "eve")],
        {f"{('An introduction ' * 7)[:60]} ... {('An introduction ' * 7 + name)[-40:]}": GOOD
         for name in ("ada", "bob", "eve")},
    ),
    "longer names": (
        [f"{'An introduction ' * 4}{name}{'to it ' * 8}.ipynb" for name in ("ada", "bob")],
        {f"{('An introduction ' * 4)[:60]} ... {('to it ' * 8)[-41:-1]}": GOOD,
         f"{('An introduction ' * 4)[:60]} ... {('to it ' * 8)[-41:-1]} (2)": GOOD},
    ),
    "bytes": (
        ["张三_作业.ipynb", os.fsdecode("李四.ipynb".encode("gbk")),
         os.fsdecode("王五.ipynb".encode("gbk")), os.fsdecode(b"Andr\xe9.ipynb")],
        {"张三_作业": GOOD, "李四": GOOD, "王五": GOOD, "Andr\\xe9": GOOD},
    ),
    "two of one student": (
        ["ada/hw.ipynb", "ada/hw2.ipynb"],
        {"ada: ada/hw.ipynb": GOOD, "ada: ada/hw2.ipynb": GOOD},
    ),
    "names that lie": (
        ["\x1b[2Jada\n\tb\u202e.ipynb", "ada\u200b.ipynb", "ada.ipynb"],
        {"\\x1b[2Jada\\n\\tb\\u202e": GOOD, "ada\\u200b": GOOD, "ada": GOOD},
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_students_are_found_in_a_zip(zipped, layout):
    names, expected = LAYOUTS[layout]
    if layout == "bytes":
        pytest.skip("zipfile writes no such names")
    assert found(zipped((name, HOMEWORK) for name in names)) == expected


def test_a_zip_whose_names_are_bytes_is_read_too(zipped):
    """As Windows writes it where Chinese is spoken: in GBK, without saying so."""
    source = zipped([("aaaa.ipynb", HOMEWORK), ("bbbb.ipynb", HOMEWORK)])
    data = source.read_bytes()
    for name, chinese in ((b"aaaa", "张三"), (b"bbbb", "李四")):
        data = data.replace(name, chinese.encode("gbk"))
    source.write_bytes(data)
    assert found(source) == {"张三": GOOD, "李四": GOOD}


def test_an_entry_that_is_there_twice_counts_twice(zipped):
    with pytest.warns(UserWarning, match="Duplicate name"):
        source = zipped([("ada.ipynb", HOMEWORK), ("ada.ipynb", HOMEWORK)])
    assert found(source) == {"ada: ada.ipynb": GOOD, "ada: ada.ipynb (2)": GOOD}


def test_a_zip_of_a_folder_is_that_folder(zipped):
    names = ["export/ada.ipynb", "export/bob/x.ipynb", "__MACOSX/export/._ada.ipynb"]
    assert found(zipped((name, HOMEWORK) for name in names)) == {"ada": GOOD, "bob": GOOD}


def inner(*names, data=HOMEWORK):
    """Return a zip that a student handed in."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return buffer.getvalue()


MANY = [f"{number}.ipynb" for number in range(21)]
HANDED_IN_ZIPS = {
    "one": ({"ada_12_assignsubmission_file_/hw.zip": inner("hw/a.ipynb", "data.csv")}, GOOD),
    "canvas": ({"ada_12_345_hw.zip": inner("a.ipynb")}, GOOD),
    "among others": (
        {"ada_12_assignsubmission_file_/hw.zip": inner("a.ipynb"),
         "ada_12_assignsubmission_file_/notes.rar": b"Rar!"},
        GOOD,
    ),
    "of a mac": ({"ada_12_345_hw.zip": inner("a.ipynb", "__MACOSX/._a.ipynb")}, GOOD),
    "empty": ({"ada_12_345_hw.zip": inner("a.txt")}, f"{NOTHING}: hw.zip holds no notebook"),
    "cut off": (
        {"ada_12_345_hw.zip": inner("a.ipynb")[:-30]},
        f"{NOTHING}: hw.zip is no zip that can be opened",
    ),
    "rar": ({"ada_12_345_hw.rar": b"Rar!"}, f"{NOTHING}: hw.rar is no zip that can be opened"),
    "too many": (
        {"ada_12_345_hw.zip": inner(*MANY)},
        f"{NOTHING}: hw.zip holds 21 files, 21 notebooks",
    ),
    "zip in a zip": (
        {"ada_12_345_hw.zip": inner("hw.zip", data=inner("a.ipynb"))},
        f"{NOTHING}: hw.zip holds no notebook",
    ),
    "too large": (
        {"ada_12_345_hw.zip": bytes((32 << 20) + 1)},
        f"{NOTHING}: hw.zip is larger than 32 MiB",
    ),
    "leads out": ({"ada_12_345_hw.zip": inner("../a.ipynb")}, "its path leads out of the zip"),
    "a bomb": (
        {"ada_12_345_hw.zip": inner("a.ipynb", data=bytes(64 << 20))},
        "the file is larger than 32 MiB",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", HANDED_IN_ZIPS)
def test_a_zip_that_a_student_handed_in_is_graded_or_told(zipped, folder, kind):
    files, expected = HANDED_IN_ZIPS[kind]
    files = {**files, "bob_34_567_hw.ipynb": HOMEWORK}
    for source in (zipped(files.items()), folder(files.items())):
        assert found(source) == {"ada (12)": expected, "bob (34)": GOOD}


def test_an_export_in_a_folder_is_told(folder):
    source = folder([("export.zip", inner(*MANY))])
    with pytest.raises(ValueError, match=r"has none; export.zip holds 21 files, 21 notebooks"):
        find(source, ASSIGNMENT)


def test_an_archive_beside_a_notebook_is_told(folder):
    source = folder([("ada/hw.ipynb", OTHER), ("ada/hw.rar", b"Rar!"), ("ada/hw.pdf", b"")])
    assert found(source) == {"ada": {}}
    assert find(source, ASSIGNMENT).left_out == [
        "ada: hw.rar is no zip that can be opened; it was left out"
    ]


def test_an_archive_of_nobody_is_told(folder):
    files = {"ada.ipynb": HOMEWORK, "bob.zip": inner("hw.ipynb"), "eve.rar": b"Rar!"}
    source = folder(files.items())
    assert found(source) == {"ada": GOOD, "bob": GOOD}
    assert find(source, ASSIGNMENT).left_out == [
        "eve.rar is no zip that can be opened; it was left out"
    ]


def test_zips_of_students_may_be_read_again_and_again(zipped, monkeypatch):
    """An inner zip is unpacked once to list it and once for each notebook, and counts once."""
    data = inner("a.ipynb", "b.ipynb", "c.ipynb")
    monkeypatch.setattr(sources, "LARGEST_ARCHIVE", len(data) + 10)
    assert len(found(zipped([("ada_12_345_hw.zip", data)]))) == 3


def test_a_notebook_is_one_under_the_names_that_browsers_give_it(folder):
    source = folder((name, HOMEWORK) for name in ("ada.ipynb.txt", "bob.ipynb.json", "eve.json"))
    assert found(source) == {"ada": GOOD, "bob": GOOD}


def test_what_is_left_out_is_told(folder):
    names = ["ada/hw.ipynb", "ada/.ipynb_checkpoints/hw.ipynb", ".git/x.ipynb", "._b.ipynb"]
    source = folder([*((name, HOMEWORK) for name in names), ("ada/a.ipynb", OTHER)])
    assert sorted(find(source, ASSIGNMENT).left_out) == [
        "1 notebooks in .ipynb_checkpoints were left out, the first is "
        "ada/.ipynb_checkpoints/hw.ipynb",
        "1 notebooks in __MACOSX were left out, the first is ._b.ipynb",
        "1 notebooks in hidden folders were left out, the first is .git/x.ipynb",
        "ada: ada/a.ipynb was left out, it holds no answer of this assignment",
    ]


@given(st.lists(st.text(max_size=5), unique=True, max_size=8))
def test_no_two_names_become_one(names):
    taken = {}
    for name in names:
        taken[submissions._free(submissions._short(platforms.readable(name)), taken)] = name
    assert len(taken) == len(names)


@given(st.binary())
def test_every_name_can_be_seen_and_written(data):
    name = platforms.readable(data.decode("utf-8", "surrogateescape"))
    assert name.isprintable()
    name.encode()


def test_one_notebook_is_a_source(folder):
    source = folder([("ada.ipynb", HOMEWORK), ("bob.ipynb", HOMEWORK)])
    assert found(source / "ada.ipynb") == {"ada": GOOD}


@pytest.mark.parametrize("name", ["folder", "list.txt", "none.zip"])
def test_where_there_is_no_notebook_it_is_said(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("notes")
    (tmp_path / "list.txt").write_text("\n")
    zipfile.ZipFile(tmp_path / "none.zip", "w").close()
    with pytest.raises(
        ValueError, match=r"`submissions` must hold notebooks, got .*, which has no"
    ):
        find(tmp_path / name, ASSIGNMENT)


@pytest.mark.skipif(sys.platform == "win32", reason="some names are no file names there")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_students_are_found_in_a_folder(folder, layout):
    names, expected = LAYOUTS[layout]
    assert found(folder((name, HOMEWORK) for name in names)) == expected


def test_a_notebook_without_solutions_gives_way_to_one_with(folder):
    source = folder([("ada/hw.ipynb", HOMEWORK), ("ada/a.ipynb", OTHER), ("bob/a.ipynb", OTHER)])
    assert found(source) == {"ada": GOOD, "bob": {}}


def test_a_list_names_files_from_where_it_lies(folder):
    source = folder([("repos/ada/hw.ipynb", HOMEWORK), ("repos/bob/hw.ipynb", HOMEWORK)])
    listed = source / "list.txt"
    listed.write_text("repos/ada/hw.ipynb\n\nrepos/bob/hw.ipynb\nrepos/eve/hw.ipynb\n")
    assert found(listed) == {"ada": GOOD, "bob": GOOD, "eve": "the file does not exist"}


def test_a_list_of_one(folder):
    source = folder([("subs/ada.ipynb", HOMEWORK)])
    (source / "one.txt").write_text(str(source / "subs" / "ada.ipynb"))
    assert found(source / "one.txt") == {"ada": GOOD}


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_and_devices_are_not_followed(folder, tmp_path):
    (tmp_path / "reference.ipynb").write_bytes(HOMEWORK)
    source = folder([("ada/x.txt", b"")])
    (source / "ada" / "hw.ipynb").symlink_to(tmp_path / "reference.ipynb")
    (source / "bob").symlink_to(tmp_path)
    (source / "eve.ipynb").mkdir()
    os.mkfifo(source / "joe.ipynb")
    refused = "the file is a link or a device, which is not followed"
    assert found(source) == {"ada": refused, "joe": refused}
    (source / "list").write_text("ada/hw.ipynb\nbob/reference.ipynb\n")
    assert found(source / "list") == {"ada": refused, "bob": refused}


@pytest.mark.parametrize(
    "name", ["../../ada.ipynb", "/etc/ada.ipynb", "a/../ada.ipynb", "..\\ada.ipynb"]
)
def test_a_path_that_leads_out_of_the_zip_is_refused(zipped, tmp_path, name):
    source = zipped([(name, HOMEWORK), ("bob.ipynb", HOMEWORK)])
    before = sorted(tmp_path.parent.rglob("*.ipynb"))
    results = found(source)
    assert results.pop("bob") == GOOD
    assert list(results.values()) == ["its path leads out of the zip"]
    assert sorted(tmp_path.parent.rglob("*.ipynb")) == before


def test_a_bomb_is_refused_and_the_others_are_read(zipped):
    source = zipped([("ada.ipynb", bytes(64 << 20)), ("bob.ipynb", HOMEWORK)])
    assert source.stat().st_size < 100_000
    assert found(source) == {"ada": "the file is larger than 32 MiB", "bob": GOOD}


def test_an_archive_that_unpacks_to_too_much_is_refused(zipped, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_ARCHIVE", 40 << 20)
    source = zipped([(f"{name}.ipynb", bytes(30 << 20)) for name in ("ada", "bob")])
    with pytest.raises(ValueError, match="`submissions` unpacks to more than 0 GiB"):
        find(source, ASSIGNMENT)


def test_a_damaged_entry_costs_itself(zipped):
    source = zipped([("ada.ipynb", HOMEWORK), ("bob.ipynb", HOMEWORK)], zipfile.ZIP_STORED)
    data = bytearray(source.read_bytes())
    data[data.index(b"a = 1")] ^= 1
    source.write_bytes(data)
    assert found(source) == {
        "ada": "the file can not be unpacked: Bad CRC-32 for file 'ada.ipynb'",
        "bob": GOOD,
    }


def test_an_encrypted_entry_costs_itself(zipped):
    source = zipped([("ada.ipynb", HOMEWORK)])
    data = bytearray(source.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", data, data.index(signature) + offset, 1)
    source.write_bytes(data)
    assert found(source)["ada"].startswith("the file can not be unpacked: ")


@pytest.mark.parametrize("name", ["missing", "missing.zip", "x.tar.gz"])
def test_what_is_no_source_says_what_one_is(tmp_path, name):
    (tmp_path / "x.tar.gz").write_bytes(b"\x1f\x8b\0\0")
    with pytest.raises(ValueError, match=r"`submissions` must be a folder, a zip, a notebook or a"):
        find(tmp_path / name, ASSIGNMENT)


def test_an_archive_that_was_cut_off_says_so(zipped):
    source = zipped([("ada.ipynb", HOMEWORK)])
    source.write_bytes(source.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"`submissions` must be a whole zip, got .*export.zip"):
        find(source, ASSIGNMENT)
