"""Programs of a chain as the state machine treats them: there before the stages, and after them."""

import signal

from supervised_histories import LINE, PROGRAM, History, name_of

from arroyo.config.graph import Supervision
from arroyo.supervision.decisions.actions import EndedBadly
from arroyo.supervision.decisions.events import State

TERM, KILL = int(signal.SIGTERM), int(signal.SIGKILL)


def make(keys=(), **settings):
    """A chain with a program, which the stages may need."""
    return History(LINE | {"broker": ()}, broker=PROGRAM | dict(keys), **settings)


def up(chain):
    """Have all processes READY, one after the other as they start."""
    for _ in chain.chain.replicas:
        chain.all_ready()
    return chain


def test_stages_start_when_the_program_is_ready():
    chain = make()
    assert chain.spawned == ["broker.0"]
    chain.ready("broker.0")
    assert chain.spawned == ["broker.0", "patterns.0", "integrate.0", "images.0"]


def test_a_program_that_is_not_ready_takes_no_place_of_an_importing_stage():
    chain = up(make(limit=1))
    chain.end("broker.0", 1)
    chain.end("integrate.0", -9)
    assert chain.state("broker.0") is State.STARTING
    assert chain.state("integrate.0") is State.STARTING


def test_a_stage_that_died_does_not_wait_for_a_program():
    chain = up(make())
    chain.end("broker.0", 1)
    chain.end("patterns.0", 1)
    assert chain.spawned[-2:] == ["broker.0", "patterns.0"]


def test_stages_do_not_wait_for_a_program_that_has_failed():
    chain = make(supervision=Supervision(max_restarts=0))
    chain.end("broker.0", 1)
    assert chain.state("broker.0") is State.FAILED
    assert chain.state("images.0") is State.STARTING


def test_a_program_ends_last():
    chain = up(make())
    chain.stop()
    for name in ("images.0", "integrate.0", "patterns.0"):
        assert ("broker.0", TERM) not in chain.signals
        chain.end(name)
    assert chain.signals[-1] == ("broker.0", TERM)
    chain.end("broker.0")
    assert chain.exit_code == 0


def test_a_chain_that_has_finished_ends_its_programs():
    chain = up(make())
    for name in ("images.0", "integrate.0", "patterns.0"):
        chain.end(name)
    assert chain.signals[-1] == ("broker.0", TERM)
    chain.pass_time(30)
    assert chain.signals[-1] == ("broker.0", KILL), "it would hold up the end for ever"
    chain.end("broker.0", -9)
    assert chain.exit_code == 1


def test_a_program_that_dies_while_the_chain_drains_comes_back():
    chain = up(make())
    chain.stop()
    chain.end("broker.0", -9)
    assert chain.state("broker.0") is State.STARTING


def test_one_that_exits_with_0_has_finished_and_can_be_started_again():
    chain = up(make())
    chain.end("broker.0")
    assert chain.state("broker.0") is State.STOPPED
    assert chain.exit_code is None
    chain.start_stage("broker")
    assert chain.state("broker.0") is State.STARTING


def test_unless_it_is_always_to_be_restarted():
    chain = up(make({"restart": "always"}))
    chain.end("broker.0")
    assert chain.state("broker.0") is State.STARTING


def test_what_was_stopped_by_command_stays_so_until_it_is_started():
    chain = up(make())
    chain.stop_stage("broker")
    chain.end("broker.0")
    assert chain.machine.replicas[name_of("broker.0")].held_by
    chain.start_stage("broker")
    assert chain.state("broker.0") is State.STARTING


def test_a_stop_before_the_program_is_ready_ends_it_at_once():
    chain = make()
    chain.stop()
    assert chain.signals == [("broker.0", TERM)]
    chain.end("broker.0")
    assert chain.exit_code == 0


def test_one_that_ends_badly_when_all_else_has_finished_does_not_come_back():
    chain = up(make())
    for name in ("images.0", "integrate.0", "patterns.0"):
        chain.end(name)
    (told,) = chain.end("broker.0", 1)
    assert isinstance(told, EndedBadly)
    assert chain.exit_code == 1
