"""A kernel without a process, for what happens around kernels."""

from nbformat.v4 import new_output

from d2lcompute.grading import answers
from d2lcompute.notebooks.cell import (
    CellError,
    CellTimeoutError,
    KernelDiedError,
    KernelError,
    KernelKilledError,
    ProtocolError,
    Result,
)

ERRORS = (KernelDiedError, KernelKilledError, CellTimeoutError, ProtocolError)


class FakeKernel:
    """Runs code in this process; it has `answer`, and what a hostile kernel may do."""

    why_cold = None
    started = 0

    def __init__(self):
        type(self).started += 1
        self.alive, self.shown = True, []
        self.names = {error.__name__: error for error in ERRORS}
        self.names |= {"answer": self.answer, "show": self.show, "fail": self.fail, "ran": []}
        self.names["number"] = type(self).started

    def run(self, code, timeout):
        self.shown = []
        head, _, body = code.partition("\n")
        code = body if head.startswith("from d2lcompute") else code
        try:
            exec(code, self.names)
            error = None
        except KernelError:
            raise
        except Exception as problem:
            error = CellError(type(problem).__name__, str(problem), ())
        return Result(tuple(self.shown), error, 0.0)

    def answer(self, value):
        self.show({answers.MIME: answers.encode(value)})

    def show(self, data, kind="display_data"):
        self.shown.append(new_output(kind, data))

    def fail(self, error, dies=True):
        self.alive = not dies
        raise error

    def is_alive(self):
        return self.alive

    def close(self):
        self.alive = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
