"""Things that go wrong, each an object that strikes a running chain once.

A fault is told which replicas it may meet, and says in words what it has done; None where it has
found nothing to strike. Chance comes from the schedule's own generator, so a seed repeats it.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import hostile_frames
import zmq
from chains import is_gone, wait_until

from arroyo.identifiers import ReplicaName
from arroyo.telemetry.status_page import read_status_page
from arroyo.telemetry.status_words import Phase

FATE_DEADLINE_S = 120.0
PHASES = (Phase.STARTING, Phase.OPEN, Phase.IDLE, Phase.PROCESS, Phase.BLOCKED, Phase.DRAIN)
LOWERED_S = 0.5
FRAMES_AT_ONCE = 10


class Fault(ABC):
    """Something that goes wrong."""

    @abstractmethod
    def strike(self, campaign, random):
        """Do it once, and undo what does not go by itself; return what was done, in words."""


@dataclass
class Signal(Fault):
    """Send a signal to one replica, at whatever it is just doing."""

    number: signal.Signals = signal.SIGKILL

    def strike(self, campaign, random):
        name, pid = campaign.choose(random)
        if pid is None or not send(pid, self.number):
            return None
        return f"{self.number.name} to {name} ({pid})"


@dataclass
class KillInPhase(Fault):
    """Kill one replica just when its status page says that it is at something."""

    patience_s: float = 0.5

    def strike(self, campaign, random):
        phase = random.choice(PHASES)
        name, pid = campaign.choose(random)
        if pid is None:
            return None
        if phase in (Phase.STARTING, Phase.OPEN):
            send(pid, signal.SIGKILL)  # its next life is what it is about
        elif phase is Phase.DRAIN:
            send(pid, signal.SIGTERM)
        page = campaign.chain.run_directory.status_page(ReplicaName.parse(name))
        deadline = time.monotonic() + self.patience_s
        while time.monotonic() < deadline:
            words = read_status_page(page)
            if words is not None and words["phase"] == phase and not is_gone(words["pid"]):
                send(words["pid"], signal.SIGKILL)
                return f"SIGKILL to {name} ({words['pid']}) in {phase.name}"
        return None


@dataclass
class Pause(Fault):
    """Stop one replica for a while, then let it go on."""

    shortest_s: float = 0.1
    longest_s: float = 3.0

    def strike(self, campaign, random):
        name, pid = campaign.choose(random)
        seconds = random.uniform(self.shortest_s, self.longest_s)
        if pid is None or not send(pid, signal.SIGSTOP):
            return None
        wait(seconds)
        send(pid, signal.SIGCONT)
        return f"{name} ({pid}) stopped for {seconds:.1f} s"


@dataclass
class Fate(Fault):
    """Let one replica of a stage meet its fate on the next event; see `oracle_stages.FATES`."""

    kind: str

    def strike(self, campaign, random):
        stage = random.choice(campaign.stages)
        file = campaign.chain.folder / f"{stage}.fate"
        before = set(campaign.chain.folder.glob(f"{stage}.fate.*"))
        draft = file.with_suffix(".draft")
        draft.write_text(self.kind)
        draft.rename(file)
        try:
            wait_until(lambda: not file.exists(), lambda: f"no event for {stage}", FATE_DEADLINE_S)
        finally:
            file.unlink(missing_ok=True)
        met = set(campaign.chain.folder.glob(f"{stage}.fate.*")) - before
        pids = [int(path.suffix[1:]) for path in met]
        wait_until(
            lambda: all(map(is_gone, pids)),
            lambda: f"{pids} of {stage} not replaced",
            FATE_DEADLINE_S,
        )
        return f"{stage} ({', '.join(map(str, pids))}): {self.kind}"


class NoDescriptors(Fault):
    """Let one replica, or the supervisor, open nothing for a while; another is killed meanwhile."""

    def strike(self, campaign, random):
        name, pid = random.choice(
            [campaign.choose(random), ("supervisor", campaign.supervisor.pid)]
        )
        if pid is None:
            return None
        with (
            suppress(ProcessLookupError, FileNotFoundError),
            limited(pid, resource.RLIMIT_NOFILE, len(os.listdir(f"/proc/{pid}/fd"))),
        ):
            other, victim = campaign.choose(random)
            if victim is not None:
                send(victim, signal.SIGKILL)
            wait(LOWERED_S)
            return f"no descriptors for {name} ({pid}) while {other} is killed"
        return None


class HostileFrames(Fault):
    """A stranger connects to a replica's sockets, and sends what is no record."""

    def strike(self, campaign, random):
        name, pid = campaign.choose(random)
        if pid is None:
            return None
        corpus = {"in": hostile_frames.HOSTILE_DATA, "back": hostile_frames.HOSTILE_BACK}
        with zmq.Context() as context:
            for kind, frames in corpus.items():
                path = campaign.chain.run_directory.socket(kind, name)
                if not path.exists():
                    continue
                with context.socket(zmq.PUSH) as stranger:
                    stranger.linger = 100
                    stranger.connect(f"ipc://{path}")
                    for frame in random.choices(list(frames.values()), k=FRAMES_AT_ONCE):
                        with suppress(zmq.Again):
                            stranger.send_multipart(
                                [frame, *[b"body"] * random.randrange(2)], zmq.DONTWAIT
                            )
        return f"hostile frames to {name} ({pid})"


class SupervisorDeath(Fault):
    """Kill the supervisor; once its stages have drained and gone, start another."""

    def strike(self, campaign, random):
        old = campaign.supervisor
        old.kill()
        pids = campaign.chain.pids()
        wait_until(
            lambda: all(map(is_gone, pids.values())),
            lambda: f"outlive their supervisor: {campaign.chain.pids()}",
        )
        campaign.supervise()
        return f"SIGKILL to the supervisor ({old.pid})"


FAULTS = {
    "kill": Signal(signal.SIGKILL),
    "kill-in-phase": KillInPhase(),
    "term": Signal(signal.SIGTERM),
    "stop": Pause(),
    "hang": Fate("python"),
    "hang-in-c": Fate("c"),
    "memory": Fate("memory"),
    "descriptors": NoDescriptors(),
    "frames": HostileFrames(),
    "supervisor": SupervisorDeath(),
}
"""Faults by the names that `scripts/faults` knows."""
RAISING = {"memory", "descriptors"}
"""With these a stage's code may raise, which is no message's fault."""


def send(pid, number):
    """Send a signal; False where there is nobody any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def wait(seconds):
    """Let a fault last."""
    threading.Event().wait(seconds)


@contextmanager
def limited(pid, limit, value):
    """Lower a soft limit of another process for a while."""
    soft, hard = resource.prlimit(pid, limit)
    resource.prlimit(pid, limit, (value, hard))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, limit, (soft, hard))
