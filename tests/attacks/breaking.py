"""Ways to break the grader or the machine. Each is the source of the solution `twice`."""

BREAKING = {
    "sys_exit": "import sys\nsys.exit(0)",
    "sys_exit_in_check": "import sys\ndef twice(x): sys.exit(0)",
    "os_exit": "import os\nos._exit(0)",
    "os_exit_in_check": "import os\ndef twice(x): os._exit(0)",
    "crash": "import ctypes\ndef twice(x): ctypes.string_at(0)",
    "endless": "while True: pass",
    "endless_in_check": "def twice(x):\n    while True: pass",
    "ignored_interrupts": """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
while True:
    try:
        while True: pass
    except BaseException: pass""",
    "stopped": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
    "late_death": """
import os, threading
threading.Timer(0.2, os._exit, [1]).start()
import time
def twice(x): time.sleep(0.4)""",
    "fork_bomb": """
import os
while True:
    try: os.fork()
    except OSError: pass""",
    "thread_bomb": """
import threading, time
def twice(x):
    while True: threading.Thread(target=time.sleep, args=(1000,)).start()""",
    "memory_bomb": "hoard = []\nwhile True: hoard.append(bytearray(b'x' * (1 << 26)))",
    "memory_bomb_of_tensors": "def twice(x): return [torch.ones(1 << 26) for _ in range(1000)]",
    "disk_bomb": """
import itertools
for number in itertools.count():
    with open(f"/tmp/{number}", "wb") as file: file.write(b"x" * (1 << 24))""",
    "file_bomb": """
with open("/tmp/one", "wb") as file:
    while True: file.write(b"x" * (1 << 24))""",
    "loud": "print('x' * 300_000_000)",
    "loud_in_pieces": "while True: print('x' * 10_000)",
    "loud_error": "raise ValueError('x' * 50_000_000)",
    "recursion": "def twice(x): return twice(x)",
    "nonsense_on_the_wire": """
from IPython import get_ipython
kernel = get_ipython().kernel
def twice(x):
    for part in (b"", b"<IDS|MSG>", b"\\xff" * 1000):
        kernel.session.send_raw(kernel.iopub_socket, [part, b"{", b"[", b"]"])""",
    "deep_message": """
from IPython import get_ipython
kernel = get_ipython().kernel
def twice(x):
    deep = []
    for _ in range(900): deep = [deep]
    kernel.session.send(kernel.iopub_socket, "display_data", {"data": {"a": deep}, "metadata": {}},
                        parent=kernel.get_parent())""",
    "wrong_signature": """
from IPython import get_ipython
kernel = get_ipython().kernel
def twice(x):
    kernel.session.key = b"wrong"
    return 2 * x""",
    "kill_everybody": """
import os, signal
def twice(x):
    for target in (os.getppid(), -1):
        try: os.kill(target, signal.SIGKILL)
        except OSError: pass""",
    "left_over_processes": """
import os, subprocess, sys
for _ in range(3):
    subprocess.Popen(["sleep", "98765"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: os.execvp("sleep", ["sleep", "98765"])
    os._exit(0)
def twice(x): return x""",
    "terminal_escapes_and_html": """
escapes = "\\x1b[2J\\x1b]0;owned\\x07\\u202e\\r\\b"
raise ValueError(escapes + "<script>alert(1)</script><img src=x onerror=alert(1)>")""",
    "asks_for_input": "answer = input('the answer, please: ')",
    "syntax_error": "def twice(x) return 2 * x",
    "unknown_magic": "%no_such_magic\ndef twice(x): return x",
    "message_without_an_end": """
import os, socket, struct, threading, time
part = struct.pack(">BQ", 3, 7_000_000) + bytes(7_000_000)  # "more will follow", it says
def pour(descriptor):
    while True:
        left = memoryview(part)
        while left:
            try: left = left[os.write(descriptor, left):]
            except BlockingIOError: pass
def twice(x):
    for name in os.listdir("/proc/self/fd"):
        try:
            connection = socket.socket(fileno=os.dup(int(name)))
            connection.getpeername()
        except OSError: continue
        threading.Thread(target=pour, args=(connection.detach(),), daemon=True).start()
    time.sleep(100)""",
    "closed_descriptors": "import os\ndef twice(x): os.closerange(0, 1000)",
    "another_program": """
import os
def twice(x): os.execvp("sleep", ["sleep", "98765"])""",
    "held_lock": """
import ctypes
def twice(x): ctypes.PyDLL(None).sleep(1000)  # no other thread of Python runs meanwhile""",
    "many_dimensions": """
import base64, json
from d2lcompute.grading import answers
head = json.dumps({"0": {"dtype": "F32", "shape": [1] * 100_000, "data_offsets": [0, 4]}}).encode()
data = len(head).to_bytes(8, "little") + head + bytes(4)
text = json.dumps({"tree": {"tensor": "0"}, "tensors": base64.b64encode(data).decode()})
right = answers.encode
def twice(x):
    def wrong(value):
        answers.encode = right
        return text
    answers.encode = wrong""",
}

