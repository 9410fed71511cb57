"""The chapter's nets and twenty of well-known shape, small, each with inputs that it takes.

`CHAPTER` and `WELL_KNOWN` map a name to a function that returns `(net, inputs)`. Every net is
clean: each parameter is registered, reached and trained by a forward pass on the inputs.
"""

import nets_convolutional as convolutional
import nets_sequence as sequence
import torch
from torch import nn
from torch.nn import functional as F

import d2lcompute as d2c


class Function(nn.Module):
    """A function as a block."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def mlp():
    return d2c.mlp(32, 32, 10, in_units=20), (torch.rand(8, 20),)


def autoencoder():
    encoder = nn.Sequential(nn.Linear(20, 8), nn.Tanh(), nn.Linear(8, 2))
    decoder = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 20))
    return nn.Sequential(encoder, decoder), (torch.rand(8, 20),)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 8))

    def forward(self, left, right):
        return F.cosine_similarity(self.encoder(left), self.encoder(right))


def siamese():
    return Siamese(), (torch.rand(8, 20), torch.rand(8, 20))


class MixtureOfExperts(nn.Module):
    def __init__(self, width=16, experts=4):
        super().__init__()
        self.gate = nn.Linear(width, experts)
        self.experts = nn.ModuleList(sequence.feed_forward(width) for _ in range(experts))

    def forward(self, X):
        weights = self.gate(X).softmax(dim=-1)  # (n, experts)
        outputs = torch.stack([expert(X) for expert in self.experts], dim=-1)  # (n, width, experts)
        return (outputs * weights.unsqueeze(-2)).sum(dim=-1)


def mixture_of_experts():
    net = nn.Sequential(nn.Linear(8, 16), MixtureOfExperts(), nn.Linear(16, 2))
    return net, (torch.randn(4, 8),)


def two_line_net():
    return d2c.mlp(256, 10, in_units=20), (torch.rand(2, 20),)


def chimera():
    net = nn.Sequential(d2c.NestMLP(20), nn.Linear(16, 20), d2c.FixedHiddenMLP())
    return net, (torch.rand(2, 20),)


def block_factory():  # so narrow that with some seeds all ReLUs of a layer are dead
    def block():
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU())

    blocks = nn.Sequential(*(block() for _ in range(4)))
    return nn.Sequential(blocks, nn.Linear(4, 1)), (torch.rand(2, 4),)


def shared_layer():
    shared = nn.Linear(8, 8)
    layers = [nn.Linear(4, 8), nn.ReLU(), shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(8, 1)]
    return nn.Sequential(*layers), (torch.rand(2, 4),)


CHAPTER = {
    "two_line_net": two_line_net,
    "MLP": lambda: (d2c.MLP(in_units=20), (torch.rand(2, 20),)),
    "FixedHiddenMLP": lambda: (d2c.FixedHiddenMLP(), (torch.rand(2, 20),)),
    "FancyMLP": lambda: (d2c.FancyMLP(), (torch.rand(2, 20),)),
    "NestMLP": lambda: (d2c.NestMLP(20), (torch.rand(2, 20),)),
    "chimera": chimera,
    "block_factory": block_factory,
    "shared_layer": shared_layer,
}

READ_VALUES = {"FixedHiddenMLP", "FancyMLP", "chimera"}  # which shapes alone do not take
WELL_KNOWN = {
    "mlp": mlp,
    "autoencoder": autoencoder,
    "siamese": siamese,
    "mixture_of_experts": mixture_of_experts,
    "lenet": convolutional.lenet,
    "vgg": convolutional.vgg,
    "resnet": convolutional.resnet,
    "bottleneck": convolutional.bottleneck,
    "densenet": convolutional.densenet,
    "inception": convolutional.inception,
    "unet": convolutional.unet,
    "mobilenet": convolutional.mobilenet,
    "generator": convolutional.generator,
    "lstm": sequence.lstm,
    "gru": sequence.gru,
    "residual_lstm": sequence.residual_lstm,
    "seq2seq": sequence.seq2seq,
    "transformer_encoder": sequence.transformer_encoder,
    "gpt": sequence.gpt,
    "vit": sequence.vit,
    "mixer": sequence.mixer,
}
