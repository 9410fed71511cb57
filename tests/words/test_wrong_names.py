"""A name that the package does not have: the error says what there is."""

import re

import pytest

import d2lcompute as d2c
from d2lcompute import initializers
from d2lcompute.words.wrong_names import INSTEAD


def error_for(name):
    with pytest.raises(AttributeError, match=re.escape(repr(name))) as caught:
        getattr(d2c, name)
    return str(caught.value).partition("; ")[2]


@pytest.mark.parametrize("name", INSTEAD)
def test_what_people_guess_leads_to_what_there_is(name):
    advised = re.search(r"(\w+)\(", error_for(name))[1]
    assert advised == "to" or hasattr(d2c, advised)  # net.to


def test_no_guess_is_a_name_of_the_package():
    assert not set(INSTEAD) & set(dir(d2c))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("descripe", "describe"), ("Describe", "describe"), ("materialise", "materialize"),
     ("tryGpu", "try_gpu"), ("colect_params", "collect_params"), ("MetricLogs", "MetricLog")],
)  # fmt: skip
def test_a_slip_names_the_near_one(wrong, right):
    assert error_for(wrong) == f"did you mean {right}?"


@pytest.mark.parametrize("name", ["Normal", "Xavier", "init_normal", "my_init", "Mixed", "Norml"])
def test_initializers_are_named_with_their_place(name):
    advice = error_for(name)
    assert advice.startswith("do `from d2lcompute import initializers as init`, then init.")
    assert hasattr(initializers, advice.rpartition(".")[2])


def test_what_is_like_nothing_leads_to_the_list():
    assert error_for("qwertyuiop") == "do dir(d2lcompute) to see what it has"


def test_asking_whether_a_name_is_there_still_works():
    assert not hasattr(d2c, "_ipython_display_")
    assert not hasattr(d2c, "nothing_of_the_kind")
    assert getattr(d2c, "summary", None) is None
