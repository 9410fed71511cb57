"""What a net holds without knowing: modules in lists, tensors that are no buffers, lost names."""

from __future__ import annotations

import dis
from collections.abc import Iterator, Mapping
from itertools import chain
from types import FunctionType
from typing import Any

from torch import Tensor, nn

from ...parameters.names import attributes_of, slots, walk
from ...words.language import _, mark, ngettext
from .findings import Finding

_METHODS = frozenset(
    name
    for name, value in vars(nn.Module).items()
    if isinstance(value, FunctionType) and name != "forward" and not name.startswith("__")
)


def without_super(net: nn.Module) -> Iterator[Finding]:
    """Find modules whose class never called `super().__init__()`: they hold nothing at all."""
    if not isinstance(net, nn.Module):
        next(walk(net))  # raises, and says what to pass
    stack: list[tuple[str, nn.Module]] = [("", net)]
    seen: set[int] = set()
    while stack:
        name, module = stack.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        if getattr(module, "_modules", None) is None:
            kind = type(module).__name__
            yield Finding(
                mark("super().__init__() missing"),
                (name,),
                _("the `__init__` of {kind} does not call `super().__init__()`", kind=kind),
                _("nn.Module sets up there where layers, parameters and hooks are kept; without "
                  "it every call of the module is an error."),
                _("Make `super().__init__()` the first line of `{kind}.__init__`.", kind=kind),
            )  # fmt: skip
            continue
        for key, child in module._modules.items():
            if child is not None:
                stack.append((f"{name}.{key}" if name else key, child))


def unregistered(net: nn.Module) -> Iterator[Finding]:
    """Find modules and parameters in plain lists, tuples, sets and dicts."""
    known = {id(module) for _, module in walk(net)} | {id(slot[3]) for slot in slots(net)}
    for path, module in walk(net):
        for key, value in _attributes(module):
            if not isinstance(value, list | tuple | set | frozenset | Mapping):
                continue
            held = [item for item in _inside(value, {id(value)}) if id(item) not in known]
            hidden = [item for item in held if _matters(item, module)]
            if hidden:
                yield _hidden(_join(path, key), value, hidden)


def plain_tensors(net: nn.Module, read: set[tuple[str, str]] | None) -> Iterator[Finding]:
    """Find tensors that are attributes and neither parameters nor buffers.

    `read` are the (module, attribute) whose tensor a pass has read, None if there was no pass:
    those that it does not read are notes or examples, not constants that it computes with.
    """
    known = {id(slot[3]) for slot in slots(net)}
    for path, module in walk(net):
        if type(module).__module__.startswith("torch."):
            continue  # what is there comes from a hook, as in probes and in `spectral_norm`
        for key, value in _attributes(module):
            if not isinstance(value, Tensor) or id(value) in known or value.grad_fn is not None:
                continue
            is_note = key in _stored_in_forward(type(module))
            is_note |= read is not None and (path, key) not in read
            if not is_note and not _computed_before_call(module, key):
                yield _plain(_join(path, key), key, value)


def shadowed_names(net: nn.Module) -> Iterator[Finding]:
    """Find attributes and layers with the name of a method of `nn.Module`."""
    for path, module in walk(net):
        values = {key: value for key, value in vars(module).items() if not callable(value)}
        values.update(module._modules)  # torch itself refuses such parameters and buffers
        for key in sorted(_METHODS & values.keys() | _class_shadows(type(module))):
            value = values.get(key, getattr(type(module), key))
            yield Finding(
                mark("shadowed method"),
                (_join(path, key),),
                _("`self.{key}` is {kind}, but `{key}` is a method of nn.Module", key=key,
                  kind=_article(value)),
                _("Only one of the two can be reached under the name: `net.{key}()` fails, or "
                  "gives something else than `self.{key}` was meant to be.", key=key),
                _("Rename it, say to `self.{key}_`.", key=key),
            )  # fmt: skip


def _class_shadows(kind: type) -> frozenset[str]:
    plain = (int, float, str, bytes, list, tuple, dict, set, Tensor, type(None))
    return frozenset(key for key in _METHODS if isinstance(getattr(kind, key), plain))


def _stored_in_forward(kind: type) -> frozenset[str]:
    forward = getattr(kind, "forward", None)
    if not isinstance(forward, FunctionType):
        return frozenset()
    steps = dis.get_instructions(forward)
    return frozenset(step.argval for step in steps if step.opname == "STORE_ATTR")


