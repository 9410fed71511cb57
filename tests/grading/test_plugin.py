import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ATTACKS = Path(__file__).parents[1] / "attacks"


@pytest.fixture
def run(tmp_path):
    """Run pytest as a judge over an honest and a dishonest submission."""
    for name in ("honest", "edited_outputs"):
        shutil.copy(ATTACKS / f"{name}.ipynb", tmp_path)
    (tmp_path / "torn.ipynb").write_text("{", encoding="utf-8")

    def start(*arguments, reference=ATTACKS / "reference.md"):
        plugin = ["-p", "d2lcompute.grading.plugin", f"--d2l-reference={reference}"]
        command = [sys.executable, "-m", "pytest", *plugin, "--allow-unisolated", "--nbval"]
        command += ["-p", "no:cacheprovider", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    return start


def test_every_check_is_an_item_of_its_submission(run, tmp_path):
    finished = run("-rA", "--junitxml", "junit.xml")
    assert finished.returncode == 1
    assert "isolation: " in finished.stdout
    for line in (
        "PASSED honest.ipynb::twice-hidden",
        "PASSED edited_outputs.ipynb::flip-shown",
        "FAILED edited_outputs.ipynb::twice-shown - the answer must be a tensor: got None",
        "FAILED edited_outputs.ipynb::twice-hidden - not passed",
        "FAILED torn.ipynb::flip-shown - the file is not a notebook: ",
        "6 failed, 6 passed",
    ):
        assert line in finished.stdout
    cases = ElementTree.parse(tmp_path / "junit.xml").iter("testcase")
    points = {case.get("name"): case.find(".//property[@name='points']") for case in cases}
    assert points["flip-hidden"].get("value") == "8"


def test_one_check_can_be_chosen(run):
    finished = run("-k", "flip-hidden and not torn", "--collect-only", "-q")
    assert finished.returncode == 0
    assert finished.stdout.splitlines()[:2] == [
        "edited_outputs.ipynb::flip-hidden",
        "honest.ipynb::flip-hidden",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "can not be read as a notebook: "), ("# Nothing\n", "no cell has the tag check")],
)
def test_a_reference_that_is_none_is_wrong_use(run, tmp_path, text, message):
    reference = tmp_path / "reference.md"
    if text is not None:
        reference.write_text(text, encoding="utf-8")
    finished = run(reference=reference)
    assert finished.returncode == pytest.ExitCode.USAGE_ERROR
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr
