"""The README against the project: its tour runs, its commands and links exist."""

import doctest
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tour_shows_what_it_says():
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testfile(str(ROOT / "README.md"), module_relative=False, optionflags=flags)
    assert result.attempted >= 8
    assert result.failed == 0


def test_two_commands_do_everything_and_ci_reads_them_from_here():
    commands = re.findall(r"^pip install -c constraints.txt .*", README, re.M)
    assert commands == [
        'pip install -c constraints.txt ".[notebooks]" && d2lcompute run',
        'pip install -c constraints.txt -e ".[test]" && pytest -n auto --dist loadfile',
    ]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "grep '^pip install -c constraints.txt' README.md" in script


def test_every_link_into_the_repository_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_every_section_is_in_the_table():
    for notebook in (ROOT / "chapters").glob("[ez][nh]/*.ipynb"):
        assert f"(chapters/{notebook.parent.name}/{notebook.name})" in README
