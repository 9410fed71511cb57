"""Nets that let autograd save tensors in every way there is, each with an input.

`NETS` maps a name to a function that makes the net, and to the input that it takes.
"""

import torch
from torch import nn
from torch.autograd import Function, grad
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


class Block(nn.Module):
    """A function of its layers and of what comes in; `tensors` are parameters."""

    def __init__(self, function, *layers, **tensors):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(tensor))

    def forward(self, X):
        return self.function(self, X)


class Product(Function):
    """Save what comes in."""

    @staticmethod
    def forward(ctx, X, W):
        ctx.save_for_backward(X, W)
        return X @ W

    @staticmethod
    def backward(ctx, gradient):
        X, W = ctx.saved_tensors
        return gradient @ W.T, X.T @ gradient


class Exponential(Function):
    """Save what goes out, a part of what came in, and something of its own."""

    @staticmethod
    def forward(ctx, X):
        Y = X.exp()
        ctx.save_for_backward(Y, X[:, :2], Y + 1)
        return Y

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0]


class Noted(Function):
    """Keep a tensor where autograd does not see it."""

    @staticmethod
    def forward(ctx, X):
        ctx.kept = X.sigmoid()
        return X * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.kept


class Doubled(Function):
    """Write into what comes in."""

    @staticmethod
    def forward(ctx, X):
        ctx.mark_dirty(X)
        return X.mul_(2)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


def linear(function, layers=1):
    return lambda: Block(function, *[nn.Linear(8, 8) for _ in range(layers)])


def sequence(function, *layers):
    return lambda: Block(function, *[layer() for layer in layers])


def nested_checkpoints(self, X):
    first, second = self.layers

    def inner(Y):
        return checkpoint(first, Y, use_reentrant=False).exp()

    return checkpoint(inner, second(X), use_reentrant=False)


def attention(masked=False, **options):
    def attend(self, X):
        Q, K, V = (Y.unflatten(-1, (4, 4)).transpose(1, 2) for Y in self.layers[0](X).chunk(3, -1))
        if options.get("enable_gqa"):
            K, V = K[:, :2], V[:, :2]
        mask = torch.ones(5, 5).tril().bool() if masked else None
        return F.scaled_dot_product_attention(Q, K, V, mask, **options).transpose(1, 2).flatten(2)

    return sequence(attend, lambda: nn.Linear(16, 48))


def attention_by_mathematics(self, X):
    with sdpa_kernel(SDPBackend.MATH):
        return F.scaled_dot_product_attention(*self.layers[0](X).chunk(3, -1))


def cells(self, X):
    h = c = X.new_zeros(len(X), 16)
    states = []
    for x in X.unbind(1):
        h, c = self.layers[0](x, (h, c))
        states.append(h)
    return torch.stack(states, 1)


def packed(self, X):
    short = nn.utils.rnn.pack_padded_sequence(X, [5, 3], batch_first=True)
    return self.layers[0](short)[0].data


def one_storage():
    net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh())
    memory, start = torch.rand(144), 0
    for layer in (net[0], net[2]):
        for name, parameter in list(layer.named_parameters()):
            part = memory[start : start + parameter.numel()].view_as(parameter)
            setattr(layer, name, nn.Parameter(part))
            start += parameter.numel()
    return net


def partly_frozen():
    net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
    net[0].bias.requires_grad_(False)
    net[2].weight.requires_grad_(False)
    return net


def written(self, X):
    Y, Z = self.layers[0](X), torch.zeros(len(X), 8)
    Z[:, 1] = Y[:, 0] ** 2
    Y[:, :2].mul_(2)
    Y[:, 3:].exp_()
    return Z.exp() + Y


def without_gradients(self, X):
    with torch.no_grad():
        Y = self.layers[1](X).exp()
    return self.layers[0](X) * Y + self.layers[0](X).detach()


def penalized(self, X):
    X = X.clone().requires_grad_()
    Y = self.layers[0](X).pow(2).sum()
    return grad(Y, X, create_graph=True)[0].norm() + Y


def converted(self, X):
    with torch.autocast("cpu", torch.bfloat16):
        return self.layers[1](self.layers[0](X)).exp()


def unpooled(self, X):
    Y, places = F.max_pool2d(self.layers[0](X), 2, return_indices=True)
    return F.max_unpool2d(Y, places, 2)


def sparse(make):
    return linear(lambda self, X: torch.sparse.mm(make(torch.eye(4)), self.layers[0](X)).exp())


ROWS, IMAGES, SEQUENCES = torch.rand(4, 8), torch.rand(2, 3, 16, 16), torch.rand(2, 5, 16)


def convolved(*layers):
    return lambda: nn.Sequential(nn.Conv2d(3, 4, 3), *[layer() for layer in layers])


