"""The contact sheet of `draw`, nets of many families, each as it comes: `python docs/pictures.py`.

It writes `docs/pictures.md` and the pictures that this page shows.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

import d2lcompute as d2c


def chimera():
    net = nn.Sequential(d2c.NestMLP(20), nn.Linear(16, 20), d2c.FixedHiddenMLP())
    return net, torch.rand(2, 20)


def conv(inputs, outputs, kernel=3, stride=1):
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(outputs)


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, stride=stride)
        self.conv2, self.bn2 = conv(outputs, outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(*conv(inputs, outputs, 1, stride)) if stride > 1 else None

    def forward(self, X):
        Y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(X)))))
        return self.relu(Y + (X if self.downsample is None else self.downsample(X)))


class ResNet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 64, 7, 2)
        self.relu, self.maxpool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
        for number, (inputs, outputs) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)]):
            first = BasicBlock(inputs, outputs, stride=1 if number == 0 else 2)
            layer = nn.Sequential(first, BasicBlock(outputs, outputs))
            self.add_module(f"layer{number + 1}", layer)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 1000)

    def forward(self, X):
        X = self.maxpool(self.relu(self.bn1(self.conv1(X))))
        X = self.layer4(self.layer3(self.layer2(self.layer1(X))))
        return self.fc(torch.flatten(self.avgpool(X), 1))


def resnet():
    return ResNet18(), (1, 3, 224, 224)


class DenseLayer(nn.Module):
    def __init__(self, inputs, growth=32):
        super().__init__()
        self.norm1, self.relu1 = nn.BatchNorm2d(inputs), nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2, self.relu2 = nn.BatchNorm2d(4 * growth), nn.ReLU()
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, features):
        X = self.conv1(self.relu1(self.norm1(torch.cat(features, 1))))
        return self.conv2(self.relu2(self.norm2(X)))


class DenseBlock(nn.ModuleDict):
    def __init__(self, layers, inputs, growth=32):
        super().__init__(
            {f"denselayer{i + 1}": DenseLayer(inputs + i * growth) for i in range(layers)}
        )

    def forward(self, X):
        features = [X]
        for layer in self.values():
            features.append(layer(features))
        return torch.cat(features, 1)


def densenet():
    """Return DenseNet-121."""
    features = nn.Sequential(*conv(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    width = 64
    for number, layers in enumerate((6, 12, 24, 16)):
        features.add_module(f"denseblock{number + 1}", DenseBlock(layers, width))
        width += 32 * layers
        if number < 3:
            steps = nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False)
            features.add_module(f"transition{number + 1}", nn.Sequential(*steps, nn.AvgPool2d(2)))
            width //= 2
    head = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 1000)
    return nn.Sequential(features, nn.BatchNorm2d(width), *head), (1, 3, 224, 224)


class UNet(nn.Module):
    def __init__(self, widths=(64, 128, 256)):
        super().__init__()
        pairs = list(zip((1, *widths), widths, strict=False))
        self.down = nn.ModuleList(self.double(a, b) for a, b in pairs)
        self.bottom = self.double(widths[-1], 2 * widths[-1])
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[::-1])
        self.merge = nn.ModuleList(self.double(2 * w, w) for w in widths[::-1])
        self.head = nn.Conv2d(widths[0], 2, 1)

    @staticmethod
    def double(inputs, outputs):
        return nn.Sequential(*conv(inputs, outputs), nn.ReLU(), *conv(outputs, outputs), nn.ReLU())

    def forward(self, X):
        skips = []
        for down in self.down:
            skips.append(down(X))
            X = F.max_pool2d(skips[-1], 2)
        X = self.bottom(X)
        for up, merge in zip(self.up, self.merge, strict=True):
            X = merge(torch.cat([skips.pop(), up(X)], dim=1))
        return self.head(X)


def unet():
    return UNet(), (1, 1, 64, 64)


class Translator(nn.Module):
    """A transformer whose two embeddings and output layer are one matrix."""

    def __init__(self, words=100, width=32):
        super().__init__()
        self.source, self.target = nn.Embedding(words, width), nn.Embedding(words, width)
        self.transformer = nn.Transformer(width, 4, 2, 2, 64, batch_first=True)
        self.out = nn.Linear(width, words, bias=False)
        self.source.weight = self.target.weight = self.out.weight

    def forward(self, source, target):
        return self.out(self.transformer(self.source(source), self.target(target)))


def translator():
    return Translator(), *(torch.randint(100, (2, length)) for length in (5, 6))


class Cells(nn.Module):
    """A recurrent net, written as a loop over time."""

    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.LSTMCell(8, 16), nn.Linear(16, 4)

    def forward(self, X):
        state = torch.zeros(len(X), 16), torch.zeros(len(X), 16)
        for time in range(X.shape[1]):
            state = self.cell(X[:, time], state)
        return self.out(state[0])


def lstm_cells():
    return Cells(), torch.rand(2, 35, 8)


class Mixture(nn.Module):
    """Each token goes to the two experts out of four that a gate prefers."""

    def __init__(self, width=16, experts=4):
        super().__init__()
        self.gate = nn.Linear(width, experts)
        self.experts = nn.ModuleList(d2c.mlp(64, width, in_units=width) for _ in range(experts))

    def forward(self, X):
        best, chosen = self.gate(X).softmax(-1).topk(2)
        outputs = torch.stack([expert(X) for expert in self.experts], 1)
        rows = outputs.gather(1, chosen[..., None].expand(-1, -1, X.shape[-1]))
        return (rows * best[..., None]).sum(1)


def mixture():
    return nn.Sequential(nn.Linear(8, 16), Mixture(), nn.Linear(16, 2)), torch.rand(4, 8)


class Convolution(nn.Module):
    """A convolution on a graph, whose normalized adjacency matrix is a buffer."""

    def __init__(self, inputs, outputs, adjacency):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.register_buffer("adjacency", adjacency)

    def forward(self, X):
        return self.adjacency @ self.linear(X)


def graph_net():
    adjacency = torch.eye(6) + torch.eye(6).roll(1, 0)
    layers = Convolution(4, 16, adjacency), nn.ReLU(), Convolution(16, 3, adjacency)
    return nn.Sequential(*layers), torch.rand(6, 4)


def bert():
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
    config = BertConfig(**sizes, intermediate_size=128, vocab_size=1000)
    return BertModel(config).eval(), torch.randint(1000, (2, 9))


def t5():
    from transformers import T5Config, T5Model

    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_heads": 4}
    model = T5Model(T5Config(**sizes, num_layers=3, vocab_size=1000)).eval()
    return model, torch.randint(1000, (2, 9)), None, torch.randint(1000, (2, 5))


def swin():
    from transformers import SwinConfig, SwinModel

    config = SwinConfig(image_size=224, embed_dim=96, depths=[2, 2, 6, 2])
    return SwinModel(config).eval(), torch.rand(1, 3, 224, 224)


# A name for the file, a title, what makes net and inputs, and options of `draw`.
SHEET = (
    ("chimera", "The chimera of section 1", chimera, {}),
    ("lstm_cells", "LSTM cells, a loop over 35 steps", lstm_cells, {}),
    ("mixture", "A mixture of experts", mixture, {}),
    ("graph_net", "A graph convolutional net", graph_net, {}),
    ("translator", "A transformer that ties its embeddings and its output layer", translator, {}),
    ("unet", "A U-Net", unet, {}),
    ("resnet_1", "ResNet-18, `depth=1`", resnet, {"depth": 1}),
    ("resnet_2", "ResNet-18, `depth=2`", resnet, {"depth": 2}),
    ("resnet", "ResNet-18, as it comes", resnet, {}),
    ("densenet", "DenseNet-121", densenet, {}),
    ("bert", "BERT, four layers", bert, {}),
    ("t5", "T5, three layers", t5, {}),
    ("swin", "A Swin transformer, `depth=2`", swin, {"depth": 2}),
)
NETS = {name: (make, options) for name, _title, make, options in SHEET}
FOLDER = Path(__file__).parent
INTRODUCTION = """# Pictures of nets

