"""What a net is, what a pass through it does, and which shapes it would learn."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import torch

import d2lcompute as d2c

from . import nets
from .harness import Case, Target, limit, ours, peer

LEVELS = 24, 300
# Measured in processor time, in pairs, in units of what torchinfo takes. On the three layers a
# trace and its table take 1.6 to 2.3, by how warm caches are, and the pass alone 0.15. It is 0.35
# less without the table, 0.25 without looking at operators (FLOPs, memory), 0.15 without making
# calls into data, 0.1 without putting back what a pass may change, 0.1 without looking at
# functions; hooks (which call made what) have the rest. It is 0.3 more for a net with code of its
# own, as only then Python's and numpy's random states are kept and given back (numpy copies its
# own number by number). No other one does any of this, but for the table and the hooks. On the
# 1,000 blocks it is 0.8 to 1 in all: 0.2 are operators, 0.15 calls as data, 0.1 putting back.
WHY = {
    "trace": "it looks at operators and data flow and puts the net back, which others do not",
    "infer_shapes": "it works on a copy on meta, where a small layer costs more than on the CPU",
}
MEMORY = """
from pathlib import Path
from benchmarks.nets import seven_billion, lazy
import torch, d2lcompute as d2c
def peak(): return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
def report(net, shape): return {call}
report(seven_billion(blocks=1, width=8, hidden=16{arguments}), (1, 8, 8))  # imports much
net = seven_billion(blocks=32{arguments})
before = peak()
kept = report(net, (1, 8, 4096))
print(max(peak() - before, 4) / 1024)  # at least a page
"""


def cases(quick):
    torch.set_num_threads(1)
    sys.setrecursionlimit(10_000)  # 300 levels are more than a plain forward pass may go down
    blocks = 10 if quick else 1000
    yield from three("three-layer MLP", nets.three_layers, (2, 20))
    yield from three("1,000 blocks", partial(nets.thousand_blocks, blocks), (2, 8))
    yield showing("1,000 blocks", nets.thousand_blocks(blocks), (2, 8))
    for depth in LEVELS:
        yield from three(f"{depth} deep", partial(nets.nested, depth), (2, 8))
    yield linearity()
    billions = (
        nets.seven_billion
        if not quick
        else partial(nets.seven_billion, blocks=1, width=8, hidden=16)
    )
    yield from three("7 billion on meta", billions, (1, 8, 8 if quick else 4096), "meta")
    if not quick:
        yield memory()


def three(name, make, shape, device="cpu"):
    yield describing(name, make())
    yield tracing(name, make(), shape, device)
    yield inferring(name, partial(make, linear=nets.lazy), make(), shape, device)
    if device == "cpu":
        yield valuing(name, make(), shape)
        yield going_back(name, make(), shape)
        yield keeping(name, make(), shape)


def describing(name, net):
    peers = ("torchinfo", "Lightning")
    return Case(
        f"describe, {name}",
        (
            ours("describe", lambda: str(d2c.describe(net))),
            peer(peers[0], lambda: torchinfo(net), needs="torchinfo"),
            peer(peers[1], lambda: lightning(net), needs="lightning.pytorch"),
            limit("one walk", lambda: walk(net)),
        ),
        targets("describe", peers, name),
        headline=headline("describe", name),
    )


def tracing(name, net, shape, device):
    X = torch.zeros(shape, device=device)
    peers = ("torchinfo", "torchview", "Lightning")
    return Case(
        f"trace, {name}",
        (
            ours("trace", lambda: str(d2c.trace(net, X))),
            peer(peers[0], lambda: torchinfo(net, input_data=X, device=device), needs="torchinfo"),
            peer(peers[1], lambda: torchview(net, X, device), needs="torchview"),
            peer(peers[2], lambda: lightning(net, X), needs="lightning.pytorch"),
            limit("one forward pass", lambda: forward(net, X)),
        ),
        targets("trace", peers, name),
        headline=headline("trace", name),
    )


def showing(name, net, shape):
    """Fold a trace and show it, which its making leaves to be done."""
    made = d2c.trace(net, torch.zeros(shape))
    return Case(
        f"show a trace, {name}",
        (ours("in a shell", lambda: str(made)), ours("in a notebook", made._repr_html_)),
        (Target("in a shell", 0.05), Target("in a notebook", 0.05)),
    )


def inferring(name, lazy, net, shape, device):
    """Peers give a lazy net its shapes for good, so each time they get a new one."""
    X, on_meta = torch.zeros(shape, device=device), torch.zeros(shape, device="meta")
    net, waiting = net.to("meta"), lazy()
    return Case(
        f"infer_shapes, {name}",
        (
            ours("infer_shapes", lambda: str(d2c.infer_shapes(waiting, shape))),
            peer(
                "torchinfo",
                lambda fresh: torchinfo(fresh, input_data=X, device=device),
                fresh=lazy,
                needs="torchinfo",
            ),
            limit("one forward pass on meta", lambda: forward(net, on_meta)),
        ),
        targets("infer_shapes", ("torchinfo",), name),
        headline=headline("infer the shapes of", name),
    )


def valuing(name, net, shape):
    """Tell how the values of every output are distributed; torchlens keeps them all instead."""
    X = torch.rand(shape)
    return Case(
        f"trace with values, {name}",
        (
            ours("trace", lambda: str(d2c.trace(net, X, values=True))),
            peer("torchlens", lambda: torchlens(net, X), needs="torchlens"),
            limit("one forward pass and its values", lambda: values_of(net, X)),
        ),
        (Target("trace", 1, "torchlens"),),
        headline=headline("trace the values of", name),
    )


def going_back(name, net, shape):
    """Count the operations of a backward pass too; fvcore counts those of a forward pass alone."""
    X = torch.rand(shape)
    return Case(
        f"trace with backward, {name}",
        (
            ours("trace", lambda: str(d2c.trace(net, X, backward=True))),
            peer("FlopCounterMode", lambda: flop_counter(net, X)),
            peer("fvcore, forward", lambda: fvcore(net, X), needs="fvcore"),
            limit("a forward and a backward pass", lambda: net(X).sum().backward()),
        ),
        headline=headline("trace the backward pass of", name),
    )


def keeping(name, net, shape):
    """Tell the bytes that training needs; what torchinfo tells is the sum of all outputs."""
    X = torch.rand(shape)
    return Case(
        f"bytes for training, {name}",
        (
            ours("trace", lambda: d2c.trace(net, X).kept),
            peer(
                "torchinfo, all outputs",
                lambda: torchinfo(net, input_data=X, device="cpu"),
                needs="torchinfo",
            ),
            limit("a pass with saved_tensors_hooks", lambda: bytes_saved(net, X)),
        ),
    )


def targets(name, peers, net):
    most = (Target(name, 0.5),) if net.startswith("7 billion") else ()
    return (*(Target(name, 1, other, WHY.get(name, "")) for other in peers), *most)


def headline(verb, net):
    return f"{verb} {net}" if net.startswith(("1,000", "7 billion")) else ""


def linearity():
    """Compare as many levels in a few deep nets with as many in more shallow ones."""
    shallow, deep = (nets.nested(depth) for depth in LEVELS)
    return Case(
        f"describe, {LEVELS[1]} deep against {LEVELS[0]} deep",
        (
            ours("24 x 300 deep", lambda: [str(d2c.describe(deep)) for _ in range(24)]),
            limit("300 x 24 deep", lambda: [str(d2c.describe(shallow)) for _ in range(300)]),
        ),
        (Target("24 x 300 deep", 1.2, "300 x 24 deep"),),
    )


def memory():
    """Measure in new processes, by how much the most that they ever held grows."""
    calls = {
        "describe": ("", "str(d2c.describe(net))"),
        "trace": ("", "str(d2c.trace(net, shape))"),
        "infer_shapes": (", linear=lazy", "str(d2c.infer_shapes(net, shape))"),
    }
    passed = "net(torch.empty(shape, device='meta'))"
    return Case(
        "memory, 7 billion on meta",
        (
            *(ours(name, partial(megabytes, *call), rounds=3) for name, call in calls.items()),
            limit("one forward pass", partial(megabytes, "", passed), rounds=3),
        ),
        tuple(Target(name, 20) for name in calls),
        unit="MB",
        returned=True,
    )


def megabytes(arguments, call):
    command = [sys.executable, "-c", MEMORY.format(arguments=arguments, call=call)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def walk(net):
    return [p.shape for module in net.modules() for p in module._parameters.values()]


def forward(net, X):
    with torch.no_grad():
        return net(X)


def values_of(net, X):
    """Return mean, deviation and the share of zeros of every output, by hooks."""
    found = []

    def look(_module, _inputs, output):
        output = output.detach()
        found.append((output.mean().item(), output.std().item(), (output == 0).float().mean()))

    handles = [module.register_forward_hook(look) for module in net.modules()]
    net(X)
    for handle in handles:
        handle.remove()
    return found


def bytes_saved(net, X):
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        net(X)
    return sum(found.values())


def flop_counter(net, X):
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False, depth=1000) as counter:
        net(X).sum().backward()
    return counter.get_table(1000)


def fvcore(net, X):
    from fvcore.nn import FlopCountAnalysis, flop_count_table

    counted = FlopCountAnalysis(net, X).unsupported_ops_warnings(False)
    return flop_count_table(counted.uncalled_modules_warnings(False), max_depth=1000)


def torchlens(net, X):
    import torchlens

    options = torchlens.options.CaptureOptions(unwrap_when_done=True)  # or it slows torch down
    return str(torchlens.trace(net, X, capture=options))


def torchinfo(net, **options):
    from torchinfo import summary

    return str(summary(net, verbose=0, depth=1000, **options))


def torchview(net, X, device):
    from torchview import draw_graph

    return draw_graph(net, input_data=X, device=device, depth=1000, expand_nested=True)


def lightning(net, X=None):
    from lightning.pytorch import LightningModule
    from lightning.pytorch.utilities.model_summary import ModelSummary

    class Wrapped(LightningModule):
        def __init__(self):
            super().__init__()
            self.net, self.example_input_array = net, X

        def forward(self, X):
            return self.net(X)

    return str(ModelSummary(Wrapped(), max_depth=-1))
