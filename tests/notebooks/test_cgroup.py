import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from boxes import SMALL, boxed_kernel, isolation_on, printed
from waiting import PATIENCE

from d2lcompute.notebooks import cgroup, kernel
from d2lcompute.notebooks.cell import KernelDiedError, MemoryLimitError
from d2lcompute.notebooks.cgroup import Group, find_place, group_of

MB = 1 << 20
needs_groups = pytest.mark.skipif(
    find_place() is None, reason="no control group with a limit of memory can be made here"
)
LEVELS = pytest.mark.parametrize("level", ["namespaces", "bubblewrap", "landlock", "limits"])


def groups():
    """The groups of this process."""
    return set(find_place().folder.glob(f"{cgroup.PREFIX}{os.getpid()}-*"))


@pytest.fixture
def limited_to(monkeypatch):
    """Give groups less than what is counted, so that they speak first."""

    def limit(memory):
        def make(process, _, processes):
            return group_of(process, memory, processes)

        monkeypatch.setattr(kernel, "group_of", make)

    return limit


@needs_groups
@LEVELS
def test_a_box_has_a_group_which_is_gone_when_it_is(level):
    before = groups()
    with boxed_kernel(level) as boxed:
        (group,) = groups() - before
        printed(boxed.run("import os; os.fork() or os._exit(0)"))
        memory = (group / ("memory.max" if (group / "memory.max").exists() else
                           "memory.limit_in_bytes")).read_text()  # fmt: skip
        assert int(memory) == SMALL.memory_mb * MB * 5 // 4
        assert boxed._process[1] in map(int, (group / "cgroup.procs").read_text().split())
    assert groups() == before


@needs_groups
@LEVELS
def test_what_the_group_ends_is_told_as_too_much_memory(level, limited_to):
    limited_to(300 * MB)
    with boxed_kernel(level) as boxed:
        assert printed(boxed.run("x = bytearray(b'x') * 50_000_000; len(x)")) == "50000000"
        with pytest.raises(MemoryLimitError, match="more than 1200 MB"):
            boxed.run("x = bytearray(b'x') * 800_000_000", timeout=PATIENCE)


