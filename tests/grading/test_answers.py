import base64
import io
import json
import math
import pickle
import random
import sys
import types

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell

import d2lcompute as d2c
from d2lcompute.grading import answers


class Displays(list):
    """What a shell displayed, and the shell."""


@pytest.fixture
def published(monkeypatch):
    """The displays of a graded check."""
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)  # a shell warns of another one than its own
    displays = Displays()
    displays.shell = shell = InteractiveShell.instance()
    shell.user_ns.update(d2c=d2c, np=np, random=random, torch=torch)
    monkeypatch.setattr(shell.display_pub, "publish", displays.append)
    yield displays
    InteractiveShell.clear_instance()


def sent(published):
    """The answers in the only display: for each draw a list."""
    (display,) = published
    assert list(display) == [answers.MIME]
    return json.loads(display[answers.MIME])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (torch.tensor([1.0, 2.0], requires_grad=True), "tensor([1., 2.])"),
        ((1, torch.Size([2, 3])), "[1, [2, 3]]"),
        ({"loss": 1 / 3, 2: None}, "{'loss': 0.3333, 2: None}"),
        ("text", "'text'"),
        (float("nan"), "nan"),
        (np.arange(2), "array([0, 1])"),
    ],
    ids=repr,
)
def test_without_a_grader_an_answer_is_shown(capsys, value, shown):
    d2c.grading.answer(value)
    assert capsys.readouterr().out == f"{shown}\n"


def test_without_a_grader_what_cannot_be_sent_is_refused_all_the_same():
    with pytest.raises(TypeError, match="`value` must be made of tensors"):
        d2c.grading.answer({1, 2})


def test_under_a_grader_an_answer_is_sent_and_not_shown(published, capsys):
    answers.ask([5], "d2c.grading.answer([torch.ones(2)])")
    ((text,),) = sent(published)
    torch.testing.assert_close(answers.decode(text), [torch.ones(2)])
    assert capsys.readouterr().out == ""
    d2c.grading.answer(1)
    assert capsys.readouterr().out == "1\n"


def test_every_source_of_random_numbers_is_seeded_for_each_draw(published):
    source = "d2c.grading.answer([random.random(), float(np.random.rand()), float(torch.rand(()))])"
    answers.ask([2**62 + 1, 2**62 + 1, 2**62 + 2], source)
    first, second, other = (answers.decode(text) for (text,) in sent(published))
    assert first == second
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_a_check_leaves_no_name_behind(published):
    published.shell.user_ns["kept"] = 1
    answers.ask([1, 2], "kept = 2; new = 3; d2c.grading.answer(kept)")
    assert published.shell.user_ns["kept"] == 1
    assert "new" not in published.shell.user_ns


@pytest.mark.parametrize("source", ["1 / 0", "d2c.grading.answer(1); 1 / 0", "raise StopIteration"])
def test_a_check_that_fails_ends_all_or_where_nobody_minds_only_its_draw(published, source):
    with pytest.raises((ZeroDivisionError, StopIteration)):
        answers.ask([1, 2], source)
    assert published == []
    answers.ask([1, 2], source, go_on=True)
    assert sent(published) == [[], []]


def test_magics_are_understood_in_a_check(published):
    answers.ask([1], "%precision 3\nd2c.grading.answer(get_ipython() is not None)")
    assert [answers.decode(text) for (text,) in sent(published)] == [True]


def test_a_prepared_kernel_does_not_stop_to_ask(published):
    shell = published.shell
    shell.kernel = types.SimpleNamespace()
    kept = sys.breakpointhook
    try:
        answers.prepare()
        shell.run_cell("kept = 1\n%reset -f\n%reset_selective -f kept\nexit\nquit()\nbreakpoint()")
        assert shell.user_ns["kept"] == 1
        assert [shell.kernel.raw_input("name? ") for _ in range(100)] == [""] * 100
        with pytest.raises(EOFError, match="nobody is there to answer"):
            shell.kernel.getpass()
    finally:
        sys.breakpointhook = kept


def test_the_package_gives_grading_only_when_asked(monkeypatch):
    monkeypatch.delitem(vars(d2c), "grading")
    assert d2c.grading.answer is answers.answer
    with pytest.raises(AttributeError, match="gradin"):
        _ = d2c.gradin


DTYPES = [
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8,
    torch.int8, torch.int16, torch.int32, torch.int64, torch.complex64, torch.complex128,
]  # fmt: skip

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.complex_numbers()
    | st.text(max_size=20)
)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.integers(-(2**60), 2**60), inner, max_size=4)
    ),
    max_leaves=20,
)


def travelled(value):
    return answers.decode(answers.encode(value))


def envelope(tree, tensors=None):
    return json.dumps({"tree": tree, "tensors": answers._write(tensors or {})})


@given(trees)
def test_structures_and_numbers_come_back_as_they_were(value):
    assert repr(travelled(value)) == repr(value)  # repr tells nan, -0.0 and types apart


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (2, 3)], ids=str)
def test_tensors_come_back_with_dtype_shape_and_values(dtype, shape):
    tensor = (torch.randn(shape) * 3).to(dtype)
    torch.testing.assert_close(travelled([tensor])[0], tensor, rtol=0, atol=0)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(3, 4).T,
        torch.randn(4)[::2],
        torch.ones(1).expand(5),
        torch.randn(3, dtype=torch.complex64).conj(),
        torch.randn(3, dtype=torch.complex64).conj().imag,
        torch.eye(3).to_sparse(),
        torch.nn.Parameter(torch.ones(2)),
        torch.tensor([math.nan, math.inf, -math.inf]),
    ],
    ids=lambda tensor: f"{tensor.dtype} {tensor.layout} {tuple(tensor.shape)}",
)
def test_tensors_of_any_layout_come_back_plain(tensor):
    expected = tensor.detach().to_dense().resolve_conj().resolve_neg()
    torch.testing.assert_close(travelled(tensor), expected, rtol=0, atol=0, equal_nan=True)


