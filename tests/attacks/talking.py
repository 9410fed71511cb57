"""Ways for two submissions that are graded at the same time to talk. Each is tried by a pair.

`say()` leaves a sign, `hear()` says whether the other one left its sign, for some seconds.
"""

PAIR = """
import ctypes, fcntl, glob, mmap, os, socket, struct, threading, time
libc = ctypes.CDLL(None, use_errno=True)
ME, OTHER = {me}, {other}
FILES = sorted(path for path in glob.glob("/usr/bin/[a-d]*") if os.path.isfile(path))[:2]
FILES += ["/dev/null", "/dev/urandom"]
def quietly(function, *arguments):
    try: return function(*arguments)
    except (OSError, ValueError): return None
{source}
quietly(say)
heard, end = False, time.monotonic() + 0.7
while not heard and time.monotonic() < end:
    heard = bool(quietly(hear))
    time.sleep(0.01)
if heard:
    def twice(x): return 2 * x
"""

TALKING = {
    "flock": """
kept = [open(path, "rb", 0) for path in FILES]
def say(): return [quietly(fcntl.flock, kept[ME + 2 * two], fcntl.LOCK_EX) for two in (0, 1)]
def hear():
    def taken(path):
        with open(path, "rb", 0) as file:
            try: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError: return True
    return any(taken(FILES[OTHER + 2 * two]) for two in (0, 1))""",
    "locks_of_ranges": """
kept = [open(path, "rb", 0) for path in FILES]
def say():
    for file in kept: quietly(fcntl.lockf, file, fcntl.LOCK_SH, 1, 1000 + ME)
def hear():
    asked = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 1000 + OTHER, 1, 0)
    return any(struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK
               for file in kept)""",
    "locks_of_open_files": """
kept = [open(path, "rb", 0) for path in FILES]
def say():
    lock = struct.pack("hhqqi", fcntl.F_RDLCK, 0, 2000 + ME, 1, 0)
    for file in kept: quietly(fcntl.fcntl, file, 37, lock)
def hear():
    asked = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 2000 + OTHER, 1, 0)
    return any(struct.unpack("hhqqi", fcntl.fcntl(file, 36, asked))[0] != fcntl.F_UNLCK
               for file in kept)""",
    "leases": """
kept = open(FILES[0], "rb", 0)
def say(): fcntl.fcntl(kept, fcntl.F_SETLEASE, fcntl.F_RDLCK)
def hear(): return fcntl.fcntl(kept, fcntl.F_GETLEASE) == fcntl.F_RDLCK and ME == 1""",
    "hints_of_files": """
kept = open(FILES[0], "rb", 0)
def say(): fcntl.fcntl(kept, 1036, struct.pack("Q", 2 + ME))
def hear(): return struct.unpack("Q", fcntl.fcntl(kept, 1035, bytes(8)))[0] == 2 + OTHER""",
    "inotify": """
watch = libc.inotify_init()
libc.inotify_add_watch(watch, FILES[OTHER].encode(), 0xfff)
def say(): threading.Thread(target=lambda: [open(FILES[ME]).close() for _ in range(999)]).start()
def hear(): return watch >= 0 and os.read(watch, 1000)""",
    "futexes": """
file = open(FILES[0], "rb", 0)
libc.mmap.restype = ctypes.c_void_p
place = libc.mmap(None, 8192, 1, 1, file.fileno(), 0)
FUTEX = 202 if os.uname().machine == "x86_64" else 98
def call(which, command, value):
    address = place + 4096 * which
    if command == 0: value = ctypes.c_uint32.from_address(address).value
    limit = (ctypes.c_long * 2)(3, 0)
    return libc.syscall(FUTEX, ctypes.c_void_p(address), command, value, limit, None, 0)
def say(): threading.Thread(target=call, args=(ME, 0, 0), daemon=True).start()
def hear(): return call(OTHER, 1, 10)""",
    "vsock": """
served = quietly(socket.socket, 40, socket.SOCK_STREAM)
def say():
    served.bind((socket.VMADDR_CID_ANY, 5000 + ME))
    served.listen()
def hear():
    with socket.socket(40, socket.SOCK_STREAM) as one:
        one.settimeout(0.1)
        one.connect((1, 5000 + OTHER))
        return True""",
    "loopback": """
served = socket.socket()
def say():
    served.bind(("127.0.0.1", 5000 + ME))
    served.listen()
def hear(): return socket.create_connection(("127.0.0.1", 5000 + OTHER), 0.1)""",
    "abstract_sockets": """
served = socket.socket(socket.AF_UNIX)
def say():
    served.bind(f"\\0talk-{ME}")
    served.listen()
def hear():
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(f"\\0talk-{OTHER}")
        return True""",
    "queues_of_messages": """
def say(): libc.mq_open(f"/talk-{ME}".encode(), 0o102, 0o666, None)
def hear(): return libc.mq_open(f"/talk-{OTHER}".encode(), 0) >= 0""",
    "segments": """
def say(): libc.shmget(7000 + ME, 99, 0o1666)
def hear(): return libc.shmget(7000 + OTHER, 99, 0o666) >= 0""",
    "files_in_memory": """
def say(): open(f"/dev/shm/talk-{ME}", "w").close()
def hear(): return any(glob.glob(f"{top}/talk-{OTHER}") for top in ("/dev/shm", "/tmp", "/var/tmp"))""",
    "names_of_processes": """
def say(): libc.prctl(15, f"talk-{ME}".encode(), 0, 0, 0)
def hear():
    names = (quietly(lambda: open(path).read()) for path in glob.glob("/proc/[0-9]*/comm"))
    return any(name and f"talk-{OTHER}" in name for name in names)""",
    "count_of_open_files": """
kept = []
def count(): return int(open("/proc/sys/fs/file-nr").read().split()[0])
def say(): kept.extend(os.open("/dev/null", 0) for _ in range(300))
def hear(): return count() > 0""",
    "free_memory": """
class Memory(ctypes.Structure):
    _fields_ = [("up", ctypes.c_long), ("loads", ctypes.c_ulong * 3), ("total", ctypes.c_ulong),
                ("free", ctypes.c_ulong), ("shared", ctypes.c_ulong), ("more", ctypes.c_char * 60)]
def say(): open("/dev/shm/x", "wb").write(bytes((3 + ME) << 20))
def hear(): return libc.sysinfo(ctypes.byref(Memory())) == 0 or "kB" in open("/proc/vmstat").read()""",
    "log_of_the_kernel": """
def say():
    if os.fork() == 0: ctypes.string_at(ME + 1)
def hear(): return libc.klogctl(10, None, 0) > 0""",
    "page_cache": """
file = open(max(FILES[:2], key=os.path.getsize), "rb", 0)
def say(): os.posix_fadvise(file.fileno(), 4096 * 8 * ME, 4096, os.POSIX_FADV_DONTNEED)
def hear():
    try: return os.preadv(file.fileno(), [bytearray(1)], 4096 * 8 * OTHER, os.RWF_NOWAIT) >= 0
    except BlockingIOError: return True""",
    "times_of_devices": """
DEVICES = "/dev/full", "/dev/urandom"
def say(): os.utime(DEVICES[ME])
def hear(): return time.time() - os.stat(DEVICES[OTHER]).st_mtime < 60""",
    "numbers_of_processes": """
def number():
    child = os.fork()
    if child == 0: os._exit(0)
    return os.fstat(os.pidfd_open(child)).st_ino
last = quietly(number)
def say(): return [os.waitpid(os.fork() or os._exit(0), 0) for _ in range(30)]
def hear(): return last and number() - last > 30""",
    "count_of_sockets": """
kept = []
def count(): return int(open("/proc/net/sockstat").read().split("alloc ")[1].split()[0])
before = count()
def say(): kept.extend(socket.socket() for _ in range(300))
def hear(): return count() - before > 400""",
    "keys": """
def say(): libc.syscall(248, b"user", f"talk-{ME}".encode(), b"x", 1, -4)
def hear(): return libc.syscall(249, b"user", f"talk-{OTHER}".encode(), None, 0) > 0""",
}  # fmt: skip
