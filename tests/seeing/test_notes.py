"""Notes tell which way a value decided, and what a step reads."""

import pytest
import torch
from torch import nn

import d2lcompute as d2c


class Deciding(nn.Module):
    """A net that asks `question` of its input, and goes on accordingly."""

    def __init__(self, question):
        super().__init__()
        self.yes, self.no, self.question = nn.Linear(2, 2), nn.Linear(2, 2), question

    def forward(self, X):
        return self.yes(X) if self.question(X) else self.no(X)


QUESTIONS = {
    "of a step": (lambda X: X.sum() > 0, "sum > 0"),
    "of several": (lambda X: X.abs().max() >= 1, "abs.max >= 1"),
    "without a sign": (lambda X: torch.isnan(X).any(), "isnan.any"),
    "of the value itself": (lambda X: X.reshape(-1)[0], "reshape[0]"),
    "of two": (lambda X: X.sum() > X.mean(), "sum >"),
}


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_branch_that_was_taken_says_why(name, sign):
    question, words = QUESTIONS[name]
    net, X = Deciding(question), sign * torch.ones(1, 2) * 3
    taken = "yes" if question(X) else "no"
    alt = d2c.draw(net, X).alt
    truth = "true" if question(X) else "false"
    assert f"{taken}: Linear, 6 parameters, as {words} is {truth}" in alt
    assert ("yes" in alt, "no:" in alt).count(True) == 1


def test_a_loop_says_why_it_goes_on_and_ends():
    class Halving(nn.Module):
        def forward(self, X):
            while X.sum() > 1:
                X = X / 2
            return X.relu()

    alt = d2c.draw(Halving(), torch.ones(1, 8)).alt
    assert "/ 2 (3 in a row), as sum > 1 is true" in alt
    assert "relu, as sum > 1 is false" in alt


def test_a_reason_is_told_once_and_only_of_what_follows():
    class Asking(nn.Module):
        def forward(self, X):
            X = X + 1
            if X.sum() > 1:
                X = X * 2
            return X.relu()

    alt = d2c.draw(Asking(), torch.ones(1, 8)).alt
    assert "+ 1, gives" in alt
    assert "* 2, as sum > 1 is true, gives" in alt
    assert "relu, gives" in alt


def test_shapes_decide_nothing():
    class Asking(nn.Module):
        def forward(self, X):
            return X.relu() if X.shape[0] > 1 else X

    assert "as " not in d2c.draw(Asking(), (4, 2)).alt


def held_net():
    class Holding(nn.Module):
        def __init__(self):
            super().__init__()
            self.plain, self.weight = torch.ones(2), nn.Parameter(torch.ones(2))
            self.register_buffer("scale", torch.ones(2))

        def forward(self, X):
            return (X * self.scale + self.plain) * self.scale * self.weight

    return nn.Sequential(Holding())


def test_a_buffer_and_a_constant_are_small_boxes_and_a_parameter_is_a_note():
    drawn = d2c.draw(held_net(), torch.rand(1, 2))
    texts = [text.get_text() for text in drawn.ax.texts]
    assert [text for text in texts if "(2,)" in text] == ["scale (2,)", "plain (2,)"]
    assert "weight" in texts
    assert "*, from input" not in drawn.alt
    assert "+, from * and plain (2,), gives (1, 2)" in drawn.alt


def test_the_parameters_of_a_loop_are_named_as_its_block_knows_them():
    class Reading(nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = nn.ParameterList(torch.ones(2) for _ in range(4))
            self.biases = nn.ParameterDict({"last": torch.ones(2)})

        def forward(self, X):
            for weight in self.weights:
                X = (X * weight).relu()
            return X + self.biases["last"]

    for net in (Reading(), nn.Sequential(Reading())):
        texts = [text.get_text() for text in d2c.draw(net, torch.rand(1, 2)).ax.texts]
        assert {"weights.0 to 3", "biases.last"} <= set(texts)


@pytest.mark.parametrize("times", [2, 3])
def test_a_stack_is_explained_where_there_is_one(times):
    layer = nn.Linear(2, 2)
    same = d2c.draw(nn.Sequential(layer, layer), torch.rand(1, 2))
    alike = d2c.draw(nn.Sequential(*(nn.Linear(2, 2) for _ in range(times))), torch.rand(1, 2))
    shown = ["alike ones" in str([text.get_text() for text in d.ax.texts]) for d in (same, alike)]
    assert shown == [False, times > 2]


def test_the_table_tells_what_a_step_reads():
    rows = repr(d2c.trace(held_net(), torch.rand(1, 2))).splitlines()
    reading = [row.split("  ")[-1].strip() for row in rows if "reads" in row]
    assert reading == ["reads 0.scale", "reads 0.plain", "reads 0.scale"]


def test_a_held_tensor_that_several_blocks_read_is_in_each():
    scale = torch.ones(2)

    class Scaling(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("scale", scale)

        def forward(self, X):
            return X * self.scale

    alt = d2c.draw(nn.Sequential(*(Scaling() for _ in range(3))), torch.rand(1, 2)).alt
    assert "0 to 2: Scaling (3 in a row)" in alt
    assert "scale (2,)" in alt
