"""How fast tied parameters are found in a net that has none, which takes the longest."""

from __future__ import annotations

import d2lcompute as d2c

from .harness import Case, Target, limit, ours, peer
from .nets import thousand_blocks


def cases(quick):
    net = thousand_blocks(10 if quick else 1000)
    yield Case(
        "1,000 blocks",
        (
            ours("tied_groups", lambda: d2c.tied_groups(net)),
            peer("accelerate", lambda: accelerate_search(net), needs="accelerate"),
            limit("one pass over parameters", lambda: one_pass(net)),
        ),
        (
            Target(
                "tied_groups",
                1.5,
                "one pass over parameters",
                why="it reads where each tensor lies in memory too, since views share it",
            ),
            Target("tied_groups", 1, "accelerate"),
        ),
        headline="find tied parameters in 1,000 blocks",
    )


def accelerate_search(net):
    from accelerate.utils import find_tied_parameters

    return find_tied_parameters(net)


def one_pass(net):
    names = {}
    for name, parameter in net.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [group for group in names.values() if len(group) > 1]