def test_two_views_of_one_storage_can_be_sent():
    x = torch.randn(4)
    first, second = travelled([x, x[1:]])
    torch.testing.assert_close(first[1:], second)


def test_arrays_and_their_numbers_become_tensors_and_numbers():
    array, number = travelled([np.arange(3), np.float32(0.5)])
    torch.testing.assert_close(array, torch.arange(3))
    assert (type(number), number) == (float, 0.5)


def test_types_and_devices_become_strings():
    assert travelled([torch.float32, torch.device("cpu")]) == ["torch.float32", "cpu"]


@pytest.mark.parametrize(
    "value",
    [{1, 2}, object(), b"bytes", torch.nn.ReLU(), [len]],
    ids=["set", "object", "bytes", "module", "function"],
)
def test_what_holds_no_values_is_refused(value):
    with pytest.raises(TypeError, match=r"`value` must be made of tensors, numbers, .* got a "):
        answers.encode(value)


@pytest.mark.parametrize("key", [2**61 - 1, -(2**70)], ids=repr)
def test_integers_that_are_keys_differ_in_their_hashes(key):
    with pytest.raises(ValueError, match=r"`value` must have keys up to .*; do str\(key\)"):
        answers.encode({key: 1})
    text = answers.encode({1: 1}).replace("[[1,", f"[[{key},")
    with pytest.raises(ValueError, match="malformed: `value` must have keys up to"):
        answers.decode(text)


@pytest.mark.parametrize("key", [None, True, 0.5, (1, 2)], ids=repr)
def test_keys_are_strings_or_integers(key):
    with pytest.raises(TypeError, match=r"`value` must have strings or integers as keys, got a"):
        answers.encode({key: 1})


def test_a_lazy_parameter_is_refused():
    with pytest.raises(TypeError, match="`value` must hold no lazy parameter"):
        answers.encode(torch.nn.LazyLinear(2).weight)


def test_a_value_that_holds_itself_is_refused():
    value = []
    value.append(value)
    with pytest.raises(ValueError, match="`value` must be at most 32 levels deep"):
        answers.encode(value)


@pytest.mark.parametrize("value", [torch.zeros(1 << 18), "x" * (1 << 20)], ids=["tensor", "text"])
def test_a_large_value_is_refused_before_it_is_sent(value):
    with pytest.raises(ValueError, match="`value` must take at most 1,048,576 bytes, got 1,"):
        answers.encode(value)


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code from an answer ran')",))


def pickled():
    buffer = io.BytesIO()
    torch.save(Bomb(), buffer)
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        "1" * 10_000,
        json.dumps({"tree": 1}),
        json.dumps({"tree": 1, "tensors": 5}),
        json.dumps({"tree": 1, "tensors": "not base64!"}),
        json.dumps({"tree": 1, "tensors": base64.b64encode(b"\xff" * 64).decode()}),
        json.dumps({"tree": 1, "tensors": base64.b64encode(pickle.dumps(Bomb())).decode()}),
        json.dumps({"tree": {"tensor": "0"}, "tensors": pickled()}),
        envelope({"tensor": "0"}),
        envelope({"tensor": ["0"]}, {"0": torch.ones(2)}),
        envelope([{"tensor": "0"}] * 2, {"0": torch.ones(2)}),
        envelope(1, {"0": torch.ones(2)}),
        envelope({"complex tensor": "0"}, {"0": torch.ones(3)}),
        envelope({"complex": [1, 2, 3]}),
        envelope({"complex": ["1", "2"]}),
        envelope({"pickle": "x"}),
        envelope({}),
        envelope({"dict": [], "tensor": "0"}),
        envelope({"dict": [["a"]]}),
        envelope({"dict": [["a", 1], ["a", 2]]}),
        envelope({"dict": [[True, 1]]}),
        envelope(json.loads("[" * 40 + "]" * 40)),
    ],
    ids=lambda text: text[:30],
)
def test_what_was_not_encoded_is_malformed(text):
    with pytest.raises(ValueError, match="the answer is malformed: "):
        answers.decode(text)


def complaint(text):
    """What decoding says against `text`; nothing where it is an answer."""
    try:
        answers.decode(text)
    except ValueError as error:
        return str(error)
    return "the answer is malformed: not at all"


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_text_raises_anything_else(text):
    assert complaint(text).startswith("the answer is malformed: ")
    assert complaint(envelope(text)).endswith("not at all")


@given(st.data())
def test_a_changed_character_gives_a_value_or_is_malformed(data):
    text = answers.encode({"w": torch.arange(6.0).reshape(2, 3), "n": [1, None]})
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + data.draw(st.characters()) + text[place + 1 :]
    assert complaint(changed).startswith("the answer is malformed: ")


@pytest.mark.parametrize("value", [None, 1, {"tree": 1}, b"{}"], ids=repr)
def test_only_text_is_read(value):
    with pytest.raises(ValueError, match=r"the answer is malformed: .* instead of text"):
        answers.decode(value)


def test_an_oversized_answer_is_refused_unread():
    with pytest.raises(ValueError, match="the answer is too large: 2,097,152 of at most 1,048,576"):
        answers.decode("[" * (1 << 21))
