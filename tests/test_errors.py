"""The exceptions that a user can meet."""

import inspect

import pytest

from placewise import errors
from placewise.errors import Fault, LabelError, PlacewiseError

KINDS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, PlacewiseError) and kind is not PlacewiseError
]


def faults(count: int) -> list[Fault]:
    return [Fault("a.csv", row, "x", f"'{row}!'", "mend it") for row in range(1, count + 1)]


def test_there_are_kinds():
    assert len(KINDS) >= 5


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_ours_and_a_value_error_and_says_what_it_is(kind: type[PlacewiseError]):
    assert issubclass(kind, PlacewiseError)
    assert issubclass(kind, ValueError)
    assert kind.__doc__
    assert kind.__name__ in (errors.__doc__ or ""), "the module's tree names every kind"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not LabelError])
def test_a_message_is_kept_as_it_is(kind: type[PlacewiseError]):
    with pytest.raises(PlacewiseError, match=r"^got 3; need 2; do less$"):
        raise kind("got 3; need 2; do less")


def test_a_fault_is_one_line_with_all_that_is_known():
    assert str(Fault("a.csv", 7, "y", "'u' is no number", "write a number")) == (
        "a.csv, row 7, y: 'u' is no number; write a number"
    )
    assert str(Fault("a.json", 0, "images[3].id", "twice", "remove one")) == (
        "a.json, images[3].id: twice; remove one"
    )


@pytest.mark.parametrize("count", [1, 2, LabelError.shown])
def test_all_faults_are_listed_in_their_order(count: int):
    error = LabelError(faults(count))
    assert error.faults == tuple(faults(count))
    assert str(error).split("\n") == [str(fault) for fault in faults(count)]


def test_very_many_faults_are_counted_and_kept():
    error = LabelError(faults(LabelError.shown + 7))
    lines = str(error).split("\n")
    assert lines[:-1] == [str(fault) for fault in faults(LabelError.shown)]
    assert lines[-1] == "... and 7 more"
    assert len(error.faults) == LabelError.shown + 7


def test_faults_are_taken_over_not_shared():
    mine = faults(2)
    error = LabelError(mine)
    mine.clear()
    assert len(error.faults) == 2
