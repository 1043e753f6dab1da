"""Kills for lack of memory, as the kernel counts them in each control group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


def counters_of(pid: int, mount: Path = Path("/sys/fs/cgroup")) -> Iterator[Path]:
    """Yield the files in which the kernel may count for a process; version 1 first."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return
    groups = {}
    for line in lines:
        _, controllers, group = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), group.lstrip("/")))
    if "memory" in groups:
        yield mount / "memory" / groups["memory"] / "memory.oom_control"
    if "" in groups:
        yield mount / groups[""] / "memory.events"


class OomKills:
    """Tells these kills from other SIGKILLs.

    A group's counter says how many processes were killed, not which. Each new one is put down to
    the first killed process of that group that is asked for.

    `counters_of`: gives the files in which the kernel may count for a process, by its pid.
    """

    def __init__(self, counters_of: Callable[[int], Iterable[Path]] = counters_of) -> None:
        self._counters_of = counters_of
        self._seen: dict[Path, int] = {}
        self._counters: dict[int, Path] = {}

    def watch(self, pid: int) -> None:
        """Note the group of a living process. Call it again when the process may have moved."""
        for counter in self._counters_of(pid):
            count = _count(counter)
            if count is not None:
                self._counters[pid] = counter
                self._seen.setdefault(counter, count)
                return

    def claim(self, pid: int) -> bool:
        """Return True if this process, which a SIGKILL has ended, was killed for lack of memory."""
        counter = self._counters.get(pid)
        if counter is None or (_count(counter) or 0) <= self._seen[counter]:
            return False
        self._seen[counter] += 1
        return True

    def forget(self, pid: int) -> None:
        """Forget a process that has ended."""
        self._counters.pop(pid, None)


def _count(counter: Path) -> int | None:
    """Return how many processes of a group were killed; None where they are not counted."""
    try:
        fields = dict(line.split() for line in counter.read_text().splitlines())
        return int(fields["oom_kill"])
    except (OSError, ValueError, KeyError):
        return None
