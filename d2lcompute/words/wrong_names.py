"""What to say of a name that the package does not have: the near one, or where it lives."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

_TABLE = "describe(net), or trace(net, X) for what each call does"
_COUNT = "describe(net).total"
_TIE = "tie(net, source, *targets)"
_PICTURE = "draw(net, X)"
_DATA = "describe(net).{name}(), say: every report has it"
_FREEZE = "collect_params(net, pattern), and parameter.requires_grad_({wanted}) for each of them"
_VALUES = "trace(net, X)"

# What people guess, and what there is.
INSTEAD = {
    "summary": _TABLE, "info": _TABLE, "table": _TABLE, "print_net": _TABLE,
    "count": _COUNT, "count_params": _COUNT, "count_parameters": _COUNT, "num_params": _COUNT,
    "num_parameters": _COUNT, "size": _COUNT,
    "freeze": _FREEZE.format(wanted=False), "unfreeze": _FREEZE.format(wanted=True),
    "share": _TIE, "share_weights": _TIE, "tie_weights": _TIE, "untie_weights": "untie(net, name)",
    "visualize": _PICTURE, "show": _PICTURE, "plot": _PICTURE, "plot_model": _PICTURE,
    "plot_net": _PICTURE, "graph": _PICTURE,
    "activations": _VALUES, "get_activations": _VALUES, "flops": _VALUES, "count_flops": _VALUES,
    "profile": "trace(net, X, time=True)",
    "to_pandas": _DATA.format(name="to_pandas"), "to_dict": _DATA.format(name="to_dict"),
    "to_csv": "describe(net).to_csv(path), say: every report has it",
    "debug": "diagnose(net, X)", "lint": "diagnose(net, X)", "check_net": "diagnose(net, X)",
    "get_params": "collect_params(net, pattern)", "params": "collect_params(net, pattern)",
    "load_state_dict": "load_parameters(net, path)", "load_params": "load_parameters(net, path)",
    "load_weights": "load_parameters(net, path)", "save_weights": "save_parameters(net, path)",
    "save_params": "save_parameters(net, path)", "save_state_dict": "save_parameters(net, path)",
    "to_device": "net.to(device), with device = try_gpu()",
    "hint": "check(name, answer)", "set_language": "language(code)",
}  # fmt: skip


def advice(name: str, public: Sequence[str], of_initializers: Sequence[str]) -> str:
    """Return the message of the error for `name`, given the names of the package and of that room.

    >>> from d2lcompute.words.wrong_names import advice
    >>> advice("descripe", dir(d2c), dir(d2c.initializers))
    "module 'd2lcompute' has no attribute 'descripe'; did you mean describe?"
    >>> advice("init_normal", dir(d2c), dir(d2c.initializers)).partition("; ")[2]
    'do `from d2lcompute import initializers as init`, then init.init_normal'
    """
    missing = f"module 'd2lcompute' has no attribute {name!r}"
    if name.lower() in INSTEAD:
        return f"{missing}; do {INSTEAD[name.lower()]}"
    initializers = {one for one in of_initializers if not one.startswith("_")} - {*public}
    near = get_close_matches(name, [*public, *initializers, *INSTEAD], n=1, cutoff=0.7)
    if not near:
        return f"{missing}; do dir(d2lcompute) to see what it has"
    if near[0] in initializers:
        return f"{missing}; do `from d2lcompute import initializers as init`, then init.{near[0]}"
    if near[0] in INSTEAD:
        return f"{missing}; do {INSTEAD[near[0]]}"
    return f"{missing}; did you mean {near[0]}?"
