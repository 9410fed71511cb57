"""Who handed a file in, and when, by what a learning platform makes of its name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

# What a platform writes in front; what its sender called a file stands behind, and may be alike.
MOODLE = re.compile(r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_", re.DOTALL)
CANVAS = re.compile(r"(?P<name>[^_]+)(?P<late>_LATE)?_(?P<number>\d{2,})_\d{2,}_(?=.)", re.DOTALL)
BLACKBOARD = re.compile(
    r"(?P<key>.+?_(?P<name>[^_]+?))_attempt_(?P<time>\d{4}(?:-\d\d){5})"
    r"(?:_(?=.)|(?=(?:\.txt)?\Z))",
    re.DOTALL,
)
BRIGHTSPACE = re.compile(
    r"(?P<number>\d+)-\d+ ?- (?P<name>.+?) ?- (?P<time>[^-]*(?<!\d)\d{4}(?!\d)[^-]*?)"
    r"(?: - (?=.)|\Z)",
    re.DOTALL,
)
# As Moodle's essay downloads of a quiz are called; the number is the attempt's, not the student's.
QUIZ = re.compile(r"(?P<name>.+)_(?P<attempt>\d+)_(?P<time>\d{8}_\d{6})\Z", re.DOTALL)
OF_FILES, OF_FOLDERS = (MOODLE, CANVAS, BLACKBOARD, BRIGHTSPACE), (MOODLE, BRIGHTSPACE, QUIZ)
NOTEBOOK = re.compile(r"\.ipynb(?:\.(?:txt|json))?$", re.IGNORECASE)  # as browsers save it
END = re.compile(rf"{NOTEBOOK.pattern}|\.zip$", re.IGNORECASE)
# As Blackboard and Brightspace write them in names, and Moodle, in two languages, in its tables.
CLOCKS = ("%I:%M %p", "%H:%M")
DATES = ("%d %B %Y", "%d %b %Y", "%B %d %Y", "%b %d %Y", "%Y年%m月%d日")
TIMES = (
    "%Y-%m-%d-%H-%M-%S",
    "%Y%m%d_%H%M%S",
    *(f"{date} {clock}" for date in DATES for clock in CLOCKS),
)
WEEKDAYS = re.compile(
    r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b|(?:星期|周)[一二三四五六日天]"
)


@dataclass(frozen=True)
class Sender:
    """Whose file it is: a key that no other student has, what to call them, the platform's number.

    `submitted` is the time in ISO's form, empty where the platform does not say it in the name;
    `late` is whether it says that it was late.
    """

    key: str
    name: str
    number: str = ""
    submitted: str = ""
    late: bool = False


NOBODY = Sender("", "")


def is_of_a_platform(path: PurePosixPath) -> bool:
    """Say whether a platform named the file, or a folder that it lies in.

    >>> from pathlib import PurePosixPath
    >>> from d2lcompute.grading.platforms import is_of_a_platform
    >>> is_of_a_platform(PurePosixPath("Ada Byron_345_assignsubmission_file_/hw.ipynb"))
    True
    """
    return _match_in(path, deep=True) is not None


def find_sender(path: PurePosixPath, deep: bool = True) -> Sender | None:
    """Return who handed in a file; None for one that lies beside the submissions.

    A platform's folders may lie `deep` in others only where all that was handed in lies in such:
    elsewhere students could name a folder so as to hand in for another.

    >>> from pathlib import PurePosixPath
    >>> from d2lcompute.grading.platforms import find_sender
    >>> find_sender(PurePosixPath("HW_ada_attempt_2026-11-20-23-58-01_hw.ipynb"))
    Sender(key='HW_ada', name='ada', number='', submitted='2026-11-20T23:58:01', late=False)
    """
    label, alone = path.parts[0], _is_alone(path)
    match = _match_in(path, deep)
    if match is None:
        if len(path.parts) == 1 and not NOTEBOOK.search(label):
            return None
        label = (END.sub("", label) if alone else label) or label
        return Sender(label, readable(label))
    found = match.groupdict()
    number, late = found.get("number") or "", bool(found.get("late"))
    attempt = [f"attempt {found['attempt']}"] if found.get("attempt") else []
    told = ", ".join([number] * bool(number) + attempt + ["late"] * late)
    name = f"{found['name']} ({told})" if told else found["name"]
    key = found.get("key") or name  # in Blackboard's names the user's own may hold underscores
    return Sender(key, readable(name), number, read_time(found.get("time") or ""), late)


def sent_as(path: PurePosixPath) -> str:
    """Return what its sender called a file.

    >>> from pathlib import PurePosixPath
    >>> from d2lcompute.grading.platforms import sent_as
    >>> sent_as(PurePosixPath("lovelaceada_LATE_77_1234_helper.py"))
    'helper.py'
    """
    match = _match(path.name, OF_FILES) if len(path.parts) == 1 else None
    if match is None or match.re is MOODLE:
        return path.name
    rest = path.name[match.end() :]
    return path.name if rest in ("", ".txt") else rest


def _is_alone(path: PurePosixPath) -> bool:
    """Say whether a file, or the zip that it is in, lies at the top, as it was handed in."""
    return len(path.parts) == 1 or path.parts[0].lower().endswith(".zip")


def _match_in(path: PurePosixPath, deep: bool) -> re.Match[str] | None:
    """Return what a platform wrote into a path, the outermost first."""
    folders = path.parts[:-1] if deep else path.parts[:-1][:1]
    matches = [_match(path.parts[0], OF_FILES)] if _is_alone(path) else []
    matches += [_match(folder, OF_FOLDERS) for folder in folders]
    return next(filter(None, matches), None)


def _match(text: str, patterns: Iterable[re.Pattern[str]]) -> re.Match[str] | None:
    """Return the match that ends first: nothing in it was chosen by who sent the file."""
    found = filter(None, (pattern.match(text) for pattern in patterns))
    return min(found, key=re.Match.end, default=None)


def read_time(text: str) -> str:
    """Return a time as ISO writes it, with its zone if it has one; empty for no time.

    >>> from d2lcompute.grading.platforms import read_time
    >>> [read_time(text) for text in ("Friday, 20 November 2026, 11:58 PM", "Nov 20, 2026 1158 PM")]
    ['2026-11-20T23:58:00', '2026-11-20T23:58:00']
    """
    plain = " ".join(WEEKDAYS.sub(" ", text).replace(",", " ").split())
    plain = re.sub(r" ([+-]\d\d:?\d\d|Z|UTC)$", r"\1", plain).replace("UTC", "+00:00")
    plain = re.sub(r"( \d{4}) (\d{1,2})(\d\d)(?= [AP]M$|$)", r"\1 \2:\3", plain)
    for form in TIMES:
        try:
            return datetime.strptime(plain, form).isoformat()
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(plain.replace("Z", "+00:00")).isoformat()
    except ValueError:
        return ""


def readable(name: str) -> str:
    """Return a name of a file with nothing in it that cannot be seen.

    >>> from d2lcompute.grading.platforms import readable
    >>> readable("张三".encode("gbk").decode("utf-8", "surrogateescape")), readable("╒┼╚²")
    ('张三', '张三')

    Bytes that are no UTF-8 are read as Chinese if they can be, and shown as numbers else; so is
    Chinese that a program took for western letters.
    """
    data = name.encode("utf-8", "surrogateescape")
    try:
        text = _unscrambled(data.decode())
    except UnicodeDecodeError:
        text = data.decode("gb18030", "replace")
        if not _is_chinese(text):
            text = data.decode("utf-8", "backslashreplace")
    shown = (char if _is_visible(char) else ascii(char)[1:-1] for char in text)
    return " ".join("".join(shown).split())


def _unscrambled(text: str) -> str:
    """Return the Chinese that was read with a western table: boxes from GBK, letters from UTF-8."""
    has_boxes = any(unicodedata.category(char) == "So" for char in text)
    ways = [("cp1252", "utf-8"), ("latin-1", "utf-8")]
    if has_boxes:
        ways += [("cp437", "gb2312"), ("cp437", "utf-8")]
    for taken, meant in ways:
        try:
            found = text.encode(taken).decode(meant)
        except UnicodeError:
            continue
        if found != text and _is_chinese(found):
            return found
    return text


def _is_chinese(text: str) -> bool:
    foreign = [char for char in text if not char.isascii()]
    kinds = ("CJK UNIFIED", "FULLWIDTH", "IDEOGRAPHIC", "LEFT CORNER", "RIGHT CORNER", "MIDDLE DOT")
    return all(unicodedata.name(char, "").startswith(kinds) for char in foreign)


def _is_visible(char: str) -> bool:
    return char == " " or unicodedata.category(char)[0] not in "CZ"
