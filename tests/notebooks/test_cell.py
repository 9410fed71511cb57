import contextlib
import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client.session import Session
from nbformat import validate

from d2lcompute.notebooks.cell import (
    CellError,
    CellMessages,
    OutputLimitError,
    ProtocolError,
)


@pytest.fixture
def session():
    return Session(key=b"secret")


def wire(session, kind, content, request="request"):
    message = session.msg(kind, content=content, parent={"msg_id": request})
    return session.serialize(message, ident=b"topic")


def read(session, *messages, most=10_000):
    cell = CellMessages(session, "request", most)
    for kind, content in messages:
        cell.take(wire(session, kind, content))
    return cell


def test_a_cell_is_complete_with_reply_and_idle(session):
    cell = CellMessages(session, "request", 10_000)
    cell.take(wire(session, "execute_reply", {"status": "ok"}))
    cell.take(wire(session, "status", {"execution_state": "idle"}, request="another"))
    assert not cell.complete
    cell.take(wire(session, "status", {"execution_state": "idle"}))
    assert cell.complete
    assert cell.error is None


def test_adjacent_prints_become_one_output(session):
    texts = [("stdout", "a"), ("stdout", "b"), ("stderr", "c"), ("stdout", "d")]
    cell = read(session, *(("stream", {"name": name, "text": text}) for name, text in texts))
    assert [(output.name, output.text) for output in cell.outputs()] == [
        ("stdout", "ab"),
        ("stderr", "c"),
        ("stdout", "d"),
    ]


@pytest.mark.parametrize(("wait", "left"), [(False, []), (True, ["a"])])
def test_cleared_output_is_gone_at_once_or_with_the_next(session, wait, left):
    printed = ("stream", {"name": "stdout", "text": "a"})
    cell = read(session, printed, ("clear_output", {"wait": wait}))
    assert [output.text for output in cell.outputs()] == left
    cell.take(wire(session, "stream", {"name": "stdout", "text": "b"}))
    assert [output.text for output in cell.outputs()] == ["b"]


def test_the_reply_tells_of_errors_that_show_nothing(session):
    reply = {"status": "error", "ename": "UsageError", "evalue": "no such magic"}
    cell = read(session, ("execute_reply", reply))
    assert cell.error == CellError("UsageError", "no such magic", ())


def test_too_much_output_ends_the_reading_and_keeps_what_came(session):
    display = ("display_data", {"data": {"text/plain": "x" * 500}, "metadata": {}})
    with pytest.raises(OutputLimitError, match="shows too much") as caught:
        read(session, *[display] * 50)
    assert 1 < len(caught.value.outputs) < 20


@pytest.mark.parametrize(
    "content",
    [{}, {"name": "stdout", "text": 3}, {"name": ["stdout"], "text": "x"}, "text", b"[1]", None],
)
def test_nonsense_is_no_crash(session, content):
    with pytest.raises(ProtocolError, match="nonsense"):
        read(session, ("stream", content))


@pytest.mark.parametrize("depth", [10, 300, 900])
def test_nonsense_that_is_too_deep_to_be_told_is_no_crash(session, depth):
    deep = functools.reduce(lambda inner, _: [inner], range(depth), [])
    with pytest.raises(ProtocolError, match=r"nonsense: [A-Z][a-zA-Z]+$"):
        read(session, ("display_data", {"data": {"text/plain": deep}, "metadata": {}}))


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 3), st.sampled_from(["", "x", "ok", "text/plain"]),
    st.lists(st.just("x"), max_size=2), st.just({"text/plain": 1}), st.just({"x": [{}]}),
)  # fmt: skip
RIGHT = {
    "data": {"text/plain": "x"}, "metadata": {}, "transient": {"display_id": "x"}, "wait": False,
    "name": "stdout", "text": "x", "ename": "E", "evalue": "x", "traceback": [], "status": "ok",
    "execution_count": 1, "execution_state": "idle",
}  # fmt: skip
DISPLAYS = ("display_data", "update_display_data", "execute_result")
KINDS = (*DISPLAYS, "stream", "error", "clear_output", "status", "execute_reply")
CONTENTS = st.dictionaries(st.sampled_from([*RIGHT]), ODD, max_size=2).map(lambda own: RIGHT | own)


@given(st.lists(st.tuples(st.sampled_from(KINDS), CONTENTS), max_size=5))
def test_what_is_no_nonsense_can_be_relied_upon(messages):
    with contextlib.suppress(ProtocolError):
        cell = read(Session(key=b"secret"), *messages, most=100_000)
        for output in cell.outputs():
            validate(output, output.output_type, version=4)
        assert cell.error is None or isinstance(cell.error.text, str)


@pytest.mark.parametrize("frames", [[], [b""], [b"<IDS|MSG>"], [b"\xff" * 9] * 7])
def test_garbage_is_no_crash(session, frames):
    with pytest.raises(ProtocolError, match="nonsense"):
        CellMessages(session, "request", 10_000).take(frames)


def test_a_message_that_another_signed_is_refused(session):
    with pytest.raises(ProtocolError, match="nonsense") as caught:
        CellMessages(session, "request", 10_000).take(
            wire(Session(key=b"other"), "status", {"execution_state": "idle"})
        )
    assert "Signature" in str(caught.value.__cause__)
