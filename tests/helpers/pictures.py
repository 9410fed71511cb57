"""Traces and pictures of the nets in `nets`, each made once for all tests that only look."""

import functools

import torch
from nets import CHAPTER, WELL_KNOWN

import d2lcompute as d2c
from d2lcompute.seeing.fold import Wiring
from d2lcompute.seeing.parts import parts_of, title
from d2lcompute.seeing.picture.graph import Graph

NETS = CHAPTER | WELL_KNOWN


def fresh(name, **options):
    """A new picture of a net."""
    torch.manual_seed(0)
    net, inputs = NETS[name]()
    return d2c.draw(net, *inputs, **options)


@functools.cache
def calls_of(name):
    torch.manual_seed(0)
    net, inputs = NETS[name]()
    return d2c.trace(net, *inputs).calls


@functools.cache
def drawing_of(name):
    return fresh(name)


def graph_of(calls, depth=1000):
    """The nodes of a trace."""
    return Graph(calls, []).root(depth)


def nodes(root):
    every = [root]
    for node in every:
        every += node.children
    return every


def check_alike(calls):
    """The table and the picture of a trace fold the same."""
    graph = Graph(calls, [])
    rows = {frozenset(part.calls): part for part in walk(parts_of(calls, Wiring(calls)))}
    boxes = [node for node in nodes(graph.root(graph.deepest)) if node.kind != "held"]
    shown = {frozenset(box.calls) for box in boxes}
    assert shown <= set(rows)
    assert all(
        calls_of in shown for calls_of, part in rows.items() if calls[part.calls[0]].is_block
    )
    assert {box.title for box in boxes} <= {title(calls, part) for part in rows.values()}


def walk(part):
    every = [part]
    for one in every:
        every += one.parts
    return every
