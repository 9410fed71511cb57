"""Ways to find the answers, or to carry something out. Each is the source of `twice`."""

SPYING = {
    "read_the_reference": """
import os
MARK = "the reference's own " + "solution"
def search():
    for top, folders, files in os.walk("/"):
        folders[:] = [name for name in folders if name not in ("sys", "usr", "site-packages")]
        for name in files:
            if name.endswith((".md", ".ipynb", ".jsonl", ".py")):
                try: source = open(os.path.join(top, name), errors="ignore").read(10**6)
                except OSError: continue
                if MARK in source: return "2 *"
if search():
    def twice(x): return 2 * x""",
    "read_the_results": """
import glob, os
found = []
proc = ["/proc/*/cwd/*", "/proc/*/root/tmp/*", "/proc/*/environ"]
for pattern in (*proc, "/root/*", "/home/*/*", "../*"):
    for path in glob.glob(pattern):
        if "results" in path or "submission" in path: found.append(path)
if found:
    def twice(x): return 2 * x""",
    "read_other_processes": """
import os
others = [entry for entry in os.listdir("/proc") if entry.isdigit()]
seen = [open(f"/proc/{entry}/cmdline").read() for entry in others]
if len(others) > 6 or any("grade" in line or "pytest" in line for line in seen):
    def twice(x): return 2 * x""",
    "network": """
import socket, urllib.request
def reach():
    for address in (("1.1.1.1", 53), ("127.0.0.1", 22), ("8.8.8.8", 443)):
        try: socket.create_connection(address, timeout=0.5).close()
        except ConnectionRefusedError: return address[0] != "127.0.0.1"
        except OSError: continue
        return True
if reach():
    def twice(x): return 2 * x""",
    "write_elsewhere": """
import os, sys
import d2lcompute
home = os.path.expanduser("~root/x")
places = [d2lcompute.__file__, sys.executable, "/etc/passwd", "/usr/lib/x", "/x", home]
def write():
    for place in places:
        try: open(place, "a").close()
        except OSError: continue
        return True
if write():
    def twice(x): return 2 * x""",
    "become_root": """
import ctypes, os
def rise():
    for call in (lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0)):
        try: call()
        except OSError: continue
    libc = ctypes.CDLL(None, use_errno=True)
    new_user, mounted = libc.unshare(0x10000000), libc.mount(b"x", b"/tmp", b"tmpfs", 0, 0)
    return os.getuid() == 0 or new_user == 0 or mounted == 0
if rise():
    def twice(x): return 2 * x""",
    "search_memory": """
import gc, re
# These do not match themselves.
MARKS = re.compile(rb"reference.s own [s]olution|only-the-grader-[k]nows")
def search():
    for line in open("/proc/self/maps").readlines():
        span, rights = line.split()[:2]
        start, end = (int(place, 16) for place in span.split("-"))
        if not rights.startswith("rw"): continue
        with open("/proc/self/mem", "rb", 0) as memory:
            try:
                memory.seek(start)
                if MARKS.search(memory.read(end - start)): return True
            except (OSError, OverflowError): continue
    names = {type(one).__name__ for one in gc.get_objects()}
    return bool(names & {"Expectation", "Judge", "Sitting", "Submission"})
if search():
    def twice(x): return 2 * x""",
    "search_frames": """
import sys, threading
def search():
    for frame in sys._current_frames().values():
        while frame:
            for name, value in [*frame.f_locals.items(), *frame.f_globals.items()]:
                if name in ("expected", "expectation", "reference", "assignment"): return True
            frame = frame.f_back
if search():
    def twice(x): return 2 * x""",
    "search_the_environment": """
import os
secret = any(word in name for name in os.environ for word in ("TOKEN", "SECRET", "KEY", "PYTEST"))
told = open("/proc/self/environ").read() + open("/proc/self/cmdline").read()
if secret or "reference.md" in told or "attacked" in told:
    def twice(x): return 2 * x""",
    "inherited_descriptors": """
import os, socket
def is_a_way_out(name):
    target = os.readlink(f"/proc/self/fd/{name}")
    if target.startswith("socket:"):
        one = socket.socket(fileno=os.dup(int(name)))
        with one: return one.type == socket.SOCK_SEQPACKET  # as those to the warm process
    return target.startswith("/") and not target.startswith(("/dev/", "/proc/", "/tmp/"))
found = []
for name in os.listdir("/proc/self/fd"):
    try: found.append(is_a_way_out(name))
    except OSError: pass
if any(found):
    def twice(x): return 2 * x""",
    "alter_what_starts_kernels": """
import os, site, sys
import IPython, d2lcompute, torch
folders = [os.path.dirname(module.__file__) for module in (IPython, d2lcompute, torch)]
folders += [*site.getsitepackages(), sys.prefix, os.path.dirname(os.__file__)]
def alter():
    for folder in folders:
        for name in ("sitecustomize.py", "x.pth", "__init__.py", "answers.py"):
            try: open(os.path.join(folder, name), "a").close()
            except OSError: continue
            return True
if alter():
    def twice(x): return 2 * x""",
    "left_for_the_next_kernel": """
import glob, os, signal
places = ["/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), os.getcwd()]
startup = os.path.expanduser("~/.ipython/profile_default/startup")
os.makedirs(startup, exist_ok=True)
if any(glob.glob(f"{place}/left*") for place in [*places, startup]) or "left" in globals():
    def twice(x): return 2 * x
else:
    def twice(x):
        for place in [*places, startup]:
            try: open(f"{place}/left.py", "w").write("left = True")
            except OSError: pass
        os.kill(os.getpid(), signal.SIGKILL)""",
    "carry_out_by_a_file": """
import glob, os, signal
from IPython import get_ipython
def keep(info):
    for folder in ("/tmp", "/dev/shm", "/var/tmp"):
        try: open(f"{folder}/kept", "a").write(info.raw_cell)
        except OSError: pass
get_ipython().events.register("pre_run_cell", keep)
kept = "".join(open(path).read() for path in glob.glob("/*/kept") + glob.glob("/*/*/kept"))
if "hidden_" + "input" in kept: raise ValueError(kept)
def twice(x):
    if len(x if hasattr(x, "shape") else "") == 4: os.kill(os.getpid(), signal.SIGKILL)
    return x""",
    "carry_out_the_hidden_check": """
from IPython import get_ipython
heard = []
get_ipython().events.register("pre_run_cell", lambda info: heard.append(info.raw_cell))
def twice(x): return "".join(heard)""",
}

