import pytest

from d2lcompute.notebooks import chapter


def test_find_gives_every_notebook_in_the_chapters_order():
    found = [(path.parent.name, path.name) for path in chapter.find()]
    assert found[:2] == [("en", "1_blocks.ipynb"), ("zh", "1_blocks.ipynb")]
    assert [name for _, name in found] == sorted(name for _, name in found)


@pytest.mark.parametrize("section", ["blocks", "1_blocks"])
def test_find_knows_a_section_by_its_name_and_by_its_files_name(section):
    assert [path.stem for path in chapter.find([section], ["zh"])] == ["1_blocks"]


def test_find_refuses_an_unknown_section_and_lists_the_known():
    with pytest.raises(ValueError, match=r"`section` must be one of blocks.*, got 'block'"):
        chapter.find(["block"])


def test_find_refuses_an_unknown_language():
    with pytest.raises(ValueError, match=r"`lang` must be one of en, zh, got 'de'"):
        chapter.find(languages=["de"])


def test_copy_out_keeps_what_a_student_changed(tmp_path):
    copied, kept = chapter.copy_out(tmp_path / "new", ["en"])
    assert kept == []
    assert [path.read_bytes() for path in copied] == [
        path.read_bytes() for path in chapter.find(languages=["en"])
    ]
    copied[0].write_text("my work", encoding="utf-8")
    again, kept = chapter.copy_out(tmp_path / "new", ["en"])
    assert again == []
    assert kept == copied
    assert copied[0].read_text(encoding="utf-8") == "my work"
