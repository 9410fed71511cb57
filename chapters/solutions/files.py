"""One right answer to each exercise of section 6; many others pass as well."""

import warnings

import torch

import d2lcompute as d2c


def save_state(path, net, optimizer):
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, path)


def load_state(path, net, optimizer):
    state = torch.load(path, weights_only=True)
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])


def reuse(path, net):
    state = {name: value for name, value in d2c.load(path).items() if name[0] in "02"}
    net.load_state_dict(state, strict=False)


def save_whole(path, net, X):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(net, (X,)), path)


def load_whole(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.load(path).module()


ANSWERS = {
    "files.why": (save_state, load_state),
    "files.first-two": reuse,
    "files.architecture": (save_whole, load_whole),
}
