"""Chains for the supervisor's state machine, and a way to replay histories on it."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from arroyo.config.graph import Chain, Input, Stage, Supervision
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions import actions as act
from arroyo.supervision.decisions import events as ev
from arroyo.supervision.decisions.happening import Happening
from arroyo.supervision.decisions.state_machine import ChainMachine


def make_chain(links, supervision=None, **settings):
    """A chain from ``{"a": (), "b": ("a",)}``; `settings` of a stage by its name."""
    below = {source for sources in links.values() for source in sources}
    stages = {}
    for name, sources in links.items():
        role = "listener" if not sources else "operator" if name in below else "publisher"
        stages[name] = Stage(
            name=name,
            **{
                "role": role,
                "inputs": tuple(map(Input, sources)),
                "target": "module:Class",
                **settings.get(name, {}),
            },
        )
    return Chain(
        name="chain",
        folder=Path("/"),
        path=Path("/chain.toml"),
        stages=stages,
        supervision=supervision or Supervision(),
    )


PROGRAM = {"role": "program", "target": "", "command": ("broker",)}
"""Settings of a stage that is a program."""
LINE = {"images": (), "integrate": ("images",), "patterns": ("integrate",)}


class History:
    """Replays events on a machine and keeps what it asked for.

    Replicas are written ``stage.0``. `now` goes on by hand; the processes that the machine asks
    for start at once, as `pid`s in order.
    """

    def __init__(self, links=LINE, limit=99, random=lambda: 0.5, supervision=None, **settings):
        self.chain = make_chain(links, supervision, **settings)
        self.now = 1000.0
        self.machine = ChainMachine(self.chain, limit, random, self.now)
        self.told = []
        self.spawned = []
        self.signals = []
        self.exit_code = None
        self.pids = 0
        self.do(ev.Tick())

    def do(self, *events):
        """Hand over events; return what was announced because of them."""
        told = []
        for event in events:
            for action in self.machine.handle(event, self.now):
                match action:
                    case act.Spawn(name):
                        self.spawned.append(str(name))
                        self.pids += 1
                        told += self.do(ev.ProcessStarted(name, self.pids))
                    case act.Signal(name, number):
                        self.signals.append((str(name), int(number)))
                    case act.UseVersion(chain):
                        self.chain = chain
                    case act.Finish(exit_code, reasons):
                        assert self.exit_code is None
                        assert bool(exit_code) == bool(reasons), "a reason for each code but 0"
                        self.exit_code, self.reasons = exit_code, reasons
                    case _:
                        told.append(action)
        self.told += told
        return told

    def pass_time(self, seconds):
        """Let time go by, with a Tick whenever the machine has asked for one."""
        end = self.now + seconds
        told = []
        for _ in range(10_000):
            next_at = self.machine.next_at
            if next_at is None or next_at > end:
                self.now = end
                return told
            self.now = max(self.now, next_at)
            told += self.do(ev.Tick())
        raise AssertionError("the machine asks for a Tick again and again")

    def ready(self, *names):
        return self.do(*(ev.Ready(name_of(name)) for name in names))

    def end(self, name, status=None):
        """End a process; without a status in order: it says STOPPING, and exits with 0."""
        if status is None:
            return self.stopping(name) + self.end(name, 0)
        return self.do(ev.ProcessEnded(name_of(name), status))

    def stopping(self, name):
        return self.do(ev.Stopping(name_of(name)))

    def stop(self):
        return self.do(ev.StopRequested("SIGINT"))

    def restart(self, target=""):
        return self.do(ev.RestartRequested(target, "a restart command"))

    def stop_stage(self, target):
        return self.do(ev.StageStopRequested(target, "a stop command"))

    def start_stage(self, target):
        return self.do(ev.StageStartRequested(target, "a start command"))

    def scale(self, stage, number):
        return self.do(ev.ScaleRequested(stage, number, "a scale command"))

    def reload(self, *restarts, supervision=None, **settings):
        """Go on with other settings of stages; `restarts`: those that have to be restarted."""
        changed = {
            name: replace(stage, **settings.get(name, {}))
            for name, stage in self.chain.stages.items()
        }
        limits = supervision or self.chain.supervision
        chain = replace(self.chain, stages=changed, supervision=limits)
        return self.do(ev.ReloadRequested(chain, ("a key",), restarts, "a reload command"))

    def condition(self, name, condition, for_s=0.0, place="process()", memory_bytes=0):
        return self.do(ev.ConditionChanged(name_of(name), condition, for_s, place, memory_bytes))

    def idle(self, name, since=None):
        return self.do(ev.Idle(name_of(name), self.now if since is None else since))

    def all_ready(self):
        self.ready(*(str(name) for name in self.chain.replicas))
        return self

    def state(self, name):
        return self.machine.replicas[name_of(name)].state


def name_of(text):
    return ReplicaName.parse(text)


def declared_in(module):
    """The classes of events or actions that a module defines."""
    classes = [each for each in vars(module).values() if isinstance(each, type)]
    own = [each for each in classes if each.__module__ == module.__name__]
    return {each for each in own if issubclass(each, Happening)}
