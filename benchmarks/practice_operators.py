"""Count the torch operators that compute on a practice device exactly what they do on the CPU.

    python benchmarks/practice_operators.py            # all of torch's operator samples
    python benchmarks/practice_operators.py add conv   # those whose name starts so

For every operator in torch's own list of samples that takes float32, the samples run on the CPU
and on `practice:0`, forward and backward, and the results are compared bit for bit. Operators that
return uninitialized memory are compared by shape and type. One worker process does the work and is
replaced if an operator takes it down or does not end.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import json
import select
import subprocess
import sys
import time
import warnings

import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

SAMPLES = 10_000
SECONDS = 60
UNINITIALIZED = {
    "empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided",
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("prefix", nargs="*", help="only operators whose name starts so")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        serve()
        return
    names = [name for name in listed() if name.startswith(tuple(options.prefix) or "")]
    report(survey(names))


def survey(names):
    """Ask a worker about each name; return name -> {"forward": ..., "backward": ...}."""
    found, worker = {}, None
    for done, name in enumerate(names):
        worker = worker or start()
        print(f"\r{done}/{len(names)} {name:60.60}", end="", file=sys.stderr, flush=True)
        answer = ask(worker, name)
        found[name] = answer or dict.fromkeys(("forward", "backward"), "took the process down")
        if answer is None or "no end" in str(answer):
            worker.kill()
            worker = None
    print("\r" + " " * 78, file=sys.stderr)
    if worker:
        worker.kill()
    return found


def start():
    return subprocess.Popen(
        [sys.executable, __file__, "--worker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, text=True,
    )  # fmt: skip


def ask(worker, name):
    worker.stdin.write(name + "\n")
    worker.stdin.flush()
    if not select.select([worker.stdout], [], [], SECONDS)[0]:
        return dict.fromkeys(("forward", "backward"), f"no end within {SECONDS} s")
    line = worker.stdout.readline()
    return json.loads(line) if line else None


def report(found):
    for direction in ("forward", "backward"):
        answers = {name: a[direction] for name, a in found.items() if a[direction] is not None}
        good = sum(answer == "same" for answer in answers.values())
        print(f"{direction}: {good} of {len(answers)} operators, {good / len(answers):.1%}")
        reasons = collections.defaultdict(list)
        for name, answer in answers.items():
            if answer != "same":
                reasons[answer].append(name)
        for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
            print(f"  {reason}\n    {', '.join(names)}")


def listed():
    """Return every operator with samples in float32, by its unique name."""
    from torch.testing._internal.common_methods_invocations import op_db

    return {
        op.name + (f".{op.variant_test_name}" if op.variant_test_name else ""): op
        for op in op_db
        if torch.float32 in op.dtypes
    }


def serve():
    import d2lcompute as d2c

    warnings.simplefilter("ignore")
    d2c.practice_gpus(1)
    known = listed()
    for line in sys.stdin:
        op = known[line.strip()]
        with contextlib.redirect_stdout(sys.stderr):
            answer = {"forward": outcome(op, False), "backward": outcome(op, True)}
        print(json.dumps(answer), flush=True)


def outcome(op, backward):
    """Return "same", what differs, or None where there is nothing to compare."""
    if backward and not (op.supports_autograd and torch.float32 in op.backward_dtypes):
        return None
    torch.manual_seed(0)
    try:
        samples = op.sample_inputs("cpu", torch.float32, requires_grad=backward)
        samples = list(itertools.islice(samples, SAMPLES))
    except Exception as error:
        return None if not backward else shown("no samples", error)
    deadline = time.monotonic() + SECONDS / 2.5
    compared = 0
    for sample in samples:
        answer = compare(op, sample, backward)
        compared += answer is not None
        if answer not in ("same", None):
            return answer
        if time.monotonic() > deadline:
            break
    return "same" if compared else None


def compare(op, sample, backward):
    """Return "same", what differs, or None where the CPU itself fails."""
    inputs = sample.input, sample.args, sample.kwargs
    there = moved(op.name, inputs)  # first: some operators change what they are given
    try:
        expected = run(op, inputs, sample, backward)
    except Exception:
        return None
    try:
        result = run(op, there, sample, backward)
    except Exception as error:
        return shown(type(error).__name__, error)
    answer = difference(result, expected, op.name in UNINITIALIZED and not backward)
    if answer == "other bits" and not repeats(op, inputs, sample, backward, expected):
        return "the CPU does not give the same bits twice"
    return answer


def repeats(op, inputs, sample, backward, expected):
    return all(
        difference(run(op, inputs, sample, backward), expected, False, "cpu") == "same"
        for _ in range(10)
    )


def run(op, inputs, sample, backward):
    """Return the outputs, or the gradients of all leaves that take part."""
    torch.manual_seed(1)
    first, args, kwargs = inputs
    tensors = [t for t in tree_leaves(inputs) if isinstance(t, torch.Tensor)]
    out = op(first, *args, **kwargs)
    if not backward:
        return out
    out = sample.output_process_fn_grad(out)
    outs = [t for t in tree_leaves(out) if isinstance(t, torch.Tensor) and t.requires_grad]
    leaves = [t for t in tensors if t.requires_grad]
    return torch.autograd.grad(outs, leaves, list(map(cotangent, outs)), allow_unused=True)


def cotangent(t):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(t.shape, dtype=t.dtype, generator=generator).to(t.device)


def moved(name, inputs):
    """Move the inputs of an operator to the practice device."""
    first, args, kwargs = inputs
    if name == "tensor_split":  # wants its indices on the CPU, whatever the device
        return on_device(first), args, kwargs
    first, args, kwargs = tree_map(on_device, (first, args, kwargs))
    tensors = [t for t in tree_leaves((first, args, kwargs)) if isinstance(t, torch.Tensor)]
    if name.startswith(("linspace", "logspace")) or (not tensors and name != "broadcast_shapes"):
        kwargs = {**kwargs, "device": "practice:0"}
    return first, args, kwargs


def on_device(value):
    """Move a tensor with its strides; name the practice device for the CPU; leave the rest."""
    if isinstance(value, str | torch.device) and str(value) == "cpu":
        return torch.device("practice:0")
    if not isinstance(value, torch.Tensor):
        return value
    plain = value.detach()
    if plain.layout != torch.strided or plain.is_conj() or plain.is_neg():
        copy = plain.to("practice:0")
    else:
        flat = torch.empty(0, dtype=plain.dtype).set_(plain.untyped_storage()).to("practice:0")
        copy = flat.as_strided(plain.shape, plain.stride(), plain.storage_offset())
    return copy.requires_grad_(value.requires_grad)


def difference(result, expected, by_shape, home="practice"):
    got, got_form = tree_flatten(result)
    wanted, wanted_form = tree_flatten(expected)
    if str(got_form) != str(wanted_form):
        return "another structure"
    for g, w in zip(got, wanted, strict=True):
        if not isinstance(w, torch.Tensor):
            if g != w and not (g != g and w != w) and not isinstance(w, torch.device):
                return "another Python value"
            continue
        if g.device.type != home:
            return f"the result is on {g.device}"
        if g.shape != w.shape or g.dtype != w.dtype or g.layout != w.layout:
            return "another shape or type"
        if not by_shape and not same_bits(g.cpu(), w):
            return "other bits"
    return "same"


def same_bits(a, b):
    if a.layout != torch.strided:
        a, b = a.to_dense(), b.to_dense()
    a, b = (t.detach().resolve_conj().resolve_neg().contiguous().reshape(-1) for t in (a, b))
    if a.is_complex():
        a, b = torch.view_as_real(a), torch.view_as_real(b)
    nan = a.isnan() & b.isnan() if a.is_floating_point() else torch.zeros(a.shape).bool()
    zero = torch.zeros((), dtype=a.dtype)
    a, b = a.where(~nan, zero), b.where(~nan, zero)
    return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


def shown(kind, error):
    return f"{kind}: " + " ".join(str(error).split())[:110]


if __name__ == "__main__":
    main()
