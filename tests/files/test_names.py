import pytest
import torch
from fingerprint import unchanged
from torch import nn
from torch.testing import assert_close

import d2lcompute as d2c


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def same(left, right):
    assert_close(left, right, rtol=0, atol=0)


def test_names_are_mapped_by_a_dict_or_a_function(path):
    old = nn.Sequential(nn.Linear(2, 2))
    d2c.save_parameters(old, path)
    for rename in ({"0.weight": "weight", "0.bias": "bias"}, lambda name: name.removeprefix("0.")):
        new = nn.Linear(2, 2)
        d2c.load_parameters(new, path, rename=rename)
        same(dict(new.state_dict()), dict(old[0].state_dict()))


def test_a_prefix_stands_for_all_names_below_it(path):
    d2c.save_parameters(d2c.MLP(in_units=20), path)
    new = nn.ModuleDict({"body": nn.Linear(20, 256), "out": nn.Linear(256, 10)})
    for rename in ({"hidden": "body"}, {"hidden.": "body."}, {"hidden.weight": "body.weight",
                                                             "hidden": "body"}):  # fmt: skip
        assert d2c.load_parameters(new, path, rename=rename).misfits == ()
    outer = nn.ModuleDict({"net": d2c.MLP(in_units=20)})
    d2c.load_parameters(outer, path, rename={"": "net"})
    d2c.save_parameters(outer, path)
    d2c.load_parameters(d2c.MLP(in_units=20), path, rename={"net": ""})


def test_the_longest_name_wins_and_ends_at_a_dot(path):
    d2c.save(path, {name: torch.ones(1) for name in ("a.b.w", "a.b.v", "a.w", "ab.w")})
    found = d2c.compare(nn.Module(), path, rename={"a": "x", "a.b": "y", "a.b.w": "z"})
    assert set(found) == {"z", "y.v", "x.w", "ab.w"}


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ({"0.wieght": "weight"}, r"names that the file has, or prefixes of them, got '0.wieght'; "),
        ({"0.w": "weight"}, "or prefixes of them, got '0.w'; do choose among '0.weight', '0.bias'"),
        ({"0.weight": "0.bias"}, r"must give each name one of its own, got '0.bias' for '0.bias'"),
        ("weight", "must be a dict from names to names or a function, got str"),
        ({0: "weight"}, r"must be a dict from names to names or a function, got \{0: 'weight'\}"),
        ({"0.weight": None}, r"got \{'0.weight': None\}; do rename=\{'name in the file'"),
        (lambda name: "same", "must give each name one of its own, got 'same' for '0.bias'"),
        (lambda name: None, "must give each name one of its own, got None for '0.weight'"),
    ],
)
def test_a_rename_that_cannot_be_meant_is_an_error(path, rename, message):
    d2c.save_parameters(nn.Sequential(nn.Linear(2, 2)), path)
    net = nn.Linear(2, 2)
    with unchanged(net), pytest.raises((TypeError, ValueError), match=message):
        d2c.load_parameters(net, path, rename=rename)


# what DataParallel, torch.compile and the like make of names


def chain(*more):
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2), *more)


class Wrapper(nn.Module):
    """Hold a net under the name that a wrapper of torch gives it."""

    def __init__(self, name, net):
        super().__init__()
        setattr(self, name, net)


def compiled(net):
    return torch.compile(net, backend="eager")


def inside_compiled(net):
    net[2] = compiled(net[2])
    return net


