import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
from pathlib import Path

import psutil
import pytest
from boxes import SMALL, boxed_kernel, isolation_on, printed, shared_warm_process
from waiting import PATIENCE

from d2lcompute.notebooks import isolation, provisioner
from d2lcompute.notebooks.cell import (
    CellTimeoutError,
    KernelDiedError,
    KernelError,
    KernelKilledError,
    MemoryLimitError,
)
from d2lcompute.notebooks.isolation import Isolation, Limits, clean_environment, find_isolation
from d2lcompute.notebooks.kernel import start_kernel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there are no boxes but on Linux")
WALLS = pytest.mark.parametrize("kernel", ["namespaces", "bubblewrap"], indirect=True)
BOMBS = pytest.mark.parametrize("own_kernel", ["namespaces", "bubblewrap"], indirect=True)


@pytest.fixture(scope="module", autouse=True)
def secret():
    os.environ["SECRET_OF_THE_TEST"] = "1"
    yield
    del os.environ["SECRET_OF_THE_TEST"]


@pytest.fixture(scope="module")
def kernels():
    """Boxed kernels by level, for what leaves them as they were."""
    started = {}
    yield started
    for kernel in started.values():
        kernel.close()


@pytest.fixture
def kernel(request, kernels):
    if request.param not in kernels:
        kernels[request.param] = boxed_kernel(request.param)
    return kernels[request.param]


@pytest.fixture
def own_kernel(request):
    with boxed_kernel(request.param) as kernel:
        yield kernel


@pytest.fixture
def processes_before():
    shared_warm_process()
    return set(psutil.Process().children(recursive=True))


def fails(kernel, code):
    """The name of the exception that ends `code`."""
    error = kernel.run(textwrap.dedent(code), timeout=PATIENCE).error
    return error and error.name


@WALLS
def test_honest_work_runs_as_ever(kernel):
    code = """
    import getpass, pathlib, subprocess, tempfile, torch
    from torch.utils.data import DataLoader, TensorDataset
    torch.save(torch.ones(2), "x.pt")
    net = torch.nn.Linear(2, 1)
    net(torch.load("x.pt")).backward()
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "a").write_text("a")
    batches = DataLoader(TensorDataset(torch.arange(8.)), batch_size=2, num_workers=1)
    print(len(list(batches)), getpass.getuser(), pathlib.Path.home(), pathlib.Path.cwd())
    print(subprocess.run(["echo", "hello"], capture_output=True, text=True).stdout.strip())
    """
    assert printed(kernel.run(textwrap.dedent(code), 60)) == "4 student /tmp /tmp\nhello\n"
    assert printed(kernel.run("!echo hello")) == "hello\r\n"


@WALLS
def test_there_is_no_network(kernel):
    assert fails(kernel, "import socket; socket.create_connection(('127.0.0.1', 22), 3)")
    assert fails(kernel, "import socket; socket.create_connection(('1.1.1.1', 53), 3)")
    assert printed(kernel.run("[name for _, name in socket.if_nameindex()]")) == "['lo']"


@WALLS
def test_files_of_the_host_cannot_be_read(kernel, tmp_path):
    secret = tmp_path / "reference.ipynb"
    secret.write_text("the answer")
    for path in [secret, __file__, "/etc/shadow", "/etc/hostname"]:
        assert fails(kernel, f"open({str(path)!r})") == "FileNotFoundError"
    for path in ["/proc/1/environ", "/proc/1/root/etc/shadow", "/proc/1/fd/0", "/proc/1/mem"]:
        assert fails(kernel, f"open({path!r})") in ("PermissionError", "FileNotFoundError")


@WALLS
def test_only_the_private_folders_can_be_written(kernel):
    code = """
    import os, torch
    def writable(folder):
        try:
            open(os.path.join(folder, "new"), "w").close()
            return True
        except OSError:
            return False
    folders = ["/", "/etc", "/dev", "/usr/lib", "/proc", "/proc/sys/kernel", "/root", "/home"]
    folders += [os.path.dirname(torch.__file__), os.path.dirname(os.__file__), "/tmp", "/dev/shm"]
    print([folder for folder in folders if writable(folder)])
    """
    assert printed(kernel.run(textwrap.dedent(code))) == "['/tmp', '/dev/shm']\n"


