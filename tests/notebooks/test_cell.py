import pytest
from jupyter_client.session import Session

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


@pytest.mark.parametrize("frames", [[], [b""], [b"<IDS|MSG>"], [b"\xff" * 9] * 7])
def test_garbage_is_no_crash(session, frames):
    with pytest.raises(ProtocolError, match="nonsense"):
        CellMessages(session, "request", 10_000).take(frames)


def test_a_message_that_another_signed_is_refused(session):
    with pytest.raises(ProtocolError, match="Signature"):
        CellMessages(session, "request", 10_000).take(
            wire(Session(key=b"other"), "status", {"execution_state": "idle"})
        )
