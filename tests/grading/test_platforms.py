from pathlib import PurePosixPath

import pytest

from d2lcompute.grading.platforms import find_sender, read_time, readable

LATE = "2026-11-20T23:58:00"
SENT = {
    "Ada Byron_345_assignsubmission_file_/hw.ipynb": ("Ada Byron (345)", "345", "", False),
    "Ada Byron_345_assignsubmission_file_hw.ipynb": ("Ada Byron (345)", "345", "", False),
    "lovelaceada_77_123456_hw.ipynb": ("lovelaceada (77)", "77", "", False),
    "lovelaceada_LATE_77_123456_hw-1.ipynb": ("lovelaceada (77, late)", "77", "", True),
    "HW 1_ada01_attempt_2026-11-20-23-58-00_hw_1.ipynb": ("ada01", "", LATE, False),
    "12-67 - Ada Byron - Nov 20, 2026 1158 PM/hw.ipynb": ("Ada Byron (12)", "12", LATE, False),
    "12-67 - Ada Byron - 20 November, 2026 11:58 PM/a.ipynb": ("Ada Byron (12)", "12", LATE, False),
    "Exam 1/12-67 - Ada Byron - Nov 20, 2026 1158 PM/hw.ipynb": (
        "Ada Byron (12)", "12", LATE, False,
    ),
    "12-67 - N0123456 - Ada Byron- 20 November, 2026 1158 PM - hw.ipynb": (
        "N0123456 - Ada Byron (12)", "12", LATE, False,
    ),
    "Ada_Byron_31_20261120_235800/Question_1_-_nets/attachments/hw.ipynb": (
        "Ada_Byron (attempt 31)", "", LATE, False,
    ),
    "Question_1_-_nets/Ada_Byron_31_20261120_235800/attachments/hw.ipynb": (
        "Ada_Byron (attempt 31)", "", LATE, False,
    ),
    "Group A-Ada Byron_345_assignsubmission_file/hw.ipynb": (
        "Group A-Ada Byron (345)", "345", "", False,
    ),
    "lovelaceada_77_123456_hw.zip/work/hw.ipynb": ("lovelaceada (77)", "77", "", False),
    "HW 1_ada01_attempt_2026-11-20-23-58-00_hw.zip/hw.ipynb": ("ada01", "", LATE, False),
    "ada.zip/hw.ipynb": ("ada", "", "", False),
    "ada.ipynb.txt": ("ada", "", "", False),
    "ada.ipynb": ("ada", "", "", False),
    "ada/hw.ipynb": ("ada", "", "", False),
}  # fmt: skip


@pytest.mark.parametrize("path", SENT)
def test_each_platform_says_who_and_when_in_its_way(path):
    sender = find_sender(PurePosixPath(path))
    assert (sender.name, sender.number, sender.submitted, sender.late) == SENT[path]


FRONTS = {
    "Moodle": "Eve Adams_14_assignsubmission_file_",
    "Canvas": "adamseve_LATE_14_123456_",
    "Blackboard": "Homework 1_eve_a_attempt_2026-11-25-10-00-00_",
    "Brightspace": "14-67 - Eve Adams - Nov 25, 2026 1000 AM - ",
}
AS_IF_OF_ADA = [
    "Ada Byron_11_assignsubmission_file_hw.ipynb",
    "byronada_11_123456_hw.ipynb",
    "x_ada_attempt_2026-11-20-10-00-00_hw.ipynb",
    "x_ada_attempt_2026-11-20-10-00-00.ipynb",
    "11-67 - Ada Byron - Nov 20, 2026 1000 AM - hw.ipynb",
]


@pytest.mark.parametrize("before", ["", "x_", "x - ", "\n_", "\n - "], ids=ascii)
@pytest.mark.parametrize("called", AS_IF_OF_ADA)
@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_nobody_hands_in_for_another_by_the_name_of_a_file(front, called, before):
    expected = find_sender(PurePosixPath(f"{front}hw.ipynb"))
    assert "11" not in (expected.number, expected.name)
    assert find_sender(PurePosixPath(f"{front}{before}{called}")) == expected


def test_a_receipt_of_blackboard_is_its_student_s_and_other_files_are_nobody_s():
    receipt = PurePosixPath("Homework_ada01_attempt_2026-11-20-23-58-01.txt")
    assert find_sender(receipt).key == "Homework_ada01"
    assert find_sender(PurePosixPath("index.html")) is None


@pytest.mark.parametrize("name", ["张三", "李四 作业1", "欧阳·娜娜", "王五（重修）"])
@pytest.mark.parametrize(
    "scramble",
    [
        lambda name: name,
        lambda name: name.encode("gbk").decode("utf-8", "surrogateescape"),
        lambda name: name.encode().decode("latin-1"),
    ],
)
def test_chinese_names_are_read_whatever_happened_to_them(name, scramble):
    assert readable(scramble(name)) == name


@pytest.mark.parametrize("name", ["张三", "李四", "王五"])
def test_names_that_a_windows_zip_turned_into_boxes_are_read(name):
    assert readable(name.encode("gbk").decode("cp437")) == name


@pytest.mark.parametrize(
    "name",
    ["Noëlle Müller", "Zoë", "José Ñandú", "Søren Åse", "Łukasz", "Ελένη", "Анна", "山田 太郎"],
)
def test_other_names_stay_what_they_are(name):
    assert readable(name) == name


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("Friday, 20 November 2026, 11:58 PM", "2026-11-20T23:58:00"),
        ("Friday, 20 November 2026, 1:00 AM", "2026-11-20T01:00:00"),
        ("Nov 20, 2026 105 AM", "2026-11-20T01:05:00"),
        ("20 November, 2026 2358", "2026-11-20T23:58:00"),
        ("20 November 2026, 23:58", "2026-11-20T23:58:00"),
        ("20 November 2026, 0:05", "2026-11-20T00:05:00"),
        ("2026年11月20日 星期五 23:58", "2026-11-20T23:58:00"),
        ("2026-11-20 23:58", "2026-11-20T23:58:00"),
        ("2026-11-20 23:58 +08:00", "2026-11-20T23:58:00+08:00"),
        ("2026-11-20 23:58:00 UTC", "2026-11-20T23:58:00+00:00"),
        ("2026-11-20T15:58:00Z", "2026-11-20T15:58:00+00:00"),
        ("-", ""),
        ("", ""),
    ],
)
def test_times_are_read_as_platforms_write_them(text, time):
    assert read_time(text) == time


def test_two_users_of_blackboard_whose_names_end_alike_stay_two():
    names = [
        f"Homework_1_{user}_attempt_2026-11-20-23-58-01_hw.ipynb" for user in ("ada_l", "bob_l")
    ]
    first, second = (find_sender(PurePosixPath(name)) for name in names)
    assert first.key != second.key