@WALLS
def test_only_its_own_processes_are_seen_and_the_guard_is_out_of_reach(kernel):
    code = "import os; sorted(int(name) for name in os.listdir('/proc') if name.isdigit())"
    assert printed(kernel.run(code)) == "[1, 2]"
    kernel.run("import signal\nfor number in range(1, 32): os.kill(1, number)")
    assert printed(kernel.run("os.path.exists('/proc/1')")) == "True"


@WALLS
def test_nobody_becomes_root(kernel):
    assert printed(kernel.run("import os; os.getuid() != 0 and os.getgroups() == []")) == "True"
    assert fails(kernel, "os.setuid(0)")
    for call in ["unshare(0x10000000)", "unshare(0x20000)", "mount(0, b'/tmp', b'tmpfs', 0, 0)"]:
        code = f"import ctypes; ctypes.CDLL(None).{call}"
        assert printed(kernel.run(code)) == "-1", call
    lines = printed(kernel.run("print(open('/proc/self/status').read())")).splitlines()
    status = dict(line.split(":\t") for line in lines if line)
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"


@WALLS
def test_the_environment_holds_no_secret(kernel):
    assert "SECRET_OF_THE_TEST" not in printed(kernel.run("import os; sorted(os.environ)"))
    assert "SECRET_OF_THE_TEST" not in printed(kernel.run("open('/proc/self/environ').read()"))


@WALLS
def test_limits_can_not_be_raised(kernel):
    code = "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (9999, 9999))"
    assert fails(kernel, code) == "ValueError"


@WALLS
def test_memory_that_no_limit_counts_is_not_to_be_had(kernel):
    assert fails(kernel, "import os; os.memfd_create('x')") == "PermissionError"
    assert (
        printed(kernel.run("import ctypes; ctypes.CDLL(None).shmget(0, 1 << 30, 0o1600)")) == "-1"
    )
    assert fails(kernel, "import mmap; mmap.mmap(-1, 1 << 30)") == "PermissionError"
    zeros = "open('/dev/zero', 'r+b', 0)"
    assert fails(kernel, f"mmap.mmap({zeros}.fileno(), 1 << 30)") == "OSError"
    assert printed(kernel.run(f"{zeros}.read(3)")) == repr(bytes(3))
    code = "import ctypes, os; part = (ctypes.c_size_t * 2)(id(os), 1); end = os.pipe()[1]\n"
    code += "ctypes.CDLL(None).vmsplice(end, part, 1, 0)"
    assert printed(kernel.run(code)) == "-1"


@WALLS
def test_one_process_that_takes_too_much_memory_gets_an_error(kernel):
    assert fails(kernel, "bytearray(3_000_000_000)") == "MemoryError"


@BOMBS
@pytest.mark.parametrize(
    "bomb",
    [
        """
        import os, time
        for _ in range(8):
            if os.fork() == 0:
                kept = bytearray(os.urandom(1)) * 300_000_000
                time.sleep(1000)
        time.sleep(1000)
        """,
        """
        import os, socket, time
        kept = []
        for _ in range(16):
            if os.fork() == 0:
                while True:
                    kept.append(socket.socketpair())
                    kept[-1][0].setblocking(False)
                    kept[-1][0].send(bytes(100_000))
        time.sleep(1000)
        """,
        """
        import mmap, time
        private_and_not_reserved = 0x4002
        unused = mmap.mmap(-1, 1 << 40, private_and_not_reserved, mmap.PROT_READ)
        for page in range(0, 1 << 40, 1 << 21):
            unused[page]
        time.sleep(60)
        """,
    ],
    ids=["many processes", "sockets", "page tables"],
)
def test_many_small_thieves_of_memory_end_the_kernel(own_kernel, bomb):
    with pytest.raises(MemoryLimitError, match="more than 1200 MB"):
        own_kernel.run(textwrap.dedent(bomb), timeout=PATIENCE)


@pytest.mark.parametrize("level", ["namespaces", "bubblewrap"])
def test_empty_files_count_as_memory(level):
    bomb = """
    import itertools
    for name in itertools.count():
        open(f"/dev/shm/{name}", "w").close()
    """
    expected = pytest.raises(MemoryLimitError, match="more than 300 MB")
    with boxed_kernel(level, Limits(memory_mb=300)) as kernel, expected:
        kernel.run(textwrap.dedent(bomb), timeout=PATIENCE)


