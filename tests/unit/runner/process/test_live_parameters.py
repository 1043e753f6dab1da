"""The parameters of one replica, with a supervisor that is a test."""

import pytest

from arroyo.config.graph import Stage
from arroyo.control.parameter_note import ParameterNote, write_parameters
from arroyo.errors import StageError
from arroyo.runner.process.live_parameters import LOOK_S, LiveParameters


class Replica:
    """Notes what the stage's code is called with, and what is reported."""

    def __init__(self, path, **declared):
        self.path = path
        self.called, self.reported = [], []
        self.now = 0.0
        stage = Stage("work", "operator", "own:Work", parameters=declared)
        self.live = LiveParameters(stage, path, self)

    def parameters(self, number, refusal):
        self.reported.append((number, refusal))

    def order(self, number, settled=None, /, **values):
        write_parameters(self.path, ParameterNote(number, values, settled or {}))

    def look(self, set_them=None):
        self.now += LOOK_S
        if (note := self.live.look(self.now)) is not None:
            self.live.take(note, set_them or self.called.append)


@pytest.fixture
def replica(tmp_path):
    return Replica(tmp_path / "work", level=5, mask=[1])


def refuse(_):
    raise StageError("no such level")


def test_it_begins_with_the_chain_file_and_takes_only_what_changes(replica):
    assert replica.live.first == {"level": 5, "mask": [1]}
    replica.look()
    replica.order(1, level=7, mask=[1])
    replica.look()
    replica.look()
    assert (replica.called, replica.reported) == ([{"level": 7}], [(1, "")])


def test_a_new_process_begins_with_what_is_settled_and_takes_the_rest_when_it_works(tmp_path):
    Replica(tmp_path / "work", level=5).order(2, {"level": 7}, level=8)
    replica = Replica(tmp_path / "work", level=5)
    assert replica.live.first == {"level": 7}
    replica.look()
    assert (replica.called, replica.reported) == ([{"level": 8}], [(2, "")])


def test_what_is_refused_is_not_taken_and_taken_back_without_a_call(replica):
    replica.order(1, level=-1)
    replica.look(refuse)
    replica.order(2)
    replica.look()
    assert replica.reported == [(1, "no such level"), (2, "")]
    assert replica.called == []


def test_what_was_taken_and_is_given_up_for_another_process_is_taken_back(replica):
    replica.order(1, level=7)
    replica.look()
    replica.order(2)
    replica.look()
    assert replica.called == [{"level": 7}, {"level": 5}]


def test_what_the_code_does_to_its_values_stays_its_own(replica):
    replica.live.first["mask"].append(9)
    replica.order(1, mask=[1, 2])
    replica.look(lambda changed: changed["mask"].clear())
    replica.order(2, mask=[1, 2])
    replica.look()
    assert replica.called == []


def test_a_parameter_that_the_chain_file_has_no_more_is_left_out(replica):
    replica.order(1, {"gone": 1}, gone=2, level=7)
    assert Replica(replica.path, level=5).live.first == {"level": 5}
    replica.look()
    assert replica.called == [{"level": 7}]


def test_it_is_not_looked_more_often_than_five_times_a_second(replica):
    replica.look()
    replica.order(1, level=7)
    assert replica.live.look(replica.now + LOOK_S / 2) is None
    assert replica.live.look(replica.now + LOOK_S) is not None


def test_without_a_supervisor_the_chain_file_counts(tmp_path):
    Replica(tmp_path / "work", level=5).order(1, {"level": 7}, level=7)
    live = LiveParameters(
        Stage("work", "operator", "own:Work", parameters={"level": 5}), None, None
    )
    assert live.first == {"level": 5}
    assert live.look(100.0) is None
