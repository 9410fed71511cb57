"""What one box does, another cannot notice, neither by files that both see nor by the kernel."""

import sys
import textwrap

import pytest
from boxes import boxed_kernel, printed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there are no boxes but on Linux")
SHARED = "/usr/bin/env"
SETUP = f"""
import ctypes, fcntl, os, re, resource, select, socket, struct, threading, time, warnings
libc = ctypes.CDLL(None, use_errno=True)
PATHS = {SHARED!r}, "/dev/null", "/dev/zero", "/dev/urandom", "/proc/stat"
files = [open(path, "rb", 0) for path in PATHS]
times = [os.stat(path)[7:] for path in PATHS]
"""
NOWAIT = "fcntl.LOCK_EX | fcntl.LOCK_NB"
# what one does; what the other finds, 0 where it finds nothing
CHANNELS = {
    "flock": (
        "for file in files: fcntl.flock(file, fcntl.LOCK_EX)",
        f"""
        found = 0
        for file in files:
            try: fcntl.flock(file, {NOWAIT})
            except OSError: found += 1
        """,
    ),
    "locks of ranges": (
        "for file in files: fcntl.lockf(file, fcntl.LOCK_SH, 10, 100)",
        """
        found = 0
        for file in files:
            asked = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 1000, 0)
            answer = fcntl.fcntl(file, fcntl.F_GETLK, asked)
            found += struct.unpack("hhqqi", answer)[0] != fcntl.F_UNLCK
        """,
    ),
    "locks of open files": (
        """
        lock = struct.pack("hhqqi", fcntl.F_RDLCK, 0, 0, 1000, 0)
        for file in files: fcntl.fcntl(file, 37, lock)
        """,
        """
        found = 0
        for file in files:
            asked = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 1000, 0)
            answer = fcntl.fcntl(file, 36, asked)
            found += struct.unpack("hhqqi", answer)[0] != fcntl.F_UNLCK
        """,
    ),
    "leases": (
        """
        for file in files:
            try: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            except OSError: pass
        """,
        """
        found = 0
        for file in files:
            try: found += fcntl.fcntl(file, fcntl.F_GETLEASE) != fcntl.F_UNLCK
            except OSError: pass
        """,
    ),
    "times of files": (
        """
        for path in PATHS:
            try: os.utime(path)
            except OSError: pass
        """,
        "found = [os.stat(path)[7:] for path in PATHS] != times",
    ),
    "hints of files": (
        """
        for file in files:
            try: fcntl.fcntl(file, 1036, struct.pack("Q", 3))
            except OSError: pass
        """,
        """
        found = 0
        for file in files:
            try: found += struct.unpack("Q", fcntl.fcntl(file, 1035, bytes(8)))[0]
            except OSError: pass
        """,
    ),
    "counters of the machine": (
        "kept = [os.open('/dev/null', 0) for _ in range(300)]",
        """
        names = ("sys/fs/file-nr", "stat", "loadavg", "vmstat", "locks", "sched_debug",
                 "interrupts", "pressure/cpu", "sys/fs/aio-nr", "key-users", "slabinfo")
        found = 0
        for name in names:
            try: found += len(open(f"/proc/{name}").read())
            except OSError: pass
        numbers = set(re.findall(r"[0-9]+", open("/proc/meminfo").read()))
        found += len(numbers) > 1  # all of it is free, always
        found += libc.sysinfo(ctypes.create_string_buffer(1000)) == 0
        """,
    ),
    "the kernel's log": (
        "if os.fork() == 0: ctypes.string_at(0)",
        "found = libc.klogctl(10, None, 0) >= 0",
    ),
}  # fmt: skip
WATCHES = {
    "inotify": f"""
        watch = libc.inotify_init()
        found = watch >= 0 and libc.inotify_add_watch(watch, b"{SHARED}", 0xfff) >= 0
        """,
    "fanotify": "found = libc.fanotify_init(0, 0) >= 0",
    "dnotify": """
        try: found = fcntl.fcntl(os.open("/usr/bin", 0), 1026, 1) == 0
        except OSError: found = 0
        """,
    "asking what is in the page cache": """
        found = 0
        try: found += os.preadv(files[0].fileno(), [bytearray(10)], 0, os.RWF_NOWAIT) >= 0
        except OSError: pass
        libc.mmap.restype = ctypes.c_void_p
        place = ctypes.c_void_p(libc.mmap(None, 4096, 1, 1, files[0].fileno(), 0))
        found += libc.mincore(place, 4096, bytes(1)) == 0
        found += libc.syscall(451, files[0].fileno(), bytes(16), bytes(64), 0) == 0
        """,
    "other families of sockets": """
        found = 0
        for family in set(range(50)) - {1, 16}:
            for kind in (1, 2, 3, 5):
                try: found += socket.socket(family, kind).close() is None
                except OSError: pass
        """,
    "numbers of processes": """
        warnings.simplefilter("ignore")  # from 3.12 on Python warns of a fork beside threads
        child = os.fork()
        if child == 0: os._exit(0)
        try: found = os.fstat(os.pidfd_open(child)).st_ino
        except OSError: found = 0
        """,
    "queues and segments": """
        found = sum(call >= 0 for call in (libc.shmget(7, 99, 0o1666), libc.msgget(7, 0o1666),
                    libc.semget(7, 1, 0o1666), libc.syscall(240, b"x", 0o102, 0o666, None)))
        """,
}