@WALLS
def test_a_full_disk_is_the_private_one(kernel):
    code = """
    import glob, os
    try:
        for name in range(1000):
            with open(f"/tmp/bomb-{name}", "wb") as file:
                file.write(bytes(1_000_000))
    finally:
        for path in glob.glob("/tmp/bomb-*"):
            os.unlink(path)
    """
    assert fails(kernel, code) == "OSError"
    code = "open('/dev/shm/large', 'wb').write(bytes(9_000_000))"
    assert "File too large" in kernel.run(code).error.text


@pytest.mark.parametrize("level", ["namespaces", "bubblewrap"])
def test_a_fork_bomb_goes_off_in_its_box(level, processes_before):
    with boxed_kernel(level) as kernel, pytest.raises((CellTimeoutError, MemoryLimitError)):
        kernel.run("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", 1)
    assert set(psutil.Process().children(recursive=True)) <= processes_before


@pytest.mark.parametrize("level", ["namespaces", "bubblewrap"])
def test_nothing_outlives_its_kernel(level, processes_before):
    code = """
    import subprocess
    subprocess.Popen(["sh", "-c", "setsid sleep 1000 & sleep 1000"], start_new_session=True).pid
    """
    with boxed_kernel(level) as kernel:
        assert not fails(kernel, code)
        assert set(psutil.Process().children(recursive=True)) > processes_before
    assert set(psutil.Process().children(recursive=True)) <= processes_before


@BOMBS
@pytest.mark.parametrize("victim", [0, -1], ids=["guard", "kernel"])
def test_a_kernel_that_is_killed_from_outside_is_told_apart(own_kernel, victim):
    family = psutil.Process(own_kernel._provisioner.process.pid).children(recursive=True)
    killing = threading.Timer(0.2, family[victim].kill)
    killing.start()
    with pytest.raises(KernelKilledError, match=r"the kernel (has ended|ended( by SIGKILL)?)$"):
        own_kernel.run("import time; time.sleep(1000)")
    with pytest.raises(KernelKilledError, match="the kernel has ended"):
        own_kernel.run("1")


@pytest.mark.parametrize(
    ("code", "how"),
    [("import os; os._exit(9)", "with exit code 9"), ("import os; os.abort()", "by SIGABRT")],
)
def test_a_kernel_that_ends_itself_was_not_killed(code, how):
    expected = pytest.raises(KernelDiedError, match=f"the kernel ended {how}")
    with boxed_kernel("namespaces") as kernel, expected as caught:
        kernel.run(code)
    assert not isinstance(caught.value, KernelKilledError)


SPEAK = """
import sys
from d2lcompute.notebooks.isolation import LEVELS, why_not
for level in LEVELS:
    print(level, why_not(level), sep=": ")
"""
ONE_USER = ["unshare", "-Ur"]  # root of a user namespace that has no other user
CONTAINER = [sys.executable, str(Path(__file__).parents[1] / "helpers" / "container.py")]


def said_by(*command, **options):
    """What a process says in the end; skips where the command itself is not permitted."""
    if command[0] == "unshare" and subprocess.run([*ONE_USER, "true"], check=False).returncode:
        pytest.skip("no user namespace can be made here")
    found = subprocess.run(command, capture_output=True, text=True, check=True, **options)
    return found.stdout.splitlines()


@pytest.mark.parametrize(
    "around", [[], ONE_USER, CONTAINER, ONE_USER + CONTAINER], ids=["here", "one", "no", "one, no"]
)
def test_each_level_works_or_says_why_not_in_one_line(around):
    levels = dict(line.split(": ", 1) for line in said_by(*around, sys.executable, "-c", SPEAK))
    assert list(levels) == list(isolation.LEVELS)
    if CONTAINER[0] in around:
        assert "new namespace" in levels["bubblewrap"] or "not installed" in levels["bubblewrap"]
        assert levels["namespaces"] == "PermissionError: [Errno 1] unshare: Operation not permitted"


CROWDED = """
import resource, sys
sys.path.insert(0, {helpers!r})
from boxes import boxed_kernel, printed
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
with boxed_kernel("namespaces") as greedy:
    assert greedy.run({greedy!r}, 60).error.text.startswith("[Errno 109]")
    with boxed_kernel("namespaces") as neighbour:
        print(neighbour.why_cold, printed(neighbour.run("1 + 1")))
"""
# What is on its way between processes counts for the user, who is the grader too.
GREEDY = """
import socket
kept = []
while True:
    kept.append(socket.socketpair())
    for _ in range(20): socket.send_fds(kept[-1][0], [b"x"], [0] * 250)
"""


