import msgspec
import pytest

from arroyo.codec import MessageCodec, Reason, Returned
from arroyo.messages import Event
from arroyo.runner.quarantine.requeue_route import RequeueRoute

from unit.protocol.model import chain, listener, operator, publisher  # isort: skip

CHAIN = chain(
    listener("src"),
    operator("first", "src"),
    operator("second", "first"),
    publisher("out", "second", "src"),
    publisher("beside", "first"),
)


class Header(msgspec.Struct):
    enters: str
    source: str = "src.0"
    path: int = 0
    returned: Returned | None = None


def passing(stage):
    return RequeueRoute(CHAIN, stage, MessageCodec(()).encode)


@pytest.mark.parametrize(
    ("stage", "enters", "concerns"),
    [
        ("first", "", False),
        ("first", "src", False),
        ("first", "first", False),
        ("first", "second", True),
        ("out", "second", True),
        ("beside", "src", False),
        ("beside", "second", True),
    ],
)
def test_a_stage_works_on_what_is_for_it_or_for_all(stage, enters, concerns):
    assert passing(stage).concerns(Header(enters)) == concerns


@pytest.mark.parametrize(("path", "concerns"), [(0, True), (1, False)])
def test_what_had_come_by_one_of_several_ways_comes_back_by_that_one_only(path, concerns):
    header = Header("out", path=path, returned=Returned("run", 1, 5, path=1))
    assert passing("out").concerns(header) == concerns
    (outcome,) = passing("out").outcomes(header, [(0, (), Event())])
    assert outcome.reason == Reason.FINISHED


def test_what_a_fold_has_sent_enters_it_and_goes_all_ways_below():
    assert not passing("out").concerns(Header("second", "second.1"))


def test_what_is_for_a_stage_below_goes_on_as_it_is():
    message = Event({"index": 1}, b"payload")
    outcomes = passing("first").outcomes(Header("second"), [(0, (), message)])
    assert outcomes == [MessageCodec(()).encode(message)]


def test_what_is_for_a_stage_beside_ends_without_a_trace():
    (outcome,) = passing("beside").outcomes(Header("second"), [(0, (), Event())])
    assert outcome.reason == Reason.FINISHED
