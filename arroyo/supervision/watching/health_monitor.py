"""Looks at every living process several times a second, cheaply.

What it reads stays open: the status page, which is the same file over restarts, and the state in
/proc, which is that of the process even if another gets its number. `HealthCheck` judges.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from arroyo.config.graph import Stage
from arroyo.config.run_directory import RunDirectory
from arroyo.identifiers import ReplicaName
from arroyo.supervision.decisions.health import Condition, Health, HealthCheck, Sample
from arroyo.telemetry.status_page import parse_status_page
from arroyo.telemetry.status_words import HEAD_BYTES

LOOK_EVERY_S = 0.25
_STAT_BYTES = 512
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class HealthMonitor:
    """Watches the processes of a chain."""

    def __init__(self, run_directory: RunDirectory) -> None:
        self._run_directory = run_directory
        self._watched: dict[ReplicaName, _Watched] = {}
        self._pages: dict[ReplicaName, int] = {}
        self._read: dict[ReplicaName, tuple[bytes, dict[str, int]]] = {}
        """What was on each page, and its words: while a stage does nothing, they are the same."""
        self._look_at: float | None = None

    def close(self) -> None:
        """Close what was kept open."""
        for name in list(self._watched):
            self.forget(name)
        for descriptor in self._pages.values():
            os.close(descriptor)

    @property
    def next_at(self) -> float | None:
        """When to look next; None while no process is watched."""
        return self._look_at if self._watched else None

    def watch(self, name: ReplicaName, pid: int, stage: Stage, now: float) -> None:
        """Look at process `pid` of a replica of `stage` from now on."""
        self._look_at = self.next_at or now + LOOK_EVERY_S
        check = HealthCheck(stage.process_timeout_s, stage.memory_max_bytes)
        self._watched[name] = _Watched(pid, check)

    def allow(self, name: ReplicaName, stage: Stage) -> None:
        """Let a watched replica have the time and memory that `stage` says from now on."""
        check = self._watched[name].check
        check.process_timeout_s = stage.process_timeout_s
        check.memory_max_bytes = stage.memory_max_bytes

    def forget(self, name: ReplicaName) -> None:
        """Stop watching a replica's process. Does nothing if it isn't watched."""
        if (watched := self._watched.pop(name, None)) is not None:
            watched.close()

    def look(self, now: float) -> list[tuple[ReplicaName, Health]]:
        """Look at all if it is time to; return those whose condition has changed."""
        if self.next_at is None or now < self.next_at:
            return []
        self._look_at = now + LOOK_EVERY_S
        changed = []
        for name, watched in self._watched.items():
            watched.page = self.page(name, watched.pid)
            sample = Sample(watched.process_state(), watched.page, watched.memory_bytes())
            health = watched.check.sample(sample, now)
            if health.condition is not watched.condition:
                watched.condition = health.condition
                changed.append((name, health))
        return changed

    @property
    def seen(self) -> Iterator[tuple[ReplicaName, dict[str, int]]]:
        """The status pages as they were at the last look."""
        return ((name, watched.page) for name, watched in self._watched.items())

    def page(self, name: ReplicaName, pid: int) -> dict[str, int]:
        """Read the status page of process `pid`; empty where it has none, or a predecessor's."""
        try:
            if name not in self._pages:
                path = self._run_directory.status_page(name)
                self._pages[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            content = os.pread(self._pages[name], HEAD_BYTES, 0)
        except OSError:
            return {}
        before, page = self._read.get(name, (b"", {}))
        if content != before:
            page = parse_status_page(content) or {}
            self._read[name] = content, page
        return page if page.get("pid") == pid else {}


class _Watched:
    """One process, and how it was at the last look."""

    def __init__(self, pid: int, check: HealthCheck) -> None:
        self.pid = pid
        self.check = check
        self.condition = Condition.WELL
        self.page: dict[str, int] = {}
        self._stat: int | None = None
        self._memory: tuple[int, int] | None = None
        """Pid of the process whose memory is limited, and its statm."""
        with contextlib.suppress(OSError):
            self._stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)

    def process_state(self) -> str:
        """Letter of its state; Z where it is gone."""
        if self._stat is None:
            return "Z"
        try:
            stat = os.pread(self._stat, _STAT_BYTES, 0)
        except OSError:
            return "Z"
        # After the name, which may hold anything.
        return chr(stat[stat.rindex(b")") + 2])

    def memory_bytes(self) -> int:
        """Memory of its own, if that is limited; of a foreign program's stage, the program's."""
        if self.check.memory_max_bytes is None:
            return 0
        try:
            statm = os.pread(
                self._open_memory(self.page.get("program") or self.pid), _STAT_BYTES, 0
            )
        except OSError:
            return 0
        _, resident, shared, *_ = map(int, statm.split())
        return (resident - shared) * _PAGE_BYTES

    def _open_memory(self, pid: int) -> int:
        if self._memory is None or self._memory[0] != pid:
            self._close_memory()
            self._memory = pid, os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        return self._memory[1]

    def _close_memory(self) -> None:
        if self._memory is not None:
            os.close(self._memory[1])
        self._memory = None

    def close(self) -> None:
        """Close what was kept open."""
        self._close_memory()
        if self._stat is not None:
            os.close(self._stat)
