"""Nets that look odd and are in order: `CLEAN` maps a name to a function of `(net, inputs)`."""

import copy

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

import d2lcompute as d2c

CLEAN = {}


def clean(make):
    CLEAN[make.__name__] = make
    return make


def X(*shape):
    return torch.randn(*(shape or (4, 4)))


def net(forward, **held):
    """Return a net of this `forward` that holds these modules."""
    made = type("Net", (nn.Module,), {"forward": forward})()
    for name, module in held.items():
        setattr(made, name, module)
    return made


@clean
def transformer():
    return nn.Transformer(16, 2, 2, 2, 32, batch_first=True), (X(2, 5, 16), X(2, 4, 16))


@clean
def transformer_layer_on_one_token():
    return nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), (X(2, 1, 16),)


@clean
def attention_with_widths_of_its_own():
    attention = nn.MultiheadAttention(16, 2, kdim=8, vdim=4, add_bias_kv=True, batch_first=True)
    return attention, (X(2, 3, 16), X(2, 5, 8), X(2, 5, 4))


@clean
def lstm_stack():
    return nn.LSTM(8, 8, 3, bidirectional=True, dropout=0.1), (X(5, 2, 8),)


@clean
def lstm_on_one_step():
    return nn.LSTM(8, 8, 2), (X(1, 2, 8),)


@clean
def lstm_cell():
    return nn.LSTMCell(8, 8), (X(2, 8),)


@clean
def lstm_with_weight_norm():
    return parametrizations.weight_norm(nn.LSTM(4, 8), "weight_hh_l0"), (X(5, 2, 4),)


@clean
def parametrized():
    layers = [
        parametrizations.weight_norm(nn.Linear(4, 8)),
        nn.ReLU(),
        parametrizations.spectral_norm(nn.Linear(8, 4)),
        parametrizations.orthogonal(nn.Linear(4, 4)),
    ]
    return nn.Sequential(*layers), (X(8, 4),)


@clean
def old_spectral_norm():
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 8)), nn.Tanh()), (X(8, 4),)


@clean
def pruned():
    made = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
    prune.random_unstructured(made[0], "weight", 0.3)
    return made, (X(),)


@clean
def tied_language_model():
    def forward(self, tokens):
        return self.head(self.recurrent(self.embedding(tokens))[0])

    layers = {"embedding": nn.Embedding(50, 16), "recurrent": nn.GRU(16, 16, batch_first=True)}
    made = net(forward, **layers, head=nn.Linear(16, 50))
    d2c.tie(made, "embedding.weight", "head.weight")
    return made, (torch.randint(50, (2, 5)),)


@clean
def frozen_backbone():
    backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    return nn.Sequential(backbone.requires_grad_(False).eval(), nn.Linear(288, 4)), (X(2, 3, 8, 8),)


class Averaging(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
        self.average = copy.deepcopy(self.body)

    def update(self):
        for slow, fast in zip(self.average.parameters(), self.body.parameters(), strict=True):
            slow.data.lerp_(fast.data, 0.1)

    def forward(self, X):
        return self.body(X)


@clean
def moving_average():
    return Averaging(), (X(),)


@clean
def averaged_model():
    layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
    return torch.optim.swa_utils.AveragedModel(layers), (X(),)


@clean
def auxiliary_head():
    def forward(self, X):
        H = torch.tanh(self.body(X))
        return (self.head(H), self.auxiliary(H)) if self.training else self.head(H)

    heads = {"head": nn.Linear(8, 2), "auxiliary": nn.Linear(8, 2)}
    return net(forward, body=nn.Linear(4, 8), **heads), (X(),)


def low_rank(width=8, rank=2):
    made = net(
        lambda self, X: self.base(X) + self.up(self.down(X)),
        base=nn.Linear(width, width).requires_grad_(False),
        down=nn.Linear(width, rank, bias=False),
        up=nn.Linear(rank, width, bias=False),
    )
    nn.init.zeros_(made.up.weight)
    return made


@clean
def low_rank_adapters():
    return nn.Sequential(low_rank(), nn.ReLU(), low_rank()), (X(4, 8),)


@clean
def closed_residual_branches():
    def block(scale):
        body = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8))
        scale = nn.Parameter(torch.full((8,), scale))
        return net(lambda self, X: X + self.scale * self.body(X), body=body, scale=scale)

    return nn.Sequential(block(0.0), block(1e-6), block(1e-6)), (X(4, 8),)


@clean
def residual_block_with_zero_norm():
    norm = nn.BatchNorm2d(4)
    nn.init.zeros_(norm.weight)
    body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1), norm)
    return net(lambda self, X: F.relu(X + self.body(X)), body=body), (X(2, 4, 5, 5),)


@clean
def discriminator():
    layers = [nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Dropout(0.3), nn.Linear(32, 1)]
    return nn.Sequential(*layers, nn.Sigmoid()), (X(4, 64),)


