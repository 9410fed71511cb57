"""The page of findings is true: each kind has a net that has it alone, and a sound neighbour."""

import re
from pathlib import Path

import pytest

import d2lcompute as d2c

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
BEGINNING = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
EXAMPLES = dict(re.findall(r"\n### (.+?)\n.*?```python\n(.*?)```", PAGE, re.DOTALL))


def reports(code):
    """What each `d2c.diagnose(...)` that begins a line gives, in order."""
    found = []
    scope = {"keep": found.append}
    exec(BEGINNING, scope)
    exec(re.sub(r"^(d2c\.diagnose\(.*\))$", r"keep(\1)", code, flags=re.MULTILINE), scope)
    return found


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_kind_is_found_by_itself_and_its_sound_neighbour_has_no_finding(kind):
    has, sound = reports(EXAMPLES[kind])
    assert [finding.kind for finding in has.findings] == [kind]
    assert sound.findings == ()


def test_the_page_has_every_kind_that_there_is():
    folder = Path(d2c.__file__).parent / "seeing" / "diagnose"
    code = "\n".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    assert set(re.findall(r'\bFinding\(\s*(?:mark\()?"(.+?)"', code)) == set(EXAMPLES)
