"""Recurrent nets and transformers of well-known shape: each function returns `(net, inputs)`."""

import torch
from torch import nn
from torch.nn import functional as F


class Classifier(nn.Module):
    def __init__(self, recurrent):
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.recurrent = recurrent
        self.head = nn.Linear(16, 4)

    def forward(self, tokens):
        H, _ = self.recurrent(self.embedding(tokens))
        return self.head(H[:, -1])


def tokens(*shape):
    return torch.randint(50, shape)


def lstm():
    return Classifier(nn.LSTM(16, 16, num_layers=2, batch_first=True)), (tokens(4, 7),)


def gru():
    return Classifier(nn.GRU(16, 16, batch_first=True)), (tokens(4, 7),)


class ResidualLSTM(nn.Module):
    def __init__(self, layers=3):
        super().__init__()
        self.layers = nn.ModuleList(nn.LSTM(16, 16, batch_first=True) for _ in range(layers))
        self.head = nn.Linear(16, 4)

    def forward(self, X):
        for layer in self.layers:
            X = X + layer(X)[0]
        return self.head(X.mean(dim=1))


def residual_lstm():
    return ResidualLSTM(), (torch.randn(4, 7, 16),)


class Seq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(50, 16), nn.Embedding(50, 16)
        self.encoder, self.decoder = (nn.GRU(16, 16, batch_first=True) for _ in range(2))
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 50)

    def forward(self, source, target):
        memory, state = self.encoder(self.source(source))
        H, _ = self.decoder(self.target(target), state)
        context, _ = self.attention(H, memory, memory)
        return self.head(H + context)


def seq2seq():
    return Seq2Seq(), (tokens(4, 7), tokens(4, 5))


def transformer_encoder():
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    net = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    return nn.Sequential(nn.Linear(8, 16), net, nn.Linear(16, 4)), (torch.randn(4, 7, 8),)


class Attention(nn.Module):
    def __init__(self, width, heads, causal=False):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, X):
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(X).chunk(3, dim=-1)
        )
        H = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.project(H.transpose(1, 2).flatten(-2))


def feed_forward(width):
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class Block(nn.Module):
    def __init__(self, width, mixer):
        super().__init__()
        self.norm1, self.mixer = nn.LayerNorm(width), mixer
        self.norm2, self.mlp = nn.LayerNorm(width), feed_forward(width)

    def forward(self, X):
        X = X + self.mixer(self.norm1(X))
        return X + self.mlp(self.norm2(X))


class GPT(nn.Module):
    def __init__(self, vocabulary=50, width=16, layers=12):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(32, width)
        self.drop = nn.Dropout(0.1)
        self.blocks = nn.Sequential(
            *(Block(width, Attention(width, 2, causal=True)) for _ in range(layers))
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        nn.init.normal_(self.wte.weight, std=0.02)
        self.head.weight = self.wte.weight

    def forward(self, tokens):
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        X = self.drop(self.wte(tokens) + self.wpe(positions))
        return self.head(self.norm(self.blocks(X)))


def gpt():
    return GPT(), (tokens(2, 8),)


class ViT(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, stride=4)
        self.cls = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, 17, width) * 0.02)
        self.encoder = nn.Sequential(*(Block(width, Attention(width, 2)) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, X):
        X = self.patches(X).flatten(2).transpose(1, 2)
        X = torch.cat([self.cls.expand(len(X), -1, -1), X], dim=1) + self.positions
        return self.head(self.norm(self.encoder(X))[:, 0])


def vit():
    return ViT(), (torch.rand(2, 3, 16, 16),)


class Transposed(nn.Sequential):
    def forward(self, X):
        return super().forward(X.transpose(1, 2)).transpose(1, 2)


def mixer():
    blocks = (Block(16, Transposed(feed_forward(7))) for _ in range(3))
    return nn.Sequential(*blocks), (torch.randn(4, 7, 16),)
