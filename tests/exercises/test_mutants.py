"""Small mistakes in the stored solutions: each is refused, or makes no difference."""

import sys

import pytest
from mutants import mutants
from stored_answers import FILE, defined

from d2lcompute.exercises.exercise import SOLUTION, exercises
from d2lcompute.exercises.judge import judge

MOST_LINES = 30_000  # of an answer: what runs longer does not end

COPY = "a copy of it is as good here"
NUMBER = "any number will do here"
# What passes although it was changed, and why it is right as well.
EQUIVALENT = {
    "blocks.list": {
        "2 -> 3": NUMBER,
        "0.1 -> 1.1": NUMBER,
        "broken: net = __import__('copy').deepcopy(net)": COPY,
    },
    "blocks.parallel": {"-1 -> 1": "for matrices it is the same axis"},
    "blocks.super": {"without: super().__init__()": "what comes after the assignment is not asked"},
    "blocks.item": {
        "X.abs().sum(dim=1, keepdim=True) > 1 -> X.abs().sum(dim=1, keepdim=True) >= 1": (
            "no random sum is exactly 1"
        ),
    },
    "parameters.nested": {"biases: net = __import__('copy').deepcopy(net)": COPY},
    "parameters.tied-training": {"watch: X = __import__('copy').deepcopy(X)": COPY},
    "parameters.before-forward": {"known: net = __import__('copy').deepcopy(net)": COPY},
    "initializers.custom": {"2 -> 3": "a third coin is not looked at"},
    "lazy.first-only": {
        "without: nn.init.normal_(data)": "only the names are asked for",
        "without: nn.init.zeros_(data)": "only the names are asked for",
        "moments: net = __import__('copy').deepcopy(net)": COPY,
        "moments: X = __import__('copy').deepcopy(X)": COPY,
        "_init_weight: data = __import__('copy').deepcopy(data)": "only the names are asked for",
        "_init_bias: data = __import__('copy').deepcopy(data)": "only the names are asked for",
    },
    "lazy.mismatch": {
        "return None -> None": "a function without a return gives None",
        "first_misfit: net = __import__('copy').deepcopy(net)": COPY,
        "first_misfit: X = __import__('copy').deepcopy(X)": COPY,
    },
    "lazy.new-shape": {"accepts: net = __import__('copy').deepcopy(net)": COPY},
    "lazy.optimizer": {"prepare: X = __import__('copy').deepcopy(X)": COPY},
    "layers.rows": {"-1 -> 1": "for matrices it is the same axis"},
    "layers.fourier": {"-1 -> 1": "for matrices it is the same axis"},
    "layers.own": {"X * self.scale -> X / self.scale": "it is another layer, and a good one"},
    "files.why": {
        "True -> False": "the file is the reader's own",
        "save_state: net = __import__('copy').deepcopy(net)": COPY,
        "save_state: optimizer = __import__('copy').deepcopy(optimizer)": COPY,
    },
    "files.architecture": {
        "without: warnings.simplefilter('ignore')": "it warns, and works",
        "save_whole: net = __import__('copy').deepcopy(net)": COPY,
        "save_whole: X = __import__('copy').deepcopy(X)": COPY,
    },
    "files.resume": {
        "1 -> 2": "where counting begins makes no difference",
        "True -> False": "the file is the reader's own",
    },
    "files.keys": {
        "adapt: state = __import__('copy').deepcopy(state)": COPY,
        "adapt: net = __import__('copy').deepcopy(net)": COPY,
    },
    "devices.matmul": {
        "A.to(device) @ B.to(device) -> A.to(device) * B.to(device)": (
            "only what crosses over is measured"
        ),
    },
    "devices.two": {
        "both: A = __import__('copy').deepcopy(A)": COPY,
        "both: B = __import__('copy').deepcopy(B)": COPY,
    },
    "devices.leak": {"mean_loss: net = __import__('copy').deepcopy(net)": COPY},
    "symptoms.not-learning": {"stuck: net = __import__('copy').deepcopy(net)": COPY},
    "symptoms.missing-keys": {"load_fitting: state = __import__('copy').deepcopy(state)": COPY},
    "symptoms.shared-memory": {"save_tied: net = __import__('copy').deepcopy(net)": COPY},
    "symptoms.memory-grows": {
        "h.detach() -> h.detach().detach()": "it has no graph already",
        "h.detach() -> h.detach().data": "it has no graph already",
        "follow: h = __import__('copy').deepcopy(h)": COPY,
    },
    "symptoms.loss-jumps": {
        "save_all: net = __import__('copy').deepcopy(net)": COPY,
        "save_all: optimizer = __import__('copy').deepcopy(optimizer)": COPY,
        "save_all: scheduler = __import__('copy').deepcopy(scheduler)": COPY,
    },
    "symptoms.other-each-time": {
        "net(X) -> net(X).detach()": "it has no graph already",
        "net(X) -> net(X).data": "it has no graph already",
        "predict: net = __import__('copy').deepcopy(net)": COPY,
        "predict: X = __import__('copy').deepcopy(X)": COPY,
    },
}


class EndlessError(BaseException):
    """No `except Exception` of an answer may catch it."""


def limited(function):
    """Run `function`, but end an answer that does not end of itself."""
    lines = 0

    def count(frame, event, argument):
        nonlocal lines
        lines += 1
        if lines > MOST_LINES:
            raise EndlessError
        return count

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: count if frame.f_code.co_filename == FILE else None)
    try:
        return function()
    finally:
        sys.settrace(before)


def passes(exercise, code):
    try:
        return not limited(lambda: judge(exercise, defined(code))).failed
    except (EndlessError, Exception):  # nor does a class that cannot even be made
        return False


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("exercise", exercises(), ids=lambda one: one.name)
def test_a_solution_with_a_small_mistake_is_refused(exercise):
    (solution,) = exercise.material.answers[SOLUTION]
    passing = {said for said, code in mutants(solution) if passes(exercise, code)}
    assert passing == set(EQUIVALENT.get(exercise.name, {}))