def _computed_before_call(module: nn.Module, key: str) -> bool:
    """Whether a hook makes the tensor from registered ones, as pruning and old norms do."""
    sources = chain(module._parameters, module._buffers)
    return bool(module._forward_pre_hooks) and any(name.startswith(f"{key}_") for name in sources)


def _attributes(module: nn.Module) -> list[tuple[str, Any]]:
    of_torch = {"_flat_weights"} if isinstance(module, nn.RNNBase) else ()
    return [(key, value) for key, value in attributes_of(module) if key not in of_torch]


def _inside(value: Any, seen: set[int]) -> Iterator[Any]:
    """Yield the modules and parameters in a nest of containers."""
    for item in list(value.values()) if isinstance(value, Mapping) else list(value):
        if isinstance(item, nn.Module | nn.Parameter):
            yield item
        elif isinstance(item, Tensor):
            if item.requires_grad and item.is_leaf:
                yield item
        elif isinstance(item, list | tuple | set | frozenset | Mapping) and id(item) not in seen:
            seen.add(id(item))
            yield from _inside(item, seen)


def _matters(item: Any, holder: nn.Module) -> bool:
    """Whether it has state or a mode, and is neither hidden on purpose nor a way back up."""
    if isinstance(item, Tensor):
        return item.requires_grad
    modules = [module for _, module in walk(item)]
    tensors = [slot[3] for slot in slots(item)]
    has_mode = any(isinstance(module, nn.modules.dropout._DropoutNd) for module in modules)
    is_teacher = not item.training and not any(tensor.requires_grad for tensor in tensors)
    is_above = any(module is holder for module in modules)
    return (bool(tensors) or has_mode) and not is_teacher and not is_above


def _hidden(where: str, value: Any, hidden: list[Any]) -> Finding:
    kind, key = type(value).__name__, where.rpartition(".")[2]
    modules = [item for item in hidden if isinstance(item, nn.Module)]
    home = "nn.ModuleDict" if isinstance(value, Mapping) else "nn.ModuleList"
    items = value.values() if isinstance(value, Mapping) else value
    nested = not all(any(item is one for one in hidden) for item in items)
    if modules:
        return Finding(
            mark("unregistered modules"),
            (where,),
            ngettext("a plain {kind} holds {n} module, which the net does not see",
                     "a plain {kind} holds {n:,} modules, which the net does not see",
                     len(modules), kind=kind),
            _("Their parameters are not in `net.parameters()`, so no optimizer trains them; they "
              "are not in `state_dict()`, so they are not saved; `to`, `train` and `eval` do not "
              "reach them."),
            _keep(home, key, nested),
        )  # fmt: skip
    home = home.replace("Module", "Parameter")
    return Finding(
        mark("unregistered parameters"),
        (where,),
        ngettext("a plain {kind} holds {n} parameter, which the net does not see",
                 "a plain {kind} holds {n:,} parameters, which the net does not see",
                 len(hidden), kind=kind),
        _("They are not in `net.parameters()`, so no optimizer trains them, and not in "
          "`state_dict()`, so they are not saved."),
        _keep(home, key, nested),
    )  # fmt: skip


def _keep(home: str, key: str, nested: bool) -> str:
    if nested:
        return _("Keep them in an {home}: `self.{key} = {home}({key})`, and likewise the lists and "
                 "dicts inside.", home=home, key=key)  # fmt: skip
    return _("Keep them in an {home}: `self.{key} = {home}({key})`.", home=home, key=key)


def _plain(where: str, key: str, value: Tensor) -> Finding:
    if value.requires_grad:
        return Finding(
            mark("tensor that should be a parameter"),
            (where,),
            _("`self.{key}` asks for a gradient but is a plain tensor", key=key),
            _("It is not in `net.parameters()`, so no optimizer trains it, and not in "
              "`state_dict()`, so it is not saved."),
            f"`self.{key} = nn.Parameter(...)`.",
        )  # fmt: skip
    return Finding(
        mark("tensor that should be a buffer"),
        (where,),
        _("`self.{key}` is a plain tensor of shape {shape}", key=key, shape=tuple(value.shape)),
        _("It is not in `state_dict()`, so a net that is saved and loaded computes with another "
          "one; `net.to(device)` and `net.double()` leave it behind."),
        _('`self.register_buffer("{key}", ...)`, with `persistent=False` if it need not be saved.',
          key=key),
    )  # fmt: skip


def _article(value: object) -> str:
    name = type(value).__name__
    return _("an {name}", name=name) if name[0] in "AEIOaeio" else _("a {name}", name=name)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
