"""What the state machine makes of the judge's verdicts."""

import signal

from supervised_histories import History

from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions.events import State
from arroyo.supervision.decisions.health import Condition
from arroyo.supervision.decisions.health_response import LAST_STACKS_S, STACKS_S

NAME = "integrate.0"


def ready():
    history = History().all_ready()
    history.signals.clear()
    return history


def test_a_hung_stage_writes_its_stacks_and_then_dies():
    history = ready()
    told = history.condition(NAME, Condition.HUNG, 31.2)
    assert told == [act.Hung(_name(history), "hung in process() for 31 s")]
    assert history.signals == [(NAME, signal.SIGUSR1)]
    assert history.machine.replicas[_name(history)].hung == "hung in process() for 31 s"
    history.pass_time(STACKS_S)
    assert history.signals[1:] == [(NAME, signal.SIGKILL)]
    history.pass_time(10)
    assert len(history.signals) == 2


def test_it_comes_back_by_the_policy_and_is_well():
    history = ready()
    history.condition(NAME, Condition.HUNG, 31.2)
    history.pass_time(STACKS_S)
    told = history.end(NAME, -9)
    assert [type(each) for each in told] == [act.WillRestart]
    assert history.spawned.count(NAME) == 2
    history.ready(NAME)
    assert history.machine.replicas.state is State.READY
    assert history.machine.replicas[_name(history)].hung == ""


def test_one_that_comes_to_itself_in_time_lives():
    history = ready()
    history.condition(NAME, Condition.HUNG, 31.2)
    assert history.condition(NAME, Condition.WELL) == [act.BecameWell(_name(history))]
    history.pass_time(10)
    assert history.signals == [(NAME, signal.SIGUSR1)]


def test_a_stopped_stage_is_announced_once_and_degraded_until_it_goes_on():
    history = ready()
    told = history.condition(NAME, Condition.STOPPED)
    assert told == [act.BecameUnwell(_name(history), Condition.STOPPED)]
    assert history.machine.replicas[_name(history)].seen_state is State.DEGRADED
    assert history.machine.replicas.state is State.DEGRADED
    assert history.condition(NAME, Condition.WELL) == [act.BecameWell(_name(history))]
    assert history.machine.replicas.state is State.READY
    assert history.signals == []


def test_back_pressure_is_shown_and_not_announced():
    history = ready()
    assert history.condition(NAME, Condition.HELD_UP, 10.0) == []
    assert history.machine.replicas[_name(history)].seen_state is State.DEGRADED
    assert history.condition(NAME, Condition.WELL) == []
    assert history.signals == []


def test_one_that_was_forgotten_is_killed():
    history = ready()
    history.condition(NAME, Condition.STOPPED)
    told = history.condition(NAME, Condition.FORGOTTEN, 60.1)
    assert told == [act.Killed(_name(history), "it was stopped for 60 s")]
    assert history.signals == [(NAME, signal.SIGKILL)]


def limited(*, is_ready):
    history = History(integrate={"memory_max_bytes": 512 << 20})
    history = history.all_ready() if is_ready else history
    history.signals.clear()
    told = history.condition(NAME, Condition.TOO_LARGE, memory_bytes=612 << 20)
    assert told == [
        act.Killed(
            _name(history),
            "it has 612 MiB of memory, more than its memory_max_bytes of 512 MiB",
        )
    ]
    return history


def test_a_stage_with_too_much_memory_writes_its_stacks_and_then_dies():
    history = limited(is_ready=True)
    assert history.signals == [(NAME, signal.SIGUSR1)]
    history.pass_time(LAST_STACKS_S)
    assert history.signals[1:] == [(NAME, signal.SIGKILL)]
    too_large = history.machine.replicas[_name(history)].too_large
    assert too_large == "612 MiB of memory, more than its memory_max_bytes of 512 MiB"
    told = history.end(NAME, -9)
    assert [type(each) for each in told] == [act.WillRestart]
    assert history.machine.replicas[_name(history)].too_large == ""


def test_one_that_is_not_ready_yet_can_write_no_stacks():
    history = limited(is_ready=False)
    assert history.signals == [(NAME, signal.SIGKILL)]


def test_a_hang_while_the_chain_drains_is_replaced_too():
    history = ready()
    history.stop()
    history.condition(NAME, Condition.HUNG, 30.0)
    history.pass_time(STACKS_S)
    assert history.signals[-1] == (NAME, signal.SIGKILL)
    history.end(NAME, -9)
    assert history.state(NAME) is State.STARTING


def _name(history):
    return history.chain.stages["integrate"].names[0]
