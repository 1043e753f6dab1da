"""The recovery of a sender that has none: it changes nothing."""

from __future__ import annotations

from unit.protocol.source.test_source import Sink

from arroyo.codec import Ack, Kind, Suspect
from arroyo.protocol.source.recovery_policy import RecoveryPolicy
from arroyo.protocol.values.actions import Release, Transmit


def test_nothing_is_noted_and_nothing_is_owed_to_lives_before():
    sink = Sink()
    assert sink.take(sink.source.begin(0.0)) == []
    sink.actions.clear()
    sink.accept(Kind.START, "start")
    sink.acknowledge((0, 1))
    sink.take(sink.source.record(Suspect("b", 0, 2, "s.0", 1, 0, "died"), 0.0))
    assert {type(action) for action in sink.actions} == {Transmit, Release}
    assert sink.source.open_places == 0


def test_what_a_former_life_is_told_finishes_nothing():
    sink = Sink()
    sink.accept(Kind.START, "start")
    sink.take(sink.source.record(Ack("b", 0, "s.0", 9, 0, ((0, 1),)), 0.0))
    assert not sink.source.ledger.empty
    assert RecoveryPolicy().translate(Ack("b", 0, "s.0", 9, 0, ((0, 1),))) is None
