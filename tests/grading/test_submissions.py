import os
import struct
import sys
import zipfile
from pathlib import Path

import pytest
from handins import code, notebook
from hypothesis import given
from hypothesis import strategies as st

from d2lcompute.grading import submissions
from d2lcompute.grading.submissions import LARGEST, Submission, find, read


def test_only_the_source_of_cells_with_an_id_is_taken():
    data = notebook(
        {"cell_type": "markdown", "metadata": {"d2lcompute": {"id": "prose"}}, "source": "# Hi"},
        code("import os"),
        code(["def f(x):\n", "    return x"], "f", tags=["solution", "nbval-skip"]),
        code("g = 1", "g"),
    )
    assert read("ada", data) == Submission("ada", {"f": "def f(x):\n    return x", "g": "g = 1"})


def test_a_solution_that_was_split_is_put_together():
    data = notebook(code("", "f"), code("a = 1", "f"), code("other"), code("b = a", "f"))
    assert read("ada", data).solutions == {"f": "a = 1\nb = a"}


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
        b'{"worksheets": []}',
        b"[" * 200_000,
        b"1" * 10_000,
        notebook(code(5, "x")),
        notebook(code([5], "x")),
    ],
    ids=lambda data: data[:40].decode("latin-1"),
)  # fmt: skip
def test_what_is_no_notebook_is_a_fault(data):
    found = read("ada", data)
    assert found.fault.startswith("the file is not a notebook: ")
    assert found.solutions == {}


@given(st.binary())
def test_no_file_raises(data):
    assert read("ada", data).name == "ada"


def test_a_file_that_is_too_large_is_not_parsed():
    assert read("ada", b"[" * (LARGEST + 1)).fault == "the file is larger than 32 MiB"


@pytest.mark.parametrize("identity", [3, None, ["x"], {"x": 1}, ""])
def test_an_id_that_is_no_text_is_none(identity):
    assert read("ada", notebook(code("a", identity))).solutions == {}


def test_half_a_character_does_not_get_through():
    data = notebook(code("x = 1", "x")).replace(b"x = 1", b"'\\ud800'")
    assert read("ada", data).solutions == {"x": "'?'"}
    assert read("ada", data).digest


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


def found(source, wanted=("a",)):
    return {each.name: each.fault or dict(each.solutions) for each in find(Path(source), wanted)}


GOOD = {"a": "a = 1"}
NOTHING = "no notebook was handed in"
LAYOUTS = {
    "files": (["ada.ipynb", "bob.ipynb", "README.md"], {"ada": GOOD, "bob": GOOD}),
    "folders": (["ada/x/hw.ipynb", "bob/hw.ipynb"], {"ada": GOOD, "bob": GOOD}),
    "moodle folders": (
        ["Ada Lovelace_31_assignsubmission_file_/hw.ipynb", "Bob_7_assignsubmission_file/h.pdf"],
        {"Ada Lovelace (31)": GOOD, "Bob (7)": NOTHING},
    ),
    "moodle files": (
        ["Ada Lovelace_31_assignsubmission_file_hw.ipynb", "Bob_7_assignsubmission_file_h.pdf"],
        {"Ada Lovelace (31)": GOOD, "Bob (7)": NOTHING},
    ),
    "canvas": (
        ["lovelaceada_1234_567890_hw.ipynb", "roebob_LATE_77_567_hw-1.ipynb", "eve_12_34_x.txt"],
        {"eve (12)": NOTHING, "lovelaceada (1234)": GOOD, "roebob (77, late)": GOOD},
    ),
    "rubbish": (
        ["ada/hw.ipynb", "ada/.ipynb_checkpoints/hw.ipynb", "__MACOSX/ada/hw.ipynb", "._b.ipynb"],
        {"ada": GOOD},
    ),
    "two of one student": (
        ["ada/hw.ipynb", "ada/hw2.ipynb"],
        {"ada: ada/hw.ipynb": GOOD, "ada: ada/hw2.ipynb": GOOD},
    ),
    "names that lie": (
        ["\x1b[2Jada\n\tb\u202e.ipynb"], {"ada b": GOOD},
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_students_are_found_in_a_zip(zipped, layout):
    names, expected = LAYOUTS[layout]
    assert found(zipped((name, HOMEWORK) for name in names)) == expected


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


def test_a_list_of_one_and_a_list_of_none(folder):
    source = folder([("subs/ada.ipynb", HOMEWORK)])
    (source / "one.txt").write_text(str(source / "subs" / "ada.ipynb"))
    (source / "none.txt").write_text("\n")
    assert found(source / "one.txt") == {"ada": GOOD}
    assert found(source / "none.txt") == {}


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
    monkeypatch.setattr(submissions, "LARGEST_ARCHIVE", 40 << 20)
    source = zipped([(f"{name}.ipynb", bytes(30 << 20)) for name in ("ada", "bob")])
    with pytest.raises(ValueError, match="`submissions` unpacks to more than 0 GiB"):
        find(source, ["a"])


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


@pytest.mark.parametrize("name", ["missing", "missing.zip"])
def test_what_is_no_source_says_what_one_is(tmp_path, name):
    with pytest.raises(ValueError, match=r"`submissions` must be a folder, a zip or a list, got "):
        find(tmp_path / name, ["a"])


def test_an_archive_that_was_cut_off_says_so(zipped):
    source = zipped([("ada.ipynb", HOMEWORK)])
    source.write_bytes(source.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"`submissions` must be a whole zip, got .*export.zip"):
        find(source, ["a"])
