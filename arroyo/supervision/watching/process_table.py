"""The living processes of a chain, by replica."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterator, Mapping

from arroyo.config.folders import Folders
from arroyo.config.graph import Chain
from arroyo.control.notify import NotifySocket
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions import events as ev

from .health_monitor import HealthMonitor
from .post_mortem import PostMortem
from .processes import Spawner, StageProcess
from .replica_files import idle_since


class ProcessTable:
    """Starts, watches and reaps the processes of a chain.

    Parameters
    ----------
    selector
        Gets the descriptors of the processes and of their notifications.
    on_notification
        Data of the descriptor in `selector`: to be called when `notifications` has some.
    on_end
        The same, for a replica whose process has ended; see `take_end`.
    """

    def __init__(
        self,
        chain: Chain,
        folders: Folders,
        spawner: Spawner,
        selector: selectors.BaseSelector,
        *,
        on_notification: Callable[[], None],
        on_end: Callable[[ReplicaName], None],
    ) -> None:
        self._chain = chain
        self._selector = selector
        self._on_end = on_end
        self._processes: dict[ReplicaName, StageProcess] = {}
        self._last_status: dict[ReplicaName, str] = {}
        self._post_mortem = PostMortem(chain, folders.run)
        self._spawner = spawner
        self._notify_socket = NotifySocket(folders.run.notify)
        self._monitor = HealthMonitor(folders.run)
        selector.register(self._notify_socket, selectors.EVENT_READ, on_notification)

    def close(self) -> None:
        """Close files and sockets; processes are left alone."""
        self._monitor.close()
        self._notify_socket.close()

    def use(self, chain: Chain) -> None:
        """Watch processes as this version of the chain says, also those that run."""
        self._chain = chain
        for name in self._processes:
            self._monitor.allow(name, chain.stages[name.stage])

    def __iter__(self) -> Iterator[ReplicaName]:
        return iter(self._processes)

    @property
    def pids(self) -> set[int]:
        """Numbers of the processes."""
        return {process.pid for process in self._processes.values()}

    @property
    def look_at(self) -> float | None:
        """When to look at them next; None while there are none."""
        return self._monitor.next_at

    def spawn(self, name: ReplicaName, now: float) -> ev.ProcessStarted | ev.StartFailed:
        """Start a process of a replica."""
        try:
            process = self._spawner.spawn(name)
        except OSError as error:
            return ev.StartFailed(name, str(error.strerror or error))
        self._processes[name] = process
        self._monitor.watch(name, process.pid, self._chain.stages[name.stage], now)
        self._post_mortem.oom_kills.watch(process.pid)
        self._selector.register(process, selectors.EVENT_READ, lambda: self._on_end(name))
        return ev.ProcessStarted(name, process.pid)

    def send(self, name: ReplicaName, number: int) -> None:
        """Send a signal to a replica's process, if it has one."""
        if name in self._processes:
            self._processes[name].send(number)

    def notifications(self) -> Iterator[ev.Ready | ev.Stopping | ev.ParametersTaken]:
        """Yield what processes have reported by sd_notify."""
        by_pid = {process.pid: name for name, process in self._processes.items()}
        for pid, fields in self._notify_socket.receive():
            if (name := by_pid.get(pid)) is None:
                continue
            if fields.get("READY") == "1":
                self._last_status.pop(name, None)
                # It may have been moved into another control group since it was started.
                self._post_mortem.oom_kills.watch(pid)
                yield ev.Ready(name)
            elif "STATUS" in fields:
                self._last_status[name] = fields["STATUS"]
            number, _, refusal = fields.get("X_PARAMETERS", "").partition(" ")
            if number.isdecimal():
                yield ev.ParametersTaken(name, int(number), refusal)
            if fields.get("STOPPING") == "1":
                yield ev.Stopping(name)

    def look(self, now: float) -> Iterator[ev.ConditionChanged]:
        """Sample all processes if it is time to; yield the conditions that have changed."""
        for name, verdict in self._monitor.look(now):
            yield ev.ConditionChanged(name, *verdict)

    @property
    def pages(self) -> Iterator[tuple[ReplicaName, Mapping[str, int]]]:
        """Status pages of all processes, as they were at the last `look`."""
        return self._monitor.seen

    def idle_since(self, name: ReplicaName) -> float | None:
        """Return since when a replica has been idle, in s (monotonic); None: it is at work."""
        return idle_since(self._monitor.page(name, self._processes[name].pid))

    def take_end(
        self, name: ReplicaName, *, hung: str = "", too_large: str = ""
    ) -> tuple[ev.ProcessEnded, Mapping[str, int]]:
        """Reap an ended process; return how it ended, and the words of its last status page.

        `hung`, `too_large`: what it was killed for, in words; empty: for nothing of that kind.
        """
        process = self._processes.pop(name)
        self._selector.unregister(process)
        page = self._monitor.page(name, process.pid)
        self._monitor.forget(name)
        end = process.reap()
        said = self._last_status.pop(name, "")
        evidence = self._post_mortem.examine(
            name, process.pid, end, page, hung=hung, too_large=too_large, said=said
        )
        return ev.ProcessEnded(name, end.status, evidence), page
