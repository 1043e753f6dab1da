"""Orders for stages, in any order and at any time: each replica ends as it was told last.

After reloads all have the options of one and the same version: the last, or that before it.

Processes obey here, unless they crash, and sources go on for ever; `test_random_schedules` has
those that don't.
``ARROYO_SCHEDULES=100000`` plays so many orders of events by a plain random generator, which is
seven times as fast as hypothesis, but can't find a shorter one that fails.
"""

import os
import signal
from random import Random

import pytest
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from msgspec.structs import replace
from supervised_histories import LINE, PROGRAM, make_chain

from arroyo.config.graph import Supervision
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.backoff import BACKOFF_LIMIT_S
from arroyo.supervision.decisions.events import State
from arroyo.supervision.decisions.state_machine import ChainMachine

OFTEN = Supervision(max_restarts=10**6, chain_max_restarts=10**6)
CHAIN = make_chain(LINE | {"broker": ()}, OFTEN, integrate={"replicas": 2}, broker=PROGRAM)
TIMES_S = [0.1, 5.0, 31.0]
SCHEDULES = int(os.environ.get("ARROYO_SCHEDULES", "200"))
STEPS = 40
TARGETS = ["", *CHAIN.stages, *map(str, CHAIN.replicas)]


def reloaded(chain, factor):
    """The chain with another option of all stages."""
    stages = {
        name: replace(stage, options={"factor": factor}) for name, stage in chain.stages.items()
    }
    return replace(chain, stages=stages)


def choose(data, options):
    """Choose one by hypothesis, or by a plain random generator."""
    return data.choice(options) if isinstance(data, Random) else data.draw(st.sampled_from(options))


