import pickle

import pytest

from d2lcompute.grading import conditions
from d2lcompute.grading.conditions import Conditions, NotIsolatedError
from d2lcompute.notebooks.isolation import Isolation
from d2lcompute.notebooks.warm import NotWarmError


@pytest.fixture
def found(monkeypatch):
    """Decide what the machine can isolate."""

    def decide(isolation):
        def find(warm):
            if isinstance(isolation, str):
                raise RuntimeError(isolation)
            return isolation

        monkeypatch.setattr(conditions, "find_isolation", find)

    return decide


def test_isolation_is_taken_where_it_is_to_be_had(found):
    found(Isolation("bubblewrap", {}))
    assert Conditions().level == "bubblewrap"
    assert Conditions(allow_unisolated=True).level == "bubblewrap"


@pytest.mark.parametrize(
    ("isolation", "reason"),
    [
        (
            Isolation("limits", {"namespaces": "no user namespaces"}),
            "namespaces: no user namespaces",
        ),
        ("this is Windows", "this is Windows"),
    ],
)
def test_without_isolation_nothing_runs(found, isolation, reason):
    found(isolation)
    with pytest.raises(NotIsolatedError, match=rf"\({reason}\); do --allow-unisolated to run it"):
        Conditions().start()


def test_without_isolation_it_runs_where_that_is_allowed_and_the_gaps_are_told(found):
    found(Isolation("limits", {}))
    assert Conditions(allow_unisolated=True).level == "limits"
    assert "the network is open" in Conditions(allow_unisolated=True).gaps
    found("this is Windows")
    assert Conditions(allow_unisolated=True).level == "none"
    assert Conditions(allow_unisolated=True).gaps == ("student code has all of your rights",)


@pytest.fixture
def started(monkeypatch, found):
    """What kernels are started with."""
    found(Isolation("namespaces", {}))
    calls = []
    monkeypatch.setattr(conditions, "start_kernel", lambda *arguments: calls.append(arguments))
    conditions._warm_process.cache_clear()
    yield calls
    conditions._warm_process.cache_clear()


def test_all_kernels_of_a_process_come_from_one_warm_one(started, monkeypatch):
    made = []

    class FakeWarmProcess:
        def __init__(self, preload, environment):
            made.append(environment)

        def close(self): ...

    monkeypatch.setattr(conditions, "WarmProcess", FakeWarmProcess)
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    for _ in range(2):
        Conditions().start()
    Conditions(warm=False).start()
    assert len(made) == 1
    assert "GITHUB_TOKEN" not in made[0]
    assert [type(warm_process) for _, warm_process, _ in started] == [
        FakeWarmProcess,
        FakeWarmProcess,
        type(None),
    ]


def test_without_warm_kernels_they_start_cold(started, monkeypatch):
    def none(*_):
        raise NotWarmError("this is not Linux")

    monkeypatch.setattr(conditions, "WarmProcess", none)
    Conditions().start()
    assert started[0][1] is None


def test_conditions_travel_to_other_machines():
    assert pickle.loads(pickle.dumps(Conditions(False, True, 3.0))) == Conditions(False, True, 3.0)