NETS = {
    "what comes in": (
        lambda: Block(lambda self, X: Product.apply(X.exp(), self.W), W=torch.rand(8, 3)),
        ROWS,
    ),
    "what goes out": (linear(lambda self, X: Exponential.apply(self.layers[0](X)) * 2), ROWS),
    "unseen": (linear(lambda self, X: Noted.apply(self.layers[0](X))), ROWS),
    "dirty": (linear(lambda self, X: Doubled.apply(self.layers[0](X)).sigmoid()), ROWS),
    "nested checkpoints": (linear(nested_checkpoints, 2), ROWS),
    "checkpoints in a row": (
        linear(
            lambda self, X: checkpoint_sequential(
                nn.Sequential(*self.layers), 2, self.layers[0](X), use_reentrant=False
            ),
            4,
        ),
        ROWS,
    ),
    "activations in place": (
        lambda: nn.Sequential(
            nn.Linear(8, 8), nn.ELU(inplace=True), nn.Linear(8, 8), nn.SiLU(inplace=True)
        ),
        ROWS,
    ),
    "dropout in place": (lambda: nn.Sequential(nn.Linear(8, 8), nn.Dropout(inplace=True)), ROWS),
    "dropout of all": (lambda: nn.Sequential(nn.Linear(8, 8), nn.Dropout(1.0)), ROWS),
    "dropout of channels": (convolved(nn.Dropout2d, nn.FeatureAlphaDropout), IMAGES),
    "cells": (sequence(cells, lambda: nn.LSTMCell(16, 16)), SEQUENCES),
    "packed": (sequence(packed, lambda: nn.GRU(16, 8, batch_first=True)), SEQUENCES),
    "projected": (lambda: nn.LSTM(16, 8, proj_size=4), SEQUENCES),
    "frozen recurrence": (
        lambda: nn.LSTM(16, 8).requires_grad_(False),
        SEQUENCES.clone().requires_grad_(),
    ),
    "causal attention": (attention(is_causal=True), SEQUENCES),
    "masked attention": (attention(masked=True), SEQUENCES),
    "grouped attention": (attention(enable_gqa=True), SEQUENCES),
    "attention that drops": (attention(dropout_p=0.1), SEQUENCES),
    "attention by mathematics": (
        sequence(attention_by_mathematics, lambda: nn.Linear(16, 48)),
        SEQUENCES,
    ),
    "attention to others": (
        sequence(
            lambda self, X: self.layers[0](X, X[..., :6], X[..., :7])[0],
            lambda: nn.MultiheadAttention(16, 4, batch_first=True, kdim=6, vdim=7),
        ),
        SEQUENCES,
    ),
    "norms": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.LayerNorm(16)),
        IMAGES,
    ),
    "norm without statistics": (
        convolved(lambda: nn.BatchNorm2d(4, track_running_stats=False).eval()),
        IMAGES,
    ),
    "norm of examples": (
        convolved(lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True)),
        IMAGES,
    ),
    "partly frozen": (partly_frozen, ROWS),
    "one storage": (one_storage, ROWS),
    "without gradients": (linear(without_gradients, 2), ROWS),
    "parts": (
        linear(lambda self, X: torch.stack([y.exp() for y in self.layers[0](X).unbind()])),
        ROWS,
    ),
    "strides": (
        linear(lambda self, X: self.layers[0](X).as_strided((3, 3), (8, 1), 1).exp()),
        ROWS,
    ),
    "places": (linear(lambda self, X: self.layers[0](X)[torch.tensor([0, 2])] ** 2), ROWS),
    "written into": (linear(written), ROWS),
    "extremes": (linear(lambda self, X: self.layers[0](X).topk(2).values.cumprod(1)), ROWS),
    "branches": (
        linear(lambda self, X: torch.where(X > 0.5, self.layers[0](X), self.layers[0](X).exp())),
        ROWS,
    ),
    "pools": (convolved(lambda: nn.MaxPool2d(2), lambda: nn.AdaptiveMaxPool2d(3)), IMAGES),
    "unpooled": (sequence(unpooled, lambda: nn.Conv2d(3, 4, 3)), IMAGES),
    "spectra": (linear(lambda self, X: torch.fft.rfft(self.layers[0](X)).abs()), ROWS),
    "complex": (lambda: nn.Linear(8, 8, dtype=torch.complex64), ROWS.to(torch.complex64)),
    "converted": (linear(converted, 2), ROWS),
    "split weight": (
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)),
        ROWS,
    ),
    "penalized": (linear(penalized), ROWS),
    "mapped": (
        linear(lambda self, X: torch.func.vmap(lambda x: x.exp() * 2)(self.layers[0](X))),
        ROWS,
    ),
    "sparse": (sparse(torch.Tensor.to_sparse), ROWS),
    "sparse by rows": (sparse(torch.Tensor.to_sparse_csr), ROWS),
}
