"""The shipped assignment's checks are strong; some that were weak once would be found today.

`d2lcompute examine chapters/assignment/reference.md` asks the same under thousands of seeds.
"""

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from handins import Here

from d2lcompute.grading import examine as examining
from d2lcompute.grading.assignment import Cell, load
from d2lcompute.grading.attempt import Conditions
from d2lcompute.grading.examine import constants, examine, findings

REFERENCE = Path(__file__).parents[2] / "chapters" / "assignment" / "reference.md"
EACH = 4  # of the small mistakes that `examine` tries
FIRST_SEED = 600  # under 612, 633 and 642 the layer of the former `settle-steps` never settles


@pytest.fixture(scope="module")
def assignment():
    return load(REFERENCE)


@pytest.fixture
def found_in(monkeypatch):
    """Examine an assignment under so many seeds, the same in every run."""
    numbers = count(FIRST_SEED)
    monkeypatch.setattr(examining.secrets, "randbits", lambda bits: next(numbers))

    def run(assignment, seeds):
        conditions = Conditions(allow_unisolated=True)
        *_, (_, found) = examine(assignment, conditions, Here(), seeds)
        return [*findings(assignment, found), *constants(assignment, found).values()]

    return run


def test_the_shipped_assignment_has_no_weak_check(assignment, found_in, monkeypatch):
    every = examining.candidates(assignment)
    mistakes = [each for each in every if each.kind == "changed"]
    some = [each for each in every if each not in mistakes] + mistakes[::EACH]
    monkeypatch.setattr(examining, "candidates", lambda _: some)
    assert found_in(assignment, seeds=20) == []


FORMER_SETTLE = """
X, layer, calls = torch.randn(4, 6, 5), nn.Linear(5, 5), []
layer.register_forward_hook(lambda *_: calls.append(1))
found = []
for batch, steps in zip(X, (1, 3, 50, 50)):
    calls.clear()
    found.append([Settle(layer, steps)(batch), len(calls)])
Settle(layer, 5)(X[0]).sum().backward()
d2c.grading.answer([found, layer.weight.grad])
"""
FORMER_SPARSE = """
weight, count = torch.ones(4000, 20), torch.randint(4, 9, ()).item()
sparse_(weight, count, 1.0)
d2c.grading.answer({"in each row": (weight != 0).sum(1), "values": weight[weight != 0].std()})
"""
FORMER_CENTER = """
X, momentum = 2 + torch.randn(4, 6, 5, requires_grad=True), 0.1 + torch.rand(()).item() / 2
net = nn.Sequential(nn.Linear(5, 5), RunningCenter(5, momentum))
weight, bias = torch.randn(5, 5), torch.randn(5)
net[0].load_state_dict({"weight": weight, "bias": bias})
sum(net(batch).square().sum() for batch in X).backward()
saved = net.state_dict()
other = nn.Sequential(nn.Linear(5, 5), RunningCenter(5, momentum)).double().eval()
other.load_state_dict(saved)
names = [name for name, _ in net.named_parameters()]
d2c.grading.answer([names, saved, X.grad, other(X[0].double()), net.eval()(X[1]), net(X[1])])
"""
ALWAYS_THE_SAME = """
torch.manual_seed(0)
X, block = torch.randn(2, 4), Gated(nn.Linear(4, 4))
d2c.set_data(block.gate, torch.rand(()))
d2c.grading.answer(block(X))
"""
ONLY_A_SHAPE = """
X, layer = torch.randn(4, 6, 5), nn.Linear(5, 5)
d2c.grading.answer([list(Settle(layer, steps)(X[0]).shape) for steps in (1, 3)])
"""
# A value is 0 far more often than `torch.randn` draws one, and still rarely.
ROUNDED = """
# values that are rounded
def sparse_(weight, count, sigma, generator=None):
    places = torch.rand(weight.shape, generator=generator).argsort(dim=1)[:, :count]
    values = sigma * torch.randn(places.shape, generator=generator).mul(4e4).round().div(4e4)
    with torch.no_grad():
        weight.zero_().scatter_(1, places, values)
"""
# what was asked in place of today's check, another right answer, and what is found
FORMER = {
    "a loop that need not stop early": (
        ("settle", "settle-steps", FORMER_SETTLE, ""),
        "check settle-steps passes a wrong answer by luck, 'wrong: it never stops early'",
    ),
    "zeros that are drawn by chance": (
        ("sparse", "sparse-distribution", FORMER_SPARSE, ROUNDED),
        "check sparse-distribution fails a right answer, 'also-right: values that are rounded'",
    ),
    "inputs that never change": (
        ("gated", "gated-training", ALWAYS_THE_SAME, ""),
        "check gated-training answers the same under all seeds",
    ),
    "a shape alone": (
        ("settle", "settle-steps", ONLY_A_SHAPE, ""),
        "check settle-steps answers the same under all seeds",
    ),
    "a result that is cut off from the graph": (
        ("running-center", "running-center-saved", FORMER_CENTER, ""),
        "no check of running-center sees a mistake, line 10: a detached result",
    ),
}


def question(assignment, solution, check, source, right):
    """One question alone, one of its checks with another `source`, if there is one."""
    first, *rest = assignment.cells
    start = next(place for place, cell in enumerate(rest) if cell.id == solution)
    end = start + 3  # each has two checks
    cells = [first, *rest[start:end]]
    if source:
        cells = [replace(each, source=source) if each.id == check else each for each in cells]
    others = [cell for cell in assignment.others if cell.id == solution]
    others += [Cell(right, "also-right", solution)] if right else []
    return replace(assignment, cells=tuple(cells), others=tuple(others))


@pytest.mark.parametrize(("former", "finding"), FORMER.values(), ids=FORMER)
def test_a_check_that_was_weak_once_would_be_found(assignment, found_in, former, finding):
    lines = found_in(question(assignment, *former), seeds=60)
    assert any(line.startswith(finding) for line in lines), lines


def test_today_a_zero_by_chance_costs_nothing(assignment, found_in):
    today = question(assignment, "sparse", "sparse-distribution", "", ROUNDED)
    assert found_in(today, seeds=60) == []