WRAPPED = {
    "DataParallel": nn.DataParallel,
    "compile": compiled,
    "compiled and parallel": lambda net: nn.DataParallel(compiled(net)),
    "parallel and compiled": lambda net: compiled(nn.DataParallel(net)),
    "a compiled part": inside_compiled,
    "FSDP": lambda net: Wrapper("_fsdp_wrapped_module", net),
    "checkpoint": lambda net: Wrapper("_checkpoint_wrapped_module", net),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapper_around_the_saved_net_or_the_loading_one_is_no_misfit(path, name):
    wrap, plain = WRAPPED[name], chain()
    wrapped, net = wrap(chain()), chain()
    for save in (d2c.save_parameters, lambda net, path: torch.save(net.state_dict(), path)):
        save(wrapped, path)
        report = d2c.load_parameters(net, path)
        same([*net.parameters()], [*wrapped.parameters()])
        assert set(report) == set(net.state_dict())
        assert "without what DataParallel or torch.compile adds" in repr(report)
        save(plain, path)
        d2c.load_parameters(wrapped, path)
        same([*wrapped.parameters()], [*plain.parameters()])
        assert d2c.compare(wrapped, path).misfits == ()


def test_names_that_fit_as_they_are_are_left_alone(path):
    net = Wrapper("module", chain())
    d2c.save_parameters(net, path)
    assert d2c.load_parameters(net, path).notes == ()


# checkpoints: dicts in which the net is one of several things


def optimizer_state(net):
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.rand(2, 3)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize("save", [d2c.save, lambda path, data: torch.save(data, path)])
@pytest.mark.parametrize("key", ["model", "state_dict", "net", "weights"])
def test_the_net_in_a_checkpoint_is_found(path, save, key):
    net, twin = chain(), chain()
    rest = {"optimizer": optimizer_state(net), "epoch": 3, "random": torch.get_rng_state()}
    save(path, {key: net.state_dict(), **rest})
    report = d2c.load_parameters(twin, path)
    same(dict(twin.state_dict()), dict(net.state_dict()))
    assert report.notes == (f"taken from `{key}`, beside `optimizer`, `epoch`, `random`",)


def test_a_net_deep_in_a_checkpoint_and_a_wrapped_one_are_found(path):
    net = chain()
    torch.save({"agent": {"actor": nn.DataParallel(net).state_dict(), "steps": 3}}, path)
    report = d2c.load_parameters(chain(), path)
    assert report.notes[0] == "taken from `agent.actor`"
    assert "`module.0.weight` is `0.weight` and so on, 4 names" in report.notes[1]


def test_of_several_nets_the_one_with_these_names_is_meant(path):
    class Two(nn.Module):
        def __init__(self, **nets):
            super().__init__()
            for name, net in nets.items():
                setattr(self, name, net)

    generator, discriminator = Two(up=nn.Linear(2, 3)), Two(down=nn.Linear(3, 1))
    parts = {"generator": generator, "discriminator": discriminator}
    torch.save({name: net.state_dict() for name, net in parts.items()}, path)
    for name, net in parts.items():
        assert d2c.load_parameters(net, path).notes[0].startswith(f"taken from `{name}`")
    assert d2c.load_parameters(Two(**parts), path).misfits == ()


def test_two_nets_with_the_same_names_must_be_told_apart(path):
    old, average, net = chain(), chain(), chain()
    torch.save({"model": old.state_dict(), "ema": average.state_dict()}, path)
    with unchanged(net), pytest.raises(d2c.FileError, match="several: model, ema") as caught:
        d2c.load_parameters(net, path)
    line = str(caught.value).partition("the first by ")[2]
    eval(line, {"load_parameters": d2c.load_parameters, "net": net})
    same(dict(net.state_dict()), dict(old.state_dict()))
    d2c.load_parameters(net, path, rename={"ema": ""}, ignore_extra=True)
    same(dict(net.state_dict()), dict(average.state_dict()))


def test_numbers_beside_tensors_are_extra_and_not_a_crash(path):
    net = chain()
    torch.save({**net.state_dict(), "epoch": 3, "classes": ["cat", "dog"]}, path)
    with unchanged(net), pytest.raises(d2c.FileError, match="epoch: int in the file"):
        d2c.load_parameters(net, path)
    d2c.load_parameters(net, path, ignore_extra=True)


@pytest.mark.parametrize("data", [torch.ones(2), [torch.ones(2)], {1: torch.ones(2)}, 3, None])
def test_what_holds_no_names_is_refused_with_the_way_out(path, data):
    torch.save(data, path)
    with pytest.raises(d2c.FileError, match=r"must hold tensors by name, .*; .* do load\(path\)"):
        d2c.load_parameters(chain(), path)