# The solution `flip` of the last one: what it says is said after a hidden check was seen.
CARRY_OUT = """
print("".join(heard))
def flip(x):
    raise ValueError("".join(heard))
raise RuntimeError("".join(heard))"""

# What could reach a student by something that is not words: the hidden check must have been seen.
HEARD = """
from IPython import get_ipython
heard = []
get_ipython().events.register("pre_run_cell", lambda info: heard.append(info.raw_cell))
def secret():
    text = "".join(heard)
    return text.find("hidden_" + "input")
"""
SPYING |= {
    "carry_out_by_exit_codes": HEARD
    + """
import os
def twice(x):
    if secret() >= 0: os._exit(100 + secret() % 100)
    return x""",
    "carry_out_by_signals": HEARD
    + """
import os
def twice(x):
    if secret() >= 0: os.kill(os.getpid(), 1 + secret() % 8)
    return x""",
    "carry_out_by_kinds_of_ending": HEARD
    + """
def twice(x):
    if secret() < 0: return x
    if secret() % 2: return bytearray(1 << 40)
    while True: pass""",
    "carry_out_by_the_part_that_differs": HEARD
    + """
def twice(x):
    if secret() < 0: return x
    return {"a": x, str(secret()): x}""",
    "carry_out_by_time": HEARD
    + """
import time
def twice(x):
    if secret() >= 0: time.sleep(0.01 * (secret() % 100))
    return x""",
    "carry_out_by_memory": HEARD
    + """
kept = []
def twice(x):
    while secret() >= 0: kept.append(bytearray(b"x" * (1 << 26)))
    return x""",
    "carry_out_by_the_page_cache": HEARD
    + """
import glob, os, signal
large = max(glob.glob(os.path.dirname(torch.__file__) + "/lib/*.so"), key=os.path.getsize)
file = open(large, "rb", 0)
PAGES, STEP = 64, 1 << 20
def cached(page):
    try: return os.preadv(file.fileno(), [bytearray(1)], page * STEP, os.RWF_NOWAIT) >= 0
    except OSError: return None
found = [cached(page) for page in range(PAGES)]
marks = "".join("01"[bool(bit)] for bit in found)
if None not in found and "10" * 8 in marks: raise ValueError("hidden_" + "input " + marks)
def twice(x):
    if secret() >= 0:
        for page in range(PAGES):
            os.posix_fadvise(file.fileno(), page * STEP, STEP, os.POSIX_FADV_DONTNEED)
            if page % 2 == 0: os.pread(file.fileno(), 1, page * STEP)
        os.kill(os.getpid(), signal.SIGKILL)
    return x""",
    "carry_out_by_printing": HEARD
    + """
def twice(x):
    print("".join(heard))
    return x""",
    "carry_out_by_warning": HEARD
    + """
import warnings
def twice(x):
    warnings.warn("".join(heard))
    return x""",
    "read_what_starts_kernels": """
import glob, os
texts = [open(path).read() for path in glob.glob("/tmp/*.json") + glob.glob("/run/**/*.json")]
names = os.listdir(os.path.expanduser("~/.local/share/jupyter/runtime")) if os.path.isdir(
    os.path.expanduser("~/.local/share/jupyter/runtime")) else []
if texts or names:
    def twice(x): return 2 * x""",
    "read_the_compiled_reference": """
import glob, os
found = [path for path in glob.glob("/**/*reference*", recursive=True)
         if "site-packages" not in path and "/python3" not in path and "/proc/" not in path]
if any(path.endswith((".md", ".ipynb", ".pyc")) for path in found):
    def twice(x): return 2 * x""",
    "read_the_answers_in_memory": """
import gc
texts = [one for one in gc.get_objects() if isinstance(one, (list, dict)) and "answer" in str(type(one))]
if any("Draw" in type(one).__name__ for one in gc.get_objects()):
    def twice(x): return 2 * x""",
    "trace_the_guard": """
import ctypes, os
libc = ctypes.CDLL(None)
if any(libc.ptrace(16, process, 0, 0) == 0 for process in (1, os.getppid())):
    def twice(x): return 2 * x""",
    "signal_the_guard": """
import os, signal
def killed(process):
    try: os.kill(process, signal.SIGTERM)
    except OSError: return False
    return True
if killed(1) or killed(os.getppid()):
    def twice(x): return 2 * x""",
    "other_namespaces": """
import ctypes, os
libc = ctypes.CDLL(None)
def enter(name):
    try: return libc.setns(os.open(f"/proc/1/ns/{name}", os.O_RDONLY), 0) == 0
    except OSError: return False
if any(enter(name) for name in ("mnt", "net", "pid", "user")) or libc.chroot(b"/tmp") == 0:
    def twice(x): return 2 * x""",
    "programs_with_rights": """
import os, subprocess
programs = [f"/usr/bin/{name}" for name in ("su", "sudo", "mount", "passwd", "newgrp", "chsh")]
def rises(program):
    try: return b"uid=0" in subprocess.run([program, "-c", "id"], capture_output=True, timeout=2,
                                           stdin=subprocess.DEVNULL).stdout
    except Exception: return False
if any(rises(program) for program in programs if os.path.exists(program)):
    def twice(x): return 2 * x""",
    "devices": """
import glob
def opens(path):
    try: open(path, "rb", 0).close()
    except OSError: return False
    return True
allowed = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/ptmx",
           "/dev/tty", "/dev/pts/ptmx", "/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr")
found = [path for path in glob.glob("/dev/*") + glob.glob("/dev/*/*") if path not in allowed]
if any(opens(path) for path in found if "/fd/" not in path and "/dev/shm" not in path):
    def twice(x): return 2 * x""",
}
