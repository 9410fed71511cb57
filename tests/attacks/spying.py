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
