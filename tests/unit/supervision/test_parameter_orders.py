"""Orders to set parameters, with processes that a test plays."""

import pytest
from supervised_histories import LINE, make_chain

from arroyo.control.parameter_note import ParameterNote, read_parameters
from arroyo.control.request_server import Asked
from arroyo.errors import UsageError
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.ending import Evidence
from arroyo.supervision.parameter_orders import ORDERS_MAX, OUTCOMES, ParameterOrders

BOTH = ("integrate.0", "integrate.1")
KEYS = {"replicas": 2, "parameters": {"level": 5, "mode": "fast"}}


class Played:
    """Two processes of `integrate` that are READY, and what people are told."""

    def __init__(self, folder):
        self.folder = folder
        self.ready = list(map(ReplicaName.parse, BOTH))
        self.told = []
        self.chain = make_chain(LINE, integrate=KEYS)
        self.orders = ParameterOrders(self.chain, lambda _: self.ready, folder.joinpath, self)

    def note_set(self, stage, values, by):
        self.told.append(f"{stage}: {values} by {by}")

    def note_refusal(self, order, by, reason):
        self.told.append(f"{order} by {by} refused: {reason}")

    def set(self, by="A", /, **values):
        return self.orders.order(Asked("integrate", 0, by, values))["number"]

    def take(self, name, number, refusal=""):
        self.orders.hear(ev.ParametersTaken(ReplicaName.parse(name), number, refusal))

    def outcome(self, number):
        return self.orders.show(Asked("integrate", 0, "A"))["outcomes"].get(str(number))

    def refusal(self, number):
        return self.outcome(number).refusal

    @property
    def note(self):
        return read_parameters(self.folder / "integrate")

    @property
    def values(self):
        return {name: each["value"] for name, each in self.orders.shown["integrate"].items()}


@pytest.fixture
def played(tmp_path):
    return Played(tmp_path)


def test_an_order_is_settled_when_all_processes_have_taken_it(played):
    number = played.set(level=7)
    assert played.note == ParameterNote(number, {"level": 7}, {})
    played.take("integrate.0", number)
    assert played.outcome(number) is None
    assert played.values == {"level": 5, "mode": "fast"}
    played.take("integrate.1", number)
    assert played.refusal(number) == ""
    assert played.note == ParameterNote(number, {"level": 7}, {"level": 7})
    assert played.values == {"level": 7, "mode": "fast"}
    assert played.told == ["integrate: level = 7 by A"]


def test_one_that_refuses_has_all_go_back_to_what_was(played):
    played.ready = played.ready[:1]
    played.take("integrate.0", played.set(level=6))
    played.ready = list(map(ReplicaName.parse, BOTH))
    number = played.set(level=-1)
    played.take("integrate.0", number)
    played.take("integrate.1", number, "it is negative")
    assert played.refusal(number) == "integrate.1 refuses: it is negative; the old values stay"
    assert played.note.number != number
    assert played.note.values == played.note.settled == {"level": 6}
    assert played.values["level"] == 6


def test_of_two_orders_the_last_one_wins_and_each_is_answered(played):
    first, second = played.set("A", level=7), played.set("B", level=8)
    assert played.note.values == {"level": 7}
    for number in (first, second):
        for name in BOTH:
            played.take(name, number)
    assert [played.refusal(first), played.refusal(second)] == ["", ""]
    assert played.orders.shown["integrate"]["level"] == {"value": 8, "file": 5, "by": "B"}
    assert played.told == ["integrate: level = 7 by A", "integrate: level = 8 by B"]


def test_a_process_that_dies_of_it_has_it_given_up(played):
    number = played.set(level=7)
    played.orders.hear(ev.ProcessEnded(ReplicaName.parse("integrate.1"), -11, Evidence()))
    assert "integrate.1 ended before it had taken it" in played.refusal(number)
    assert played.note.settled == played.note.values == {}


def test_a_process_that_ends_in_order_is_not_waited_for(played):
    number = played.set(level=7)
    played.take("integrate.0", number)
    played.orders.hear(ev.Stopping(ReplicaName.parse("integrate.1")))
    played.orders.hear(ev.ProcessEnded(ReplicaName.parse("integrate.1"), 0, Evidence()))
    assert played.refusal(number) == ""


