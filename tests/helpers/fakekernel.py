"""A kernel without a process, for what happens around kernels."""

import contextlib
import json
import random
from types import SimpleNamespace

from nbformat.v4 import new_output

from d2lcompute.grading import answers, bench
from d2lcompute.notebooks.cell import (
    CellError,
    CellTimeoutError,
    KernelDiedError,
    KernelError,
    KernelKilledError,
    MemoryLimitError,
    ProtocolError,
    Result,
)

NOT_HERE = (  # what would change this process
    "from d2lcompute.grading.answers import prepare",
    "from d2lcompute.grading.rules import watch",
)
ERRORS = (KernelDiedError, KernelKilledError, MemoryLimitError, CellTimeoutError, ProtocolError)


class FakeKernel:
    """Runs code in this process; it has `answer`, and what a hostile kernel may do."""

    why_cold = None
    started = 0

    def __init__(self):
        type(self).started += 1
        self.alive, self.shown, self.spent = True, [], 0.0
        self.names = {error.__name__: error for error in ERRORS}
        self.names |= {"answer": self.answer, "show": self.show, "fail": self.fail, "ran": []}
        self.names |= {"number": type(self).started, "slow": self.slow, "draw": random.random}

    def run(self, code, timeout):
        self.shown = []
        head, _, arguments = code.partition(" as _; _")
        try:
            if head == "from d2lcompute.grading.answers import ask":
                self.ask(*eval(arguments))
            elif head == "from d2lcompute.grading.bench import run":
                self.names["answer"] = answers.answer
                shell = SimpleNamespace(user_ns=self.names, run_cell=self.run_cell)
                shell.transform_cell = str
                self.show({answers.MIME: json.dumps(bench.tally(shell, eval(arguments), False))})
            elif head not in NOT_HERE:
                exec(code, self.names)
            error = None
        except KernelError as problem:
            problem.began = getattr(problem, "began_here", True)
            raise
        except Exception as problem:
            error = CellError(type(problem).__name__, str(problem), ())
        return Result(tuple(self.shown), error, 0.0)

    def ask(self, seeds, source, go_on):
        draws, kept = [], dict(self.names)
        for seed in seeds:
            random.seed(seed)
            self.given = []
            try:
                exec(source, self.names)
            except KernelError:
                raise
            except Exception:
                if not go_on:
                    raise
                self.given.clear()
            draws.append(self.given)
        self.names.clear()
        self.names.update(kept)
        self.show({answers.MIME: json.dumps(draws)})

    def run_cell(self, source, **_):
        with contextlib.suppress(Exception):
            exec(source, self.names)

    def answer(self, value):
        self.given.append(answers.encode(value))

    def show(self, data, kind="display_data"):
        self.shown.append(new_output(kind, data))

    def fail(self, error, dies=True, began=True):
        self.alive = not dies
        error.began_here = began
        raise error

    def slow(self, seconds):
        self.spent += seconds

    def is_alive(self):
        return self.alive

    def close(self):
        self.alive = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