def test_descriptors_on_their_way_in_one_box_hold_up_no_other_s_kernel():
    isolation_on("namespaces")
    helpers = str(Path(__file__).parents[1] / "helpers")
    script = CROWDED.format(helpers=helpers, greedy=GREEDY)
    assert said_by(*ONE_USER, sys.executable, "-c", script) == ["None 2"]


BESIDE_OTHERS = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, {helpers!r})
from boxes import boxed_kernel
with boxed_kernel("landlock") as kernel:
    found = {{}}
    for name, code in {attempts!r}.items():
        error = kernel.run(code, 60).error
        found[name] = error and error.name
    print(json.dumps([found, os.stat({mine!r}).st_mode & 0o777, Path({mine!r}).read_text()]))
"""
DENIED_BY_LANDLOCK = {
    "reading": "open({mine!r})",
    "writing": "open({mine!r}, 'a')",
    "listing": "import os; os.listdir({folder!r})",
    "removing": "os.unlink({mine!r})",
    "renaming": "os.rename({mine!r}, {mine!r} + 'x')",
    "cutting": "os.truncate({mine!r}, 0)",
    "making": "os.mkdir({folder!r} + '/x')",
    "passwords": "open('/etc/shadow')",
    "the grader's memory": "open(f'/proc/{{os.getppid()}}/mem', 'rb')",
    "the grader's environment": "open('/proc/1/environ')",
    "processes": "os.listdir('/proc')",
    "killing": "os.kill({pid}, 9)",
    "limiting": "import resource; resource.prlimit({pid}, resource.RLIMIT_CPU, (0, 0))",
    "the network": "import socket; socket.socket()",
    "abstract sockets": "socket.socket(socket.AF_UNIX)",
    "shared memory": "import mmap; mmap.mmap(-1, 1 << 20)",
    "devices": "open('/dev/pts/ptmx')",
}
HONEST_UNDER_LANDLOCK = {
    "torch": "import torch; torch.nn.Linear(2, 1)(torch.ones(2)).backward()",
    "files": "torch.save(torch.ones(2), 'x.pt'); torch.load('x.pt')",
    "figures": "import matplotlib.pyplot as plt; plt.plot([1, 2]);",
    "programs": "import subprocess; subprocess.run(['echo', 'a'], check=True)",
    "copies": "import shutil; shutil.copy2('x.pt', 'y.pt')",
    # These two only seem to do it.
    "changing rights": "os.chmod({mine!r}, 0o777)",
    "killing all": "os.kill(-1, 9)",
}


@pytest.mark.parametrize("around", [[], ONE_USER], ids=["here", "one user"])
def test_landlock_holds_back_all_but_looking_up_names(around, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    mine.chmod(0o640)
    found = said_by(*around, sys.executable, "-c", "from d2lcompute.notebooks.isolation import "
                    "why_not; print(why_not('landlock'))")  # fmt: skip
    if found != ["None"]:
        pytest.skip(f"landlock cannot be had here: {found}")
    places = {"mine": str(mine), "folder": str(tmp_path), "pid": os.getpid()}
    attempts = {
        name: code.format(**places)
        for name, code in (DENIED_BY_LANDLOCK | HONEST_UNDER_LANDLOCK).items()
    }
    helpers = str(Path(__file__).parents[1] / "helpers")
    script = BESIDE_OTHERS.format(helpers=helpers, attempts=attempts, mine=str(mine))
    answers, rights, text = json.loads(said_by(*around, sys.executable, "-c", script)[-1])
    assert {name for name in DENIED_BY_LANDLOCK if answers[name] is None} == set()
    assert {name: answers[name] for name in HONEST_UNDER_LANDLOCK if answers[name]} == {}
    assert (rights, text) == (0o640, "mine")


def test_a_bubblewrap_that_ends_at_once_is_told_by_its_own_words(monkeypatch, tmp_path):
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\n[ $1 = --help ] && echo --size\necho no permission >&2\nexit 1")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    isolation.find_program.cache_clear()
    try:
        said = {isolation.why_not.__wrapped__("bubblewrap") for _ in range(10)}
    finally:
        isolation.find_program.cache_clear()
    assert said == {"no permission"}


def test_bubblewrap_that_fails_later_is_no_crash(monkeypatch):
    bubblewrap = isolation_on("bubblewrap")
    monkeypatch.setattr(provisioner, "wrapper", lambda box: ["false"])
    with pytest.raises(KernelError, match=r"the kernel (did not start|ended)"):
        start_kernel(bubblewrap)


def test_a_kernel_with_limits_only_is_limited_and_says_what_it_lacks():
    limits_only = isolation_on("limits")
    assert not limits_only.isolated
    assert "the network is open" in limits_only.gaps
    with start_kernel(limits_only, shared_warm_process(), SMALL) as kernel:
        assert fails(kernel, "bytearray(3_000_000_000)") == "MemoryError"
        code = "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True).pid"
        sleeper = int(printed(kernel.run(code)))
        assert psutil.pid_exists(sleeper)
    assert not psutil.pid_exists(sleeper)


def test_the_best_level_that_works_is_taken_and_the_report_says_why_not_a_better_one(monkeypatch):
    reasons = {"bubblewrap": "not installed", "namespaces": None, "landlock": "too old"}
    monkeypatch.setattr(isolation, "why_not", reasons.get)
    assert find_isolation() == Isolation("namespaces", {"bubblewrap": "not installed"})
    assert find_isolation(warm=True) == Isolation("namespaces", {})
    reasons.update(namespaces="not allowed")
    assert not find_isolation().isolated
    reasons.update(limits="needs Linux")
    with pytest.raises(RuntimeError, match="bubblewrap: not installed; namespaces: not allowed"):
        find_isolation()


def test_without_linux_no_level_is_reached(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    isolation.why_not.cache_clear()
    assert {isolation.why_not(level) for level in isolation.LEVELS} == {
        "needs Linux, this is darwin"
    }
    isolation.why_not.cache_clear()


def test_a_missing_bubblewrap_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for cached in (isolation.why_not, isolation.find_program):
        cached.cache_clear()
    assert isolation.why_not("bubblewrap") == "bubblewrap is not installed"
    for cached in (isolation.why_not, isolation.find_program):
        cached.cache_clear()


def test_walls_that_cannot_be_raised_are_told(monkeypatch):
    namespaces = isolation_on("namespaces")
    monkeypatch.setattr(isolation, "shown", lambda: {"/lost": "/no/such/folder"})
    with pytest.raises(KernelDiedError, match="did not start: FileNotFoundError"):
        start_kernel(namespaces, shared_warm_process())


def test_the_clean_environment_keeps_what_computing_needs(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    kept = clean_environment()
    assert kept["OMP_NUM_THREADS"] == "1"
    assert "GITHUB_TOKEN" not in kept


def test_a_box_is_as_large_as_the_limits_say():
    box = Isolation("namespaces", {}).box(Limits(memory_mb=1, scratch_mb=2, file_mb=3))
    assert (box.memory, box.scratch, box.file) == (1 << 20, 2 << 20, 3 << 20)
    assert tempfile.gettempdir() not in box.show


@pytest.mark.parametrize("path", [sys.executable, isolation.__file__, "/usr/bin/env"])
def test_python_the_package_and_the_system_are_seen(path):
    if not Path(path).exists():
        pytest.skip(f"no {path} on this system")
    assert not isolation.is_hidden(path)


@pytest.mark.parametrize("path", [Path.home(), Path.home() / ".ssh", "/etc/passwd", __file__])
def test_people_and_their_work_are_not(path):
    assert isolation.is_hidden(path)


def test_a_link_into_what_is_seen_hides_nothing(tmp_path):
    link = tmp_path / "link"
    link.symlink_to(isolation.__file__)
    assert isolation.is_hidden(tmp_path)
    assert not isolation.is_hidden(link)


def test_nothing_is_shown_twice():
    inside = list(isolation.shown())
    assert not [(a, b) for a in inside for b in inside if a != b and Path(a).is_relative_to(b)]


@pytest.mark.parametrize("level", ["bubblewrap", "namespaces"])
def test_a_box_finds_the_package_where_this_process_has_it(tmp_path, level):
    isolation_on(level)
    shutil.copytree(isolation.PACKAGE, tmp_path / "d2lcompute")
    code = "from d2lcompute.notebooks import isolation as here; print(here.PACKAGE)"
    code += f"; print(here.why_not({level!r}))"
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=variables, cwd="/", capture_output=True, text=True)
    assert found.stdout.splitlines() == [str(tmp_path / "d2lcompute"), "None"], found.stderr
