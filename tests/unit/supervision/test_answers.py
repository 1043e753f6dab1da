"""Orders on the control socket, answered by a state machine without processes."""

import signal

import pytest
from fake_checks import FakeChecks
from supervised_histories import History

from arroyo.control.request_server import Asked
from arroyo.errors import UsageError
from arroyo.identifiers import ReplicaName
from arroyo.supervision.answers import make_answers
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.events import State
from arroyo.supervision.parameter_orders import ParameterOrders

ME = "pid 7, uid 1000"


class Supervisor:
    """A chain of three stages, all READY, and the orders that were refused."""

    def __init__(self, folder, **settings):
        self.history = History(**settings).all_ready()
        self.refused = []
        self.noted = []
        ready = self.history.machine.replicas.ready
        note_of = folder.joinpath
        self.parameters = ParameterOrders(self.history.chain, ready, note_of, self)
        self.answers = make_answers(
            self.history.machine,
            self.history.do,
            lambda *refusal: self.refused.append(refusal),
            lambda *order: self.noted.append(order),
            lambda: self.history.now,
            chain_checks=FakeChecks(),
            parameters=self.parameters,
        )

    def note_set(self, *told):
        self.told = told

    def ask(self, verb, target="", number=0, **values):
        return self.answers[verb](Asked(target, number, ME, values))


@pytest.fixture
def supervisor(tmp_path):
    return Supervisor(tmp_path)


def test_questions_are_answered(supervisor):
    assert supervisor.ask("status")["state"] is State.READY
    assert "BecameReady" in supervisor.ask("history")["text"]


def test_an_order_is_carried_out_in_the_name_of_who_gave_it(supervisor):
    former = {"integrate.0": 2}
    answer = {"replicas": ["integrate.0"], "former": former}
    assert supervisor.ask("restart", "integrate") == answer
    assert supervisor.ask("status")["restarting"] == ["integrate.0"]
    assert supervisor.history.told[-1].by == f"a restart command ({ME})"


def test_what_was_done_to_the_quarantine_is_noted_in_the_name_of_who_did_it(supervisor):
    supervisor.ask("requeue", ids=["00aa", "00bb"])
    supervisor.ask("drop", ids=["00cc"])
    assert supervisor.noted == [
        ("requeue-ordered", "back from quarantine goes 00aa, 00bb", ME),
        ("drop-ordered", "dropped from quarantine is 00cc", ME),
    ]


@pytest.mark.parametrize("values", [{}, {"ids": "00aa"}, {"ids": [1]}, {"ids": ["a\nb"]}])
def test_a_note_of_something_else_is_refused(supervisor, values):
    with pytest.raises(UsageError, match="expected ids"):
        supervisor.ask("drop", **values)
    assert supervisor.noted == []


def test_an_order_for_a_stage_that_is_not_there_is_refused_and_noted(supervisor):
    with pytest.raises(UsageError, match="no stage or replica 'wrok'"):
        supervisor.ask("restart", "wrok")
    ((order, by, reason),) = supervisor.refused
    assert (order, by) == ("restart wrok", ME)
    assert "wrok" in reason


def test_nothing_is_restarted_while_the_chain_is_being_stopped(supervisor):
    supervisor.ask("stop")
    with pytest.raises(UsageError, match="the chain is being stopped"):
        supervisor.ask("restart", "integrate")


def test_a_stage_is_stopped_and_started_in_the_name_of_who_asked(supervisor):
    assert supervisor.ask("stop", "integrate") == {"replicas": ["integrate.0"]}
    assert supervisor.ask("stop", "integrate") == {"replicas": ["integrate.0"]}, "it waits, too"
    supervisor.history.end("integrate.0")
    assert supervisor.ask("status")["replicas"][1]["stopped_by"] == f"a stop command ({ME})"
    assert supervisor.ask("restart", "integrate")["replicas"] == []
    assert supervisor.ask("start") == {"replicas": ["integrate.0"]}
    assert supervisor.ask("start") == {"replicas": []}
    assert supervisor.history.state("integrate.0") is State.STARTING


def test_a_drain_stops_the_listeners_and_names_what_is_in_the_way(supervisor):
    supervisor.ask("stop", "patterns")
    assert supervisor.ask("drain") == {"replicas": ["images.0"], "in_the_way": ["patterns.0"]}
    supervisor.history.end("images.0")
    assert supervisor.history.state("integrate.0") is State.READY


def test_a_second_command_to_stop_the_chain_does_not_stop_it_now(supervisor):
    assert supervisor.ask("stop") == supervisor.ask("stop")
    assert supervisor.history.signals == [("images.0", signal.SIGTERM)]


def test_a_stage_is_scaled_down_and_up_again(tmp_path):
    supervisor = Supervisor(tmp_path, integrate={"replicas": 4})
    with pytest.raises(UsageError, match="integrate has 4 replicas in the chain file, so 1 to 4"):
        supervisor.ask("scale", "integrate", 5)
    answer = supervisor.ask("scale", "integrate", 1)
    assert answer["working"] == ["integrate.0"]
    assert answer["stopping"] == ["integrate.1", "integrate.2", "integrate.3"]
    for name in answer["stopping"]:
        supervisor.history.end(name)
    assert supervisor.ask("status")["state"] is State.READY, "as it is wanted"
    answer = supervisor.ask("scale", "integrate", 3)
    assert answer == {
        "working": ["integrate.0", "integrate.1", "integrate.2"],
        "stopping": ["integrate.3"],
    }
    assert supervisor.history.state("integrate.1") is State.STARTING


@pytest.mark.parametrize(
    ("target", "number", "words"),
    [
        ("integrate", 0, "integrate has 1 replica in the chain file, so no other number can run;"),
        ("integrate", 2, "integrate has 1 replica in the chain file, so no other number can run;"),
        ("integrate.0", 1, "integrate.0 is one process of a stage; scale integrate"),
    ],
)
def test_a_stage_is_not_scaled_beyond_what_it_is_linked_for(supervisor, target, number, words):
    with pytest.raises(UsageError, match=words):
        supervisor.ask("scale", target, number)
    assert supervisor.history.signals == []


def test_what_is_stopped_may_be_started_while_the_chain_is_being_stopped(supervisor):
    supervisor.ask("stop", "integrate")
    supervisor.history.end("integrate.0")
    assert supervisor.ask("stop")["in_the_way"] == ["integrate.0"]
    assert supervisor.ask("start") == {"replicas": ["integrate.0"]}
    with pytest.raises(UsageError, match="the chain is being stopped"):
        supervisor.ask("start")


def test_parameters_are_set_and_shown(tmp_path):
    supervisor = Supervisor(tmp_path, integrate={"parameters": {"level": 5}})
    number = supervisor.ask("set", "integrate", level=7)["number"]
    assert supervisor.ask("parameters", "integrate")["waits_for"] == ["integrate.0"]
    taken = ev.ParametersTaken(ReplicaName("integrate", 0), number, "")
    supervisor.parameters.hear(taken)
    shown = {"level": {"value": 7, "file": 5, "by": ME}}
    assert supervisor.ask("status")["parameters"] == {"integrate": shown}
    assert supervisor.told == ("integrate", "level = 7", ME)


def test_no_parameters_are_set_while_the_chain_is_being_stopped(tmp_path):
    supervisor = Supervisor(tmp_path, integrate={"parameters": {"level": 5}})
    supervisor.ask("stop")
    with pytest.raises(UsageError, match="the chain is being stopped"):
        supervisor.ask("set", "integrate", level=7)
    assert [order for order, _, _ in supervisor.refused] == ["set integrate"]