What `d2lcompute.draw(net, X)` shows, made by `python docs/pictures.py`. The pictures are SVG: they
are light or dark as the reader's system is, stay sharp at any size, and say in words what they
show. They are made for a slide; a page that is narrower, as on a phone, shrinks them a little
and then scrolls, as a notebook does.

* A box is a block, a box in a box a block in a block. Blue ones have parameters; a dashed blue one
  is lazy and gets its shapes in this pass. Rounder ones are functions that `forward` calls itself.
  Small ones are tensors that the net holds: buffers and constants.
* Arrows carry data, with its shape. What comes into a net has the name of its argument.
* A stack is several alike, drawn once: in a row or side by side, as it says.
* What is one block that is called again, or shares a parameter, has one colour and is joined.
* Where a value decided which way to go, the box behind says why it ran.
* What is taller than a slide goes on in a column beside it, with all lines that lead there.
* A net that is too large for a slide is drawn with its inner blocks closed, and says so;
  `depth="all"` opens them all.
"""


def drawing_of(name):
    """Return a picture of the sheet."""
    make, options = NETS[name]
    torch.manual_seed(0)
    net, *inputs = make()
    return d2c.draw(net, *inputs, **options)


def passage(name, title, drawing):
    """Return what the page has of a picture, with the image as a notebook shows it."""
    image = re.sub(r'src="[^"]*"', f'src="pictures/{name}.svg"', drawing._repr_html_())
    return f"## {title}\n\n{image}\n"


def main() -> None:
    """Write the page and its pictures."""
    (FOLDER / "pictures").mkdir(exist_ok=True)
    page = [INTRODUCTION]
    for name, title, _make, _options in SHEET:
        drawing = drawing_of(name)
        drawing.save(FOLDER / "pictures" / f"{name}.svg")
        page.append(passage(name, title, drawing))
    (FOLDER / "pictures.md").write_text("\n".join(page), encoding="utf-8")


if __name__ == "__main__":
    main()
