"""Kill saves at random moments: `python tests/helpers/killed_saves.py 200` prints what was found.

After each kill the file must hold one of the values saved, whole, and never an earlier one than
a save that had returned. Exits with an error if not.
"""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

import d2lcompute as d2c

SIZE = 300_000


def save_forever(path, start, done):
    for number in range(start, 10**9):
        d2c.save(path, {"x": torch.full((SIZE,), number), "y": torch.full((3,), number)})
        os.pwrite(done, number.to_bytes(8, "little"), 0)


def kill_one(path, start, done, delay):
    """Return the number in the file after a child that saves ever higher ones was killed."""
    os.pwrite(done, (start - 1).to_bytes(8, "little"), 0)
    child = os.fork()
    if not child:
        save_forever(path, start, done)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    returned = int.from_bytes(os.pread(done, 8, 0), "little")
    found = d2c.load(path)
    (number,) = {*found["x"].tolist(), *found["y"].tolist()}
    assert found["x"].shape == (SIZE,)
    assert returned <= number <= returned + 1, (returned, number)
    return number


def main(kills):
    torch.set_num_threads(1)
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        path, number = Path(folder) / "x.safetensors", 0
        d2c.save(path, {"x": torch.full((SIZE,), 0), "y": torch.full((3,), 0)})
        done = os.open(Path(folder) / "done", os.O_RDWR | os.O_CREAT)
        for _ in range(kills):
            number = kill_one(path, number + 1, done, draw.uniform(0, 0.04))
        inside = len(list(Path(folder).glob("*.tmp")))
    print(f"{kills} kills, {inside} of them inside a save, {number} saves, every file whole")


if __name__ == "__main__":
    main(int(sys.argv[1]))
