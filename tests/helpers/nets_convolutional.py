"""Convolutional nets of well-known shape: each function returns `(net, inputs)`."""

import torch
from torch import nn
from torch.nn import functional as F


def conv(channels, out, kernel=3, **options):
    """A convolution that keeps height and width (or divides by `stride`), BatchNorm, ReLU."""
    layer = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False, **options)
    return nn.Sequential(layer, nn.BatchNorm2d(out), nn.ReLU())


def lenet():
    features = [nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2)]
    features += [nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten()]
    head = [nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10)]
    return nn.Sequential(*features, *head), (torch.rand(2, 1, 28, 28),)


def vgg():
    def stage(channels, out):
        return [conv(channels, out), conv(out, out), nn.MaxPool2d(2)]

    features = nn.Sequential(*stage(3, 8), *stage(8, 16), *stage(16, 16))
    head = nn.Sequential(nn.Flatten(), nn.Linear(256, 32), nn.ReLU(), nn.Linear(32, 10))
    return nn.Sequential(features, head), (torch.rand(4, 3, 32, 32),)


class Residual(nn.Module):
    def __init__(self, body, shortcut=None):
        super().__init__()
        self.body = body
        self.shortcut = shortcut or nn.Identity()

    def forward(self, X):
        return F.relu(self.body(X) + self.shortcut(X))


def basic_block(channels, out, stride=1):
    body = nn.Sequential(
        *conv(channels, out, stride=stride),
        nn.Conv2d(out, out, 3, padding=1, bias=False),
        nn.BatchNorm2d(out),
    )
    return Residual(body, nn.Conv2d(channels, out, 1, stride=stride) if stride > 1 else None)


def resnet():
    stages = [basic_block(8, 8), basic_block(8, 8), basic_block(8, 16, 2), basic_block(16, 16)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)]
    return nn.Sequential(conv(3, 8), *stages, *head), (torch.rand(4, 3, 16, 16),)


def bottleneck():
    def block(channels):
        narrow = channels // 4
        last = nn.Conv2d(narrow, channels, 1, bias=False), nn.BatchNorm2d(channels)
        return Residual(nn.Sequential(*conv(channels, narrow, 1), *conv(narrow, narrow), *last))

    return nn.Sequential(*(block(16) for _ in range(3))), (torch.rand(2, 16, 8, 8),)


class DenseBlock(nn.Module):
    def __init__(self, channels, growth, layers):
        super().__init__()
        widths = range(channels, channels + growth * layers, growth)
        self.layers = nn.ModuleList(conv(width, growth) for width in widths)

    def forward(self, X):
        for layer in self.layers:
            X = torch.cat([X, layer(X)], dim=1)
        return X


def densenet():
    stages = [DenseBlock(8, 4, 3), conv(20, 10, 1), nn.AvgPool2d(2), DenseBlock(10, 4, 3)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(22, 10)]
    return nn.Sequential(conv(3, 8), *stages, *head), (torch.rand(4, 3, 16, 16),)


class Inception(nn.Module):
    def __init__(self, channels, width):
        super().__init__()
        self.one = conv(channels, width, 1)
        self.three = nn.Sequential(conv(channels, width, 1), conv(width, width, 3))
        self.five = nn.Sequential(conv(channels, width, 1), conv(width, width, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(channels, width, 1))

    def forward(self, X):
        return torch.cat([self.one(X), self.three(X), self.five(X), self.pool(X)], dim=1)


def inception():
    return nn.Sequential(Inception(3, 4), Inception(16, 4)), (torch.rand(4, 3, 8, 8),)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.bottom = conv(1, 4), conv(4, 8), conv(8, 16)
        self.up2, self.up1 = nn.ConvTranspose2d(16, 8, 2, 2), nn.ConvTranspose2d(8, 4, 2, 2)
        self.merge2, self.merge1 = conv(16, 8), conv(8, 4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, X):
        fine = self.down1(X)
        coarse = self.down2(F.max_pool2d(fine, 2))
        X = self.bottom(F.max_pool2d(coarse, 2))
        X = self.merge2(torch.cat([coarse, self.up2(X)], dim=1))
        X = self.merge1(torch.cat([fine, self.up1(X)], dim=1))
        return self.head(X)


def unet():
    return UNet(), (torch.rand(2, 1, 16, 16),)


def mobilenet():
    def separable(channels, out):
        return nn.Sequential(conv(channels, channels, groups=channels), conv(channels, out, 1))

    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)]
    body = [conv(3, 8), separable(8, 16), separable(16, 32), *head]
    return nn.Sequential(*body), (torch.rand(4, 3, 16, 16),)


def generator():
    def up(channels, out, **options):
        layer = nn.ConvTranspose2d(channels, out, 4, bias=False, **options)
        return nn.Sequential(layer, nn.BatchNorm2d(out), nn.ReLU())

    twice = {"stride": 2, "padding": 1}
    last = [nn.ConvTranspose2d(8, 3, 4, **twice), nn.Tanh()]
    return nn.Sequential(up(10, 16), up(16, 8, **twice), *last), (torch.randn(4, 10, 1, 1),)
