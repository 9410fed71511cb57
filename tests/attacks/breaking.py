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
