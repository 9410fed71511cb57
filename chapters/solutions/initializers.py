"""One right answer to each exercise of section 3; many others pass as well."""

import torch

import d2lcompute as d2c
from d2lcompute import initializers as init


def choose(depth):
    return init.Xavier(gain=5 / 3)


class Ternary(init.Initializer):
    def _init_weight(self, name, data):
        coins = torch.randint(0, 2, (2, *data.shape))
        data.copy_(coins[0] - coins[1])


def xavier_one(net, name):
    d2c.initialize(net.get_parameter(name), init.Xavier(), force_reinit=True)


ANSWERS = {
    "initializers.builtin": choose,
    "initializers.custom": Ternary,
    "initializers.one-parameter": xavier_one,
}