# Memory that is charged to nobody, and what else there is to use up.
BREAKING |= {
    "shared_memory_dropped": """
import mmap
kept = []
while True:
    kept.append(mmap.mmap(-1, 1 << 28))
    for page in range(0, 1 << 28, 4096): kept[-1][page] = 1
    kept[-1].madvise(mmap.MADV_DONTNEED)""",
    "mapped_zeros": """
import mmap, os
kept, zeros = [], os.open("/dev/zero", os.O_RDWR)
while True:
    kept.append(mmap.mmap(zeros, 1 << 28))
    for page in range(0, 1 << 28, 4096): kept[-1][page] = 1""",
    "memory_files": "import os\nkept = [os.memfd_create(str(number)) for number in range(100)]",
    "full_pipes": """
import os, time
def fill():
    kept = []
    while True:
        try: kept.append(os.pipe())
        except OSError: break
        os.set_blocking(kept[-1][1], False)
        try:
            while True: os.write(kept[-1][1], bytes(4096))
        except OSError: pass
    time.sleep(100)
for _ in range(200):
    try:
        if os.fork() == 0: fill()
    except OSError: pass
fill()""",
    "pages_in_pipes": """
import ctypes, mmap, os, time
libc, huge = ctypes.CDLL(None, use_errno=True), 1 << 21
kept = []
while True:
    kept.append(os.pipe())
    pages = mmap.mmap(-1, 18 * huge, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(14)  # huge ones, please
    first = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    for place in range(-(-first // huge) * huge, first + 17 * huge, huge):
        ctypes.c_char.from_address(place).value = b"x"
        if libc.vmsplice(kept[-1][1], (ctypes.c_size_t * 2)(place, 1), 1, 0) != 1:
            raise OSError("no page may stay in a pipe")
    libc.munmap(ctypes.c_void_p(first), ctypes.c_size_t(18 * huge))""",
    "full_sockets": """
import socket
kept = []
while True:
    kept.append(socket.socketpair())
    kept[-1][0].setblocking(False)
    kept[-1][0].send(bytes(100_000))""",
    # Memory of Linux itself. Each of these takes little to see whether more could be had.
    "table_of_locks": """
import ctypes
if ctypes.CDLL(None).prctl(78, 1, 1 << 18, 0, 0) == 0:
    def twice(x): return 2 * x""",
    "lists_of_rights": """
import os, struct
entries = [(1, 7, -1), *((2, 7, user) for user in range(8000)), *((tag, 7, -1) for tag in (4, 16, 32))]
rights = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *each) for each in entries)
open("/dev/shm/x", "w").close()
os.setxattr("/dev/shm/x", "system.posix_acl_access", rights)
def twice(x): return 2 * x""",
    "rules_of_landlock": """
import ctypes
libc, rules = ctypes.CDLL(None), (ctypes.c_uint64 * 2)(0, 3)
if libc.syscall(444, rules, ctypes.c_size_t(16), 0) >= 0:
    def twice(x): return 2 * x""",
    "filters_of_ones_own": """
import ctypes, socket, struct
class Program(ctypes.Structure): _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
code = struct.pack("=HBBI", 0, 0, 0, 0) * 4000 + struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
program, libc = Program(len(code) // 8, code), ctypes.CDLL(None)
one = socket.socketpair()[0].detach()
ways = [libc.setsockopt(one, 1, 26, ctypes.byref(program), ctypes.sizeof(program)),
        libc.prctl(22, 2, ctypes.byref(program), 0, 0),
        libc.syscall(317, 1, 0, ctypes.byref(program))]
if 0 in ways:
    def twice(x): return 2 * x""",
    "large_buffers": """
import socket
one, other = socket.socketpair()
for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
    before = one.getsockopt(socket.SOL_SOCKET, option)
    one.setsockopt(socket.SOL_SOCKET, option, 1 << 30)
    if one.getsockopt(socket.SOL_SOCKET, option) > before:
        def twice(x): return 2 * x""",
    "full_terminals": """
import os
kept = []
def twice(x):
    while len(kept) < 250: kept.append(os.openpty())
    return 2 * x""",
    "many_timers": """
import ctypes
libc, kept = ctypes.CDLL(None), []
signal_of_none = (ctypes.c_int * 16)(0, 0, 0, 1)
def twice(x):
    while len(kept) < 20_000:
        kept.append(ctypes.c_int())
        if libc.timer_create(1, signal_of_none, ctypes.byref(kept[-1])): raise OSError
    return 2 * x""",
    "watches_of_watches": """
import os, select, time
def fill():
    kept = [(select.epoll(), os.eventfd(0)) for _ in range(500)]
    for epoll, _ in kept:
        for _, event in kept: epoll.register(event, 0)
for _ in range(60):
    try:
        if os.fork() == 0:
            fill()
            time.sleep(100)
    except OSError: pass
time.sleep(100)
def twice(x): return 2 * x""",
    "many_mappings": """
import mmap
kept = []
while True: kept.append(mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 1 + len(kept) % 2))""",
    "page_tables": """
import mmap, time
unused = mmap.mmap(-1, 1 << 41, 0x4002, mmap.PROT_READ)
for page in range(0, 1 << 41, 1 << 21): unused[page]
time.sleep(100)""",
    "empty_files": """
import itertools
for name in itertools.count(): open(f"/dev/shm/{name}", "w").close()""",
    "deep_folders": """
import os
while True:
    os.mkdir("x")
    os.chdir("x")""",
    "zombies": """
import os, time
for _ in range(1000):
    try:
        if os.fork() == 0: os._exit(0)
    except OSError: pass
def twice(x): time.sleep(0.1)""",
    "busy_neighbour": """
import os, time
for _ in range(30):
    try:
        if os.fork() == 0:
            while True: pass
    except OSError: pass
def twice(x): time.sleep(0.5)""",
    # Ways to end.
    "killed_each_time": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "killed_in_each_check": "import os, signal\ndef twice(x): os.kill(os.getpid(), signal.SIGKILL)",
    "terminated": "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)",
    "aborted": "import os\nos.abort()",
    "segfault_in_solution": "import ctypes\nctypes.string_at(0)",
    "alarm": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.2)\nwhile True: pass",
    "dumped_later": """
import faulthandler, os, time
faulthandler.dump_traceback_later(0.3, exit=True, file=open("/tmp/x", "w"))
def twice(x): time.sleep(1)""",
    "stopped_loop": """
import asyncio
asyncio.get_event_loop().call_soon(asyncio.get_event_loop().stop)
def twice(x): asyncio.get_event_loop().stop()""",
    "shut_down": "get_ipython().kernel.do_shutdown(False)\ndef twice(x): return x",
    "no_more_processor_time": """
import resource
def twice(x):
    resource.setrlimit(resource.RLIMIT_CPU, (0, 0))
    while True: pass""",
    "no_more_files": """
import resource
def twice(x): resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))""",
    "stack_overflow": """
import sys, threading
sys.setrecursionlimit(1 << 30)
def deep(x): return [deep] and map(deep, x) and sorted([1], key=lambda _: deep(x))
def twice(x): return deep([1])""",
    "endless_regex": "import re\ndef twice(x): return re.match('(a*)*b', 'a' * 60)",
    "huge_power": "def twice(x): return 10 ** 10 ** 9",
    "held_forever": """
import threading
lock = threading.Lock()
lock.acquire()
def twice(x): lock.acquire()""",
    # Words that are no words.
    "error_without_text": """
class Silent(Exception):
    def __str__(self): raise ValueError
def twice(x): raise Silent""",
    "error_with_endless_text": """
class Endless(Exception):
    def __str__(self):
        while True: pass
def twice(x): raise Endless""",
    "error_of_half_characters": "def twice(x): raise ValueError('\\ud800' * 1000)",
    "error_of_all_directions": "def twice(x): raise ValueError('\\u202e\\u2066\\x1b[8m\\x00')",
    "error_with_a_strange_name": "def twice(x): raise type('<b>x</b>' * 1000, (Exception,), {})",
    "chain_of_errors": """
def twice(x):
    error = ValueError()
    for _ in range(2000):
        try: raise ValueError from error
        except ValueError as new: error = new
    raise error""",
    "warnings_without_end": """
import warnings
warnings.simplefilter("always")
def twice(x):
    while True: warnings.warn("x" * 10_000)""",
    "displays_without_end": """
from IPython.display import HTML, display
def twice(x):
    while True: display(HTML("<b>" * 10_000))""",
    "cleared_without_end": """
from IPython.display import clear_output
def twice(x):
    while True: clear_output(wait=True)""",
    "displays_changed_to_nonsense": """
kernel = get_ipython().kernel
def show(kind, data):
    content = {"data": data, "metadata": {}, "transient": {"display_id": "x"}}
    kernel.session.send(kernel.iopub_socket, kind, content, parent=kernel.get_parent())
def twice(x):
    show("display_data", {"text/plain": "x"})
    show("update_display_data", "application/vnd.d2lcompute.answer")
    return x""",
    "signed_nonsense": """
kernel = get_ipython().kernel
odd = [[], "x", 0, None, {"x": []}, {"data": [], "metadata": 0}, {"name": {}, "text": []}]
def twice(x):
    for kind in ("stream", "display_data", "error", "clear_output", "execute_result", "status"):
        for content in odd:
            kernel.session.send(kernel.iopub_socket, kind, content, parent=kernel.get_parent())
    return x""",
    "comms": """
from comm import create_comm
def twice(x):
    for _ in range(100): create_comm(target_name="x", data={"x": "y" * 1000})
    return x""",
    "broken_stdout": "import sys\nsys.stdout = sys.stderr = None\ndef twice(x): return x",
    "modules_gone": """
import sys
def twice(x):
    for name in list(sys.modules):
        if name.startswith(("d2l", "json")): del sys.modules[name]
    return x""",
    "folder_gone": """
import os, shutil
os.mkdir("/tmp/x"); os.chdir("/tmp/x"); os.rmdir("/tmp/x")
def twice(x): return x""",
    "slow_trace": "import sys\nsys.settrace(lambda *_: None)\ndef twice(x): return x",
    "shell_that_lies": """
shell = get_ipython()
def twice(x):
    shell.run_cell = shell.run_cell_async = lambda *_, **__: None
    return x""",
    "answers_in_a_child": """
import os
def twice(x):
    if os.fork() == 0: return 2 * x
    return x""",
}
