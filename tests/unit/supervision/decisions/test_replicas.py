import pytest
from supervised_histories import LINE, make_chain, name_of

from arroyo.config.graph import Input
from arroyo.supervision.decisions.events import State
from arroyo.supervision.decisions.replicas import Replicas


@pytest.fixture
def replicas():
    """A chain that works: each replica has a process that is READY."""
    made = Replicas(make_chain(LINE, integrate={"replicas": 2}))
    for replica in made:
        replica.spawn(0.0)
        replica.state, replica.ready_at = State.READY, 1.0
    made.was_ready = True
    return made


def finish(replicas, name):
    replica = replicas[name_of(name)]
    replica.end()
    replica.rest()


def names(found):
    return [str(replica.name) for replica in found]


def hold(replicas, name):
    finish(replicas, name)
    replicas[name_of(name)].held_by = "a stop command"


def test_a_source_need_not_wait_for_a_replica_that_others_stand_in_for(replicas):
    assert replicas.dispensable == ()
    hold(replicas, "integrate.1")
    assert replicas.dispensable == (name_of("integrate.1"),)
    hold(replicas, "integrate.0")
    assert replicas.dispensable == (), "what the source takes could go nowhere"


def test_nor_for_what_a_pub_sub_link_leads_to():
    links = {"images": (), "live": ("images",)}
    made = Replicas(make_chain(links, live={"inputs": (Input("images", "pub-sub"),)}))
    made[name_of("live.0")].state = State.FAILED
    assert made.dispensable == (name_of("live.0"),)


def test_but_for_one_that_comes_back_soon(replicas):
    finish(replicas, "integrate.1")
    replicas[name_of("integrate.1")].state = State.BACKOFF
    assert replicas.dispensable == ()


def test_sources_come_first_and_start_last(replicas):
    assert names(replicas)[0] == "images.0"
    assert names(replicas.sinks_first)[-1] == "images.0"


def test_a_stage_is_cut_off_when_all_replicas_above_have_ended(replicas):
    finish(replicas, "images.0")
    assert names(replicas.cut_off()) == ["integrate.0", "integrate.1"]
    finish(replicas, "integrate.0")
    assert not replicas.is_cut_off(replicas[name_of("patterns.0")])
    finish(replicas, "integrate.1")
    assert replicas.is_cut_off(replicas[name_of("patterns.0")])


def test_one_that_the_caller_ends_counts_at_once_for_those_below(replicas):
    finish(replicas, "images.0")
    found = []
    for replica in replicas.cut_off():
        found.append(str(replica.name))
        finish(replicas, str(replica.name))
    assert found == ["integrate.0", "integrate.1", "patterns.0"]


def test_a_failed_listener_is_over_only_while_the_chain_stops(replicas):
    images = replicas[name_of("images.0")]
    images.end()
    images.state = State.FAILED
    assert not replicas.stages_over()["images"]
    replicas.stopping = True
    assert replicas.stages_over()["images"]


def test_an_operator_may_finish_while_all_above_it_drains(replicas):
    integrate = replicas[name_of("integrate.0")]
    assert not replicas.may_finish(integrate)
    replicas[name_of("images.0")].state = State.DRAINING
    assert replicas.may_finish(integrate)


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, State.READY),
        ({"images.0": State.BACKOFF}, State.DEGRADED),
        (dict.fromkeys(["images.0", "integrate.0", "integrate.1"], State.DRAINING), State.READY),
    ],
)
def test_the_state_of_the_chain_follows_from_its_replicas(replicas, changed, state):
    for name, new in changed.items():
        replicas[name_of(name)].state = new
    assert replicas.state is state


def test_a_chain_that_stops_is_draining_until_all_has_ended(replicas):
    replicas.stopping = True
    assert replicas.state is State.DRAINING
    for name in names(replicas):
        finish(replicas, name)
    assert replicas.is_over and replicas.state is State.STOPPED
