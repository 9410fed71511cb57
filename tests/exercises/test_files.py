"""What students really answer to the exercises of section 6, and the hint that they get."""

import pytest
import torch

import d2lcompute as d2c


def save_net(path, net, optimizer):
    torch.save(net.state_dict(), path)


def load_net(path, net, optimizer):
    net.load_state_dict(torch.load(path, weights_only=True))


def load_nothing(path, net, optimizer):
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ((save_net, load_net), "The values came back, but three steps later"),
        ((save_net, load_nothing), "Right after loading, the new net does not"),
        (save_net, "Two functions are wanted"),
    ],
)
def test_why_hints_at_what_is_wrong(said, answer, hint):
    assert said("files.why", answer)[-1].startswith(f"hint  {hint}")


def load_all(path, net):
    net.load_state_dict(d2c.load(path), strict=False)


def load_all_of_ours(path, net):
    d2c.load_parameters(net, path, allow_missing=True, ignore_extra=True)


def first_only(path, net):
    state = {name: value for name, value in d2c.load(path).items() if name[0] == "0"}
    net.load_state_dict(state, strict=False)


def wanted(path):
    return {name: value for name, value in d2c.load(path).items() if name[0] in "02"}


def assigned(path, net):
    net.load_state_dict(wanted(path), strict=False, assign=True)


def frozen(path, net):
    net.load_state_dict(wanted(path), strict=False)
    net[0].requires_grad_(False)


def zeroed(path, net):
    net.load_state_dict(wanted(path), strict=False)
    torch.nn.init.zeros_(net[4].bias)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (load_all, "The last layer of the file does not fit"),
        (load_all_of_ours, "The last layer of the file does not fit"),
        (first_only, "Layers 0 and 2 do not have the values"),
        (zeroed, "The last layer changed"),
        (assigned, "The net has new parameter objects"),
        (frozen, "Some parameters no longer want a gradient"),
    ],
)
def test_first_two_hints_at_what_is_wrong(said, answer, hint):
    assert said("files.first-two", answer)[-1].startswith(f"hint  {hint}")


def pickle_net(path, net, X):
    torch.save(net, path)


def test_architecture_says_what_pickle_would_keep(said):
    answer = pickle_net, torch.load
    assert said("files.architecture", answer)[-1].startswith("hint  That file would hold the name")


def test_architecture_notices_a_wrong_net(said):
    answer = (lambda path, net, X: None), (lambda path: torch.relu)
    assert said("files.architecture", answer)[-1].startswith("hint  What was loaded does not")