@pytest.fixture(scope="module", params=["namespaces", "bubblewrap"])
def pair(request):
    """Two boxes at the same time."""
    with boxed_kernel(request.param) as one, boxed_kernel(request.param) as other:
        for kernel in (one, other):
            assert kernel.run(SETUP).error is None
        yield one, other


@pytest.mark.parametrize(("act", "look"), CHANNELS.values(), ids=CHANNELS)
def test_what_one_does_another_does_not_find(pair, act, look):
    one, other = pair
    error = one.run(textwrap.dedent(act)).error
    assert error is None, error
    assert printed(other.run(textwrap.dedent(look) + "\nint(found)")) == "0"


@pytest.mark.parametrize("look", WATCHES.values(), ids=WATCHES)
def test_nobody_can_lie_in_wait(pair, look):
    result = pair[1].run(textwrap.dedent(look) + "\nint(found)")
    assert printed(result) == "0"


@pytest.mark.parametrize("number", [1, 2], ids=["shared", "private"])
def test_nobody_can_be_woken_at_a_place_in_a_file(pair, number):
    mapped = f"""
    libc.mmap.restype = ctypes.c_void_p
    place = libc.mmap(None, 4096, 1, {number}, files[0].fileno(), 0)
    word = ctypes.c_uint32.from_address(place)
    FUTEX = 202 if os.uname().machine == "x86_64" else 98
    address = ctypes.c_void_p(place)
    """
    wait = """
    class Seconds(ctypes.Structure): _fields_ = [("s", ctypes.c_long), ("n", ctypes.c_long)]
    def wait():
        global waited
        waited = libc.syscall(FUTEX, address, 0, word.value, ctypes.byref(Seconds(5, 0)), None, 0)
    waited = None
    thread = threading.Thread(target=wait)
    thread.start()
    """
    wake = """
    woken, end = 0, time.monotonic() + 1
    while not woken and time.monotonic() < end:
        woken = libc.syscall(FUTEX, address, 1, 10, None, None, 0)
    woken
    """
    one, other = pair
    assert one.run(textwrap.dedent(mapped) + textwrap.dedent(wait)).error is None
    assert printed(other.run(textwrap.dedent(mapped) + textwrap.dedent(wake))) == "0"
    assert printed(one.run("thread.join(); waited")) == "-1"


def test_what_honest_code_locks_and_shares_works_all_the_same(pair):
    code = """
    import multiprocessing, sqlite3, tempfile
    with tempfile.NamedTemporaryFile() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
    with sqlite3.connect("/tmp/base") as base:
        base.execute("create table t (x)")
        base.execute("insert into t values (1)")
    context = multiprocessing.get_context("fork")
    lock, number, queue = context.Lock(), context.Value("i", 0), context.Queue()
    def work():
        for _ in range(200):
            with lock: number.value += 1
        queue.put("done")
    workers = [context.Process(target=work) for _ in range(2)]
    for worker in workers: worker.start()
    said = [queue.get(timeout=30) for _ in workers]
    for worker in workers: worker.join()
    print(number.value, said, base.execute("select * from t").fetchall())
    """
    assert printed(pair[0].run(textwrap.dedent(code), 60)) == "400 ['done', 'done'] [(1,)]\n"
