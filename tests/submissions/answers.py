"""Solutions as students write them: right in other ways than the reference's, and wrong ones."""

RIGHT = {
    "gated": """
class Gated(nn.Module):
    def __init__(self, net):
        super(Gated, self).__init__()
        self.inner = net
        self.register_parameter("gate", nn.Parameter(torch.tensor(0.0)))

    def forward(self, X):
        return torch.add(X, self.inner(X) * self.gate)
""",
    "settle": """
class Settle(nn.Module):
    def __init__(self, layer, steps):
        super().__init__()
        self.layer, self.steps = layer, steps

    def forward(self, X):
        H, step, moving = X, 0, True
        while moving and step < self.steps:
            new = self.layer(H).tanh()
            moving = bool(((new - H).abs() >= 1e-3).any())
            H, step = new, step + 1
        return H
""",
    "shift": """
import re

def shift(net, pattern, amount):
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if re.match(pattern, name):
                parameter += amount
""",
    "autoencoder": """
class Autoencoder(nn.Module):
    def __init__(self, inputs, units):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(units, inputs))
        nn.init.xavier_uniform_(self.weight)
        self.inner = nn.Parameter(torch.zeros(units))
        self.outer = nn.Parameter(torch.zeros(inputs))

    def forward(self, X):
        H = torch.tanh(nn.functional.linear(X, self.weight, self.inner))
        return nn.functional.linear(H, self.weight.t(), self.outer)
""",
    "sparse": """
def sparse_(weight, count, sigma, generator=None):
    rows, columns = weight.shape
    with torch.no_grad():
        weight.fill_(0)
        for row in weight:
            places = torch.randperm(columns, generator=generator)[:count]
            row[places] = torch.empty(count).normal_(0, sigma, generator=generator)
""",
    "prepare": """
import copy

def prepare(net, X):
    modes = {module: module.training for module in net.modules()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        net.eval()
        net(X)
    for module, mode in modes.items():
        module.training = mode
    return {name: parameter.shape for name, parameter in net.named_parameters()}
""",
    "prototypes": """
class Prototypes(nn.Module):
    def __init__(self, count, inputs):
        super().__init__()
        self.centers = nn.Parameter(torch.rand(count, inputs))

    def forward(self, X):
        C = self.centers
        return 2 * X @ C.T - (X * X).sum(-1, keepdim=True) - (C * C).sum(-1)
""",
    "running-center": """
class RunningCenter(nn.Module):
    def __init__(self, inputs, momentum=0.1):
        super().__init__()
        self.m = momentum
        self.register_buffer("mean", torch.zeros(inputs))

    def forward(self, X):
        center = self.mean
        if self.training:
            center = X.mean(dim=0)
            with torch.no_grad():
                self.mean.copy_((1 - self.m) * self.mean + self.m * center)
        return X - center
""",
    "graft": """
def graft(net, path):
    mine, saved = net.state_dict(), d2c.load(path)
    parameters = dict(net.named_parameters())
    names = [n for n in saved if n in parameters and saved[n].shape == parameters[n].shape]
    net.load_state_dict({**mine, **{name: saved[name] for name in names}})
    return sorted(names)
""",
    "norms": """
def norms(pairs):
    log = d2c.MetricLog(len(pairs))
    for A, B in pairs:
        log.append(torch.mm(A, B).square().sum().sqrt())
    return log.values().tolist()
""",
}

# Each of these misses something that the chapter warns of.
WRONG = {
    "gated": RIGHT["gated"].replace(
        'self.register_parameter("gate", nn.Parameter(', "self.gate = ((("
    ),
    "settle": RIGHT["settle"].replace("moving and step", "step"),
    "shift": """
def shift(net, pattern, amount):
    for name, parameter in d2c.collect_params(net, pattern).items():
        parameter.data += amount
""",
    "autoencoder": """
class Autoencoder(nn.Module):
    def __init__(self, inputs, units):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(units, inputs))
        self.inner = nn.Parameter(torch.zeros(units))
        self.outer = nn.Parameter(torch.zeros(inputs))

    def forward(self, X):
        return torch.tanh(X @ self.weight.T + self.inner) @ self.weight.data + self.outer
""",
    "sparse": RIGHT["sparse"].replace(
        "torch.randperm(columns, generator=generator)", "torch.arange(columns)"
    ),
    "prepare": """
def prepare(net, X):
    net(X)
    return {name: parameter.shape for name, parameter in net.named_parameters()}
""",
    "prototypes": """
class Prototypes(nn.Module):
    def __init__(self, count, inputs):
        super().__init__()
        self.centers = nn.Parameter(torch.rand(count, inputs))

    def forward(self, X):
        return -torch.stack([(X - center).square().sum(1) for center in self.centers], dim=1)
""",
    "running-center": RIGHT["running-center"].replace(
        'self.register_buffer("mean", torch.zeros(inputs))', "self.mean = torch.zeros(inputs)"
    ),
    "graft": """
def graft(net, path):
    names = []
    for name, value in d2c.load(path).items():
        module, _, last = name.rpartition(".")
        try:
            if net.get_parameter(name).shape == value.shape:
                setattr(net.get_submodule(module), last, nn.Parameter(value.float()))
                names.append(name)
        except AttributeError:
            pass
    return sorted(names)
""",
    "norms": "def norms(pairs):\n    return [(A @ B).norm().item() for A, B in pairs]\n",
}