@needs_groups
def test_a_kernel_that_kills_itself_in_a_group_used_no_memory():
    with (
        boxed_kernel("namespaces") as boxed,
        pytest.raises(KernelDiedError, match="SIGKILL") as told,
    ):
        boxed.run("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert not isinstance(told.value, MemoryLimitError)


@needs_groups
def test_what_boxes_share_with_the_warm_process_is_not_charged_to_them():
    isolation_on("namespaces")
    before = groups()
    with boxed_kernel("namespaces") as boxed:
        (group,) = groups() - before
        resident = printed(boxed.run(
            "import torch; int(next(line for line in open('/proc/self/status') "
            "if line.startswith('VmRSS')).split()[1])"
        ))  # fmt: skip
        charged = group / "memory.current"
        charged = charged if charged.exists() else group / "memory.usage_in_bytes"
        assert int(charged.read_text()) < int(resident) * 1024 / 2


@needs_groups
def test_groups_of_a_grader_that_was_killed_are_removed_by_the_next_one():
    script = """
    import os, subprocess
    from d2lcompute.notebooks.cgroup import group_of
    sleeper = subprocess.Popen(["sleep", "1000"])
    print(group_of(sleeper.pid, 1 << 30, 16).folder, flush=True)
    sleeper.kill()
    sleeper.wait()
    os.kill(os.getpid(), 9)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert left.is_dir()
    with boxed_kernel("namespaces") as boxed:
        find_place.cache_clear()
        find_place()
        assert not left.exists()
        assert groups(), "the group of a kernel that runs stays"
        assert printed(boxed.run("1")) == "1"


@needs_groups
def test_the_name_of_a_group_tells_nothing_of_those_before():
    names = set()
    for _ in range(2):
        with boxed_kernel("namespaces") as boxed:
            named = printed(boxed.run("print(open('/proc/self/cgroup').read())"))
            names |= {
                line.rpartition("-")[2] for line in named.splitlines() if "d2lcompute" in line
            }
    assert {len(name) for name in names} == {16}
    assert len(names) == 2


@needs_groups
def test_what_is_left_in_a_group_ends_with_it():
    with subprocess.Popen(["sleep", "1000"]) as sleeper:
        group_of(sleeper.pid, 1 << 30, 16).remove()
    assert sleeper.returncode == -9


def test_without_a_group_a_kernel_runs_all_the_same_and_the_report_says_so(monkeypatch):
    level = isolation_on("namespaces")
    monkeypatch.setattr(cgroup, "find_place", lambda: None)
    monkeypatch.setattr("d2lcompute.notebooks.isolation.find_place", lambda: None)
    assert level.name == "namespaces, memory counted"
    with boxed_kernel("namespaces") as boxed:
        assert printed(boxed.run("1 + 1")) == "2"
    place = Group(Path("/no/such/folder"), 2)
    monkeypatch.setattr(cgroup, "find_place", lambda: place)
    monkeypatch.setattr("d2lcompute.notebooks.isolation.find_place", lambda: place)
    assert level.name == "namespaces, memory by cgroup v2"
    with boxed_kernel("namespaces") as boxed:
        assert printed(boxed.run("1 + 1")) == "2"


V1 = "31 23 0:28 / {top}/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
V2 = "42 23 0:39 {root} {top}/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
OTHER = "22 1 8:1 / / rw - ext4 /dev/root rw\n33 23 0:29 / {top}/cpu rw - cgroup cgroup rw,cpu\n"
# /proc/self/cgroup, mounts, the groups that hand memory on, and where a group may be made
PLACES = {
    "the first version": ("4:memory:/a/b\n0::/\n", OTHER + V1, [], ["memory/a/b v1"]),
    "the first version with others": ("4:cpu,memory:/a\n", V1, [], ["memory/a v1"]),
    "both, and memory in the first": ("4:memory:/a\n0::/a\n", V1 + V2, [], ["memory/a v1"]),
    "the second, handed on by the one around": (
        "0::/user.slice/x.scope\n", OTHER + V2, ["user.slice"], ["unified/user.slice v2"],
    ),
    "the second, handed on by nobody": ("0::/user.slice/x.scope\n", V2, [], []),
    "a container that sees a part": (
        "0::/docker/x/y\n", V2.replace("{root}", "/docker/x"), ["y"], ["unified/y v2"],
    ),
    "a container that sees another part": (
        "0::/docker/xy\n", V2.replace("{root}", "/docker/x"), ["y"], [],
    ),
    "no memory at all": ("3:cpu:/\n", OTHER, [], []),
    "no cgroups": ("", "", [], []),
}  # fmt: skip


@pytest.mark.parametrize("case", PLACES)
def test_a_group_is_made_where_linux_lets_one_have_a_limit(tmp_path, case):
    own, mounts, handing_on, expected = PLACES[case]
    for folder in handing_on:
        (tmp_path / "unified" / folder).mkdir(parents=True)
        (tmp_path / "unified" / folder / "cgroup.subtree_control").write_text("cpu memory pids\n")
    (tmp_path / "own").write_text(own)
    (tmp_path / "mounts").write_text(mounts.format(top=tmp_path, root="/"))
    found = cgroup._places(tmp_path / "own", tmp_path / "mounts")
    assert [f"{place.folder.relative_to(tmp_path)} v{place.version}" for place in found] == expected


def test_without_proc_there_is_no_place(tmp_path):
    assert list(cgroup._places(tmp_path / "no", tmp_path / "no")) == []


EVENTS = "low 0\nhigh 0\nmax 9\noom {}\noom_kill {}\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("version", "files", "killed"),
    [
        (1, {"memory.failcnt": "7", "memory.oom_control": "under_oom 0\noom_kill 1\n"}, True),
        (1, {"memory.failcnt": "7", "memory.oom_control": "under_oom 0\noom_kill 0\n"}, False),
        (1, {"memory.failcnt": "0", "memory.oom_control": "under_oom 0\noom_kill 1\n"}, False),
        (2, {"memory.events": EVENTS.format(3, 2)}, True),
        (2, {"memory.events": EVENTS.format(3, 0)}, False),
        (2, {"memory.events": EVENTS.format(0, 1)}, False),
        (1, {}, False),
        (2, {}, False),
    ],
)
def test_who_was_ended_for_want_of_memory_elsewhere_took_none_here(
    tmp_path, version, files, killed
):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert Group(tmp_path, version).has_killed() is killed


def test_a_group_of_the_second_version_is_written_as_its_files_want(tmp_path):
    names = ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max")
    for name in names:
        (tmp_path / name).write_text("")
    group = Group(tmp_path, 2)
    group.limit(1000, 10)
    assert [(tmp_path / name).read_text() for name in names] == ["1000", "0", "1", "10"]
    for name in ("pids.max", "memory.swap.max"):
        (tmp_path / name).unlink()
    group.limit(1000, 10)
    assert not (tmp_path / "pids.max").exists()
    (tmp_path / "memory.max").unlink()
    with pytest.raises(FileNotFoundError):
        group.limit(1000, 10)
