import sys
from pathlib import Path

import pytest

from d2lcompute.notebooks import visible

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there are no boxes but on Linux")


@pytest.mark.parametrize("path", [sys.executable, visible.__file__, "/usr/bin/env"])
def test_python_the_package_and_the_system_are_seen(path):
    if not Path(path).exists():
        pytest.skip(f"no {path} on this system")
    assert not visible.is_hidden(path)


@pytest.mark.parametrize("path", [Path.home(), Path.home() / ".ssh", "/etc/passwd", __file__])
def test_people_and_their_work_are_not(path):
    assert visible.is_hidden(path)


def test_a_link_into_what_is_seen_hides_nothing(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(visible.__file__)
    assert visible.is_hidden(tmp_path)
    assert not visible.is_hidden(link)


def test_nothing_is_shown_twice():
    inside = list(visible.shown())
    assert not [(a, b) for a in inside for b in inside if a != b and Path(a).is_relative_to(b)]