def test_where_no_process_works_it_holds_for_those_that_come(played):
    played.ready = []
    assert played.refusal(played.set(level=7)) == ""
    assert played.note.settled == {"level": 7}


def test_late_and_strange_reports_change_nothing(played):
    number = played.set(level=7)
    played.take("integrate.0", number - 1, "no")
    played.take("images.0", number, "no")
    for name in BOTH:
        played.take(name, number)
    played.take("integrate.0", number, "no")
    assert played.refusal(number) == ""


def test_what_can_not_be_written_is_refused_and_the_next_order_has_its_turn(played):
    (played.folder / "integrate.draft").mkdir()
    number = played.set(level=7)
    assert "the run directory takes no note of it" in played.refusal(number)
    assert played.outcome(number).may_pass
    (played.folder / "integrate.draft").rmdir()
    number = played.set(level=8)
    for name in BOTH:
        played.take(name, number)
    assert played.values["level"] == 8


def test_the_values_of_an_earlier_supervisor_are_forgotten(played):
    played.ready = []
    played.set(level=7)
    assert Played(played.folder).note is None


def test_a_version_of_the_chain_file_counts_for_what_it_changes(played):
    played.ready = []
    played.set(level=7, mode="slow")
    played.orders.use(make_chain(LINE, integrate={"parameters": {"level": 6, "mode": "fast"}}))
    assert played.values == {"level": 6, "mode": "slow"}
    assert played.note.settled == {"mode": "slow"}
    assert [each["by"] for each in played.orders.shown["integrate"].values()] == [None, "A"]


def test_processes_that_run_keep_what_was_set_until_they_have_the_new_version(played):
    number = played.set(level=7)
    for name in BOTH:
        played.take(name, number)
    played.orders.use(make_chain(LINE, integrate={"parameters": {"level": 6, "mode": "fast"}}))
    assert played.note == ParameterNote(number, {}, {})


def test_a_version_that_is_taken_back_leaves_what_was_set(played):
    played.ready = []
    played.set(level=7, mode="slow")
    played.orders.use(make_chain(LINE, integrate={"parameters": {"level": 6, "mode": "fast"}}))
    played.set(level=8)
    played.orders.use(played.chain)
    assert played.values == {"level": 7, "mode": "slow"}
    assert played.note.settled == {"level": 7, "mode": "slow"}
    again = make_chain(LINE, integrate={"parameters": {"level": 6, "mode": "fast"}})
    played.orders.use(again)
    played.orders.use(make_chain(LINE, integrate=KEYS))  # the same, but asked for
    assert played.values == {"level": 5, "mode": "slow"}


def test_orders_that_wait_while_another_version_comes_are_given_up(played):
    numbers = [played.set(level=level) for level in (7, 8)]
    played.orders.use(make_chain(LINE, integrate={"parameters": {"level": 6}}))
    assert all("was reloaded meanwhile" in played.refusal(number) for number in numbers)
    assert played.note.values == {}


@pytest.mark.parametrize(
    ("target", "values", "said"),
    [
        ("integrat", {"level": 1}, "no stage 'integrat'; did you mean 'integrate'"),
        ("integrate.0", {"level": 1}, "the same in all processes of a stage"),
        ("images", {"level": 1}, "stage images has no parameters; name them in the chain file"),
        ("integrate", {"leval": 1}, "did you mean 'level'"),
        ("integrate", {"level": "x", "mode": 1}, "level: .*; mode: "),
    ],
)
def test_what_can_not_be_set_is_refused(played, target, values, said):
    with pytest.raises(UsageError, match=said):
        played.orders.order(Asked(target, 0, "A", values))
    assert played.note is None


def test_what_waits_and_what_is_remembered_is_bounded(played):
    for level in range(ORDERS_MAX):
        played.set(level=level)
    with pytest.raises(UsageError, match=r"wait for integrate\.0, integrate\.1; try again later"):
        played.set(level=99)
    played.ready = []
    played.orders.hear(ev.ProcessEnded(ReplicaName.parse("integrate.0"), 1, Evidence()))
    for level in range(OUTCOMES):
        played.set(level=level)
    assert len(played.orders.show(Asked("integrate", 0, "A"))["outcomes"]) == OUTCOMES