class Orders(RuleBasedStateMachine):
    """`importing`, `ready` and `told` are what processes do; `wanted` is what was ordered last."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.phase = {}
        self.factor = {}
        self.chain = reloaded(CHAIN, 0)
        self.ordered = self.ended = 0
        self.wanted = dict.fromkeys(CHAIN.replicas, True)
        self.spare = set()
        self.exit_code = None
        self.machine = ChainMachine(self.chain, 2, lambda: 0.5, self.now)
        self.do(ev.Tick())

    def do(self, event):
        killed = []
        for action in self.machine.handle(event, self.now):
            match action:
                case act.Spawn(name):
                    self.phase[name] = "importing"
                    self.factor[name] = self.chain.stages[name.stage].options["factor"]
                case act.UseVersion(chain):
                    self.chain = chain
                case act.Reloaded() | act.RolledBack():
                    self.ended += 1
                case act.Signal(name, signal.SIGTERM):
                    assert self.phase[name] != "told", "a second signal would cut it short"
                    self.phase[name] = "told"
                case act.Signal(name, signal.SIGKILL):
                    killed.append(name)
                case act.Finish(exit_code):
                    self.exit_code = exit_code
        for name in killed:
            del self.phase[name]
            self.do(ev.ProcessEnded(name, -9))

    def those(self, phase):
        return sorted(name for name, each in self.phase.items() if each == phase)

    @rule(whom=st.sampled_from(TARGETS))
    def stop(self, whom):
        self.wanted |= dict.fromkeys((each.name for each in self.named(whom)), False)
        self.do(ev.StageStopRequested(whom, "a command"))

    @rule(whom=st.sampled_from(TARGETS))
    def start(self, whom):
        for replica in self.named(whom):
            if whom == str(replica.name):
                self.spare.discard(replica.name)
            self.wanted[replica.name] = replica.name not in self.spare
        self.do(ev.StageStartRequested(whom, "a command"))

    @rule(stage=st.sampled_from(list(CHAIN.stages)), number=st.integers(1, 2))
    def scale(self, stage, number):
        for name in CHAIN.stages[stage].names:
            self.wanted[name] = name.replica < number
            (self.spare.discard if self.wanted[name] else self.spare.add)(name)
        self.do(ev.ScaleRequested(stage, number, "a command"))

    @rule(whom=st.sampled_from(TARGETS))
    def restart(self, whom):
        self.do(ev.RestartRequested(whom, "a command"))

    @precondition(lambda self: not self.machine.reloading.is_under_way)
    @rule()
    def reload(self):
        self.ordered += 1
        chain = reloaded(CHAIN, self.ordered)
        restarts = tuple(CHAIN.stages)
        self.do(ev.ReloadRequested(chain, ("factor",), restarts, "a command"))

    @precondition(lambda self: self.those("importing"))
    @rule(data=st.data())
    def can_not_start(self, data):
        name = choose(data, self.those("importing"))
        del self.phase[name]
        self.do(ev.ProcessEnded(name, 1))

    def named(self, whom):
        return self.machine.replicas.named(whom)

    @precondition(lambda self: self.those("importing"))
    @rule(data=st.data())
    def becomes_ready(self, data):
        self.make_ready(choose(data, self.those("importing")))

    def make_ready(self, name):
        self.phase[name] = "ready"
        self.do(ev.Ready(name))

    @precondition(lambda self: self.those("told"))
    @rule(data=st.data())
    def obeys(self, data):
        self.end(choose(data, self.those("told")))

    def end(self, name):
        del self.phase[name]
        self.do(ev.Stopping(name))
        self.do(ev.ProcessEnded(name, 0))

    @precondition(lambda self: self.phase)
    @rule(data=st.data())
    def crashes(self, data):
        name = choose(data, sorted(self.phase))
        del self.phase[name]
        self.do(ev.ProcessEnded(name, -11))

    @rule(seconds=st.sampled_from(TIMES_S))
    def time_passes(self, seconds):
        self.now += seconds
        self.do(ev.Tick())

    def teardown(self):
        note("\n".join(self.machine.history.lines()))
        self.settle()

    def settle(self):
        """Let processes obey for a while; then all must be as it was ordered last."""
        for _ in range(20):  # restarts come one after the other
            for name in self.those("importing"):
                self.make_ready(name)
            for name in self.those("told"):
                self.end(name)
            self.time_passes(BACKOFF_LIMIT_S * 1.3)
        assert self.exit_code is None
        for replica in self.machine.replicas:
            wanted = State.READY if self.wanted[replica.name] else State.STOPPED
            assert replica.state is wanted, replica.name
            assert (replica.name in self.phase) == self.wanted[replica.name]
        assert not self.machine.reloading.is_under_way
        assert self.ended == self.ordered, "each reload is carried out or taken back"
        for name in self.phase:
            expected = self.chain.stages[name.stage].options["factor"]
            assert self.factor[name] == expected, f"{name} has another version"
        works = {name.stage for name, wanted in self.wanted.items() if wanted}
        state = State.READY if works == set(CHAIN.stages) else State.DEGRADED
        assert self.machine.replicas.state is state

    def stop_all(self):
        """Stop the chain: it ends, and nothing of it is left."""
        self.do(ev.StopRequested("SIGTERM"))
        for _ in CHAIN.levels:  # sources first
            for name in self.those("told"):
                self.end(name)
        assert self.exit_code in {0, 1}, "1: a source that was stopped had ended badly"
        assert self.phase == {}


Orders.TestCase.settings = settings(max_examples=100, stateful_step_count=STEPS, deadline=None)
TestOrders = Orders.TestCase


def step(orders, random):
    """Let something happen that can happen now."""
    by_data = [orders.crashes] if orders.phase else []
    if orders.those("importing"):
        by_data += [orders.can_not_start, orders.becomes_ready, orders.becomes_ready]
    if orders.those("told"):
        by_data += [orders.obeys, orders.obeys]
    by_target = [orders.stop, orders.start, orders.restart]
    others = [orders.scale, orders.time_passes]
    if not orders.machine.reloading.is_under_way:
        others.append(orders.reload)
    rule = random.choice([*by_data, *by_target, *others])
    if rule in by_data:
        rule(random)
    elif rule in by_target:
        rule(random.choice(TARGETS))
    elif rule == orders.scale:
        rule(random.choice(list(CHAIN.stages)), random.choice([1, 2]))
    elif rule == orders.time_passes:
        rule(random.choice(TIMES_S))
    else:
        rule()


@pytest.mark.timeout(60 + SCHEDULES // 20)
def test_each_of_many_random_orders_of_events_ends_in_the_commanded_state():
    for seed in range(SCHEDULES):
        orders, random = Orders(), Random(seed)
        try:
            for _ in range(random.randint(1, STEPS)):
                step(orders, random)
            orders.settle()
            orders.stop_all()
        except AssertionError as error:
            error.add_note(f"seed {seed}\n" + "\n".join(orders.machine.history.lines()))
            raise