class Adversarial(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(10, 64), nn.Tanh())
        self.discriminator = discriminator()[0]

    def judge(self, X):
        return self.discriminator(X)

    def forward(self, Z):
        return self.generator(Z)


@clean
def both_halves():
    return Adversarial(), (X(4, 10),)


@clean
def sparse_experts():
    def forward(self, X):
        weights, chosen = self.gate(X).softmax(-1).max(-1)
        output = torch.zeros_like(X)
        for index in chosen.unique().tolist():
            output[chosen == index] = self.experts[index](X[chosen == index])
        return output * weights.unsqueeze(-1)

    experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(8))
    return net(forward, gate=nn.Linear(4, 8), experts=experts), (X(3, 4),)


@clean
def zero_regression():
    layer = nn.Linear(4, 3)
    nn.init.zeros_(layer.weight)
    return layer, (X(),)


@clean
def variational():
    def forward(self, X):
        mean, spread = self.encoder(X).chunk(2, -1)
        return self.decoder(mean + torch.randn_like(mean) * spread.exp()), mean, spread

    return net(forward, encoder=nn.Linear(8, 4), decoder=nn.Linear(2, 8)), (X(4, 8),)


@clean
def ends_in_softmax():
    return nn.Sequential(nn.Linear(4, 3), nn.Softmax(-1)), (X(),)


@clean
def many_kinds_of_norm():
    layers = [nn.Conv1d(3, 8, 3), nn.PReLU(), nn.GroupNorm(2, 8), nn.ConvTranspose1d(8, 4, 3)]
    layers += [nn.InstanceNorm1d(4, affine=True), nn.AdaptiveAvgPool1d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8, 3)), (X(2, 3, 16),)


@clean
def sparse_gradients():
    embedding = nn.EmbeddingBag(50, 8, max_norm=1.0, mode="sum", sparse=True)
    return nn.Sequential(embedding, nn.Linear(8, 2)), (torch.randint(50, (2, 3)),)


@clean
def on_meta():
    layers = [nn.Linear(4, 4), nn.ReLU(), nn.BatchNorm1d(4)]
    return nn.Sequential(*layers).to("meta"), (X().to("meta"),)


@clean
def complex_numbers():
    return nn.Linear(4, 4, dtype=torch.complex64), (torch.randn(4, 4, dtype=torch.complex64),)


@clean
def half_precision():
    return nn.Linear(4, 4).bfloat16(), (X().bfloat16(),)


@clean
def checkpointed():
    layers = {"first": nn.Linear(4, 4), "second": nn.Linear(4, 4)}

    def forward(self, X):
        H = checkpoint(self.second, self.first(X), use_reentrant=False)
        return checkpoint(self.second, H, use_reentrant=True)

    return net(forward, **layers), (X(),)


@clean
def adaptive_softmax():
    return nn.AdaptiveLogSoftmaxWithLoss(8, 30, [10, 20], div_value=2.0), (
        X(40, 8),
        torch.arange(40) % 30,
    )


@clean
def traced_by_fx():
    layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
    return torch.fx.symbolic_trace(layers), (X(),)


class Codebook(nn.Module):
    def __init__(self):
        super().__init__()
        self.codes = nn.Parameter(torch.randn(8, 4), requires_grad=False)
        self.layer = nn.Linear(4, 4)

    def forward(self, X):
        H = self.layer(X)
        nearest = torch.cdist(H, self.codes).argmin(-1)
        coded = self.codes[nearest]
        self.codes.data[nearest] = 0.9 * coded + 0.1 * H.detach()
        self.codes.data = self.codes.data.clone()
        return H + (coded - H).detach()


@clean
def codebook_that_follows_its_inputs():
    return Codebook(), (X(),)


@clean
def policy_that_returns_a_distribution():
    def forward(self, X):
        return torch.distributions.Independent(
            torch.distributions.Normal(self.mean(X), self.deviation.exp()), 1
        )

    deviation = nn.Parameter(torch.zeros(2))
    return net(forward, mean=nn.Linear(4, 2), deviation=deviation), (X(),)


@clean
def positions_that_start_at_zero():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    positions = nn.Parameter(torch.zeros(1, 7, 8))
    made = net(lambda self, X: self.layer(X + self.positions)[:, 0], layer=layer)
    made.positions = positions
    return made, (X(2, 7, 8),)


@clean
def ensemble_under_vmap():
    def forward(self, X):
        weights = torch.stack([net.weight for net in self.nets])
        run = torch.func.functional_call
        return torch.vmap(lambda weight: run(self.plan, {"weight": weight}, X))(weights)

    nets = nn.ModuleList(nn.Linear(4, 4, bias=False) for _ in range(3))
    plan = nn.Linear(4, 4, bias=False).requires_grad_(False)
    return net(forward, nets=nets, plan=plan), (X(),)


@clean
def inputs_that_never_turn_negative():
    return nn.PReLU(), (X().abs(),)
