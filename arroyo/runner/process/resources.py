"""What the chain file says of the resources of a stage's processes: processors, priority, files.

A process takes them for itself, before the stage's code is imported: so they are the same by hand,
supervised and under systemd, and what the stage starts inherits them. Memory is not among them: the
supervisor, or systemd, watches that.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

from arroyo.config.graph import Stage
from arroyo.errors import ConfigurationError

_MOST_OPEN_FILES = Path("/proc/sys/fs/nr_open")
_STATUS = Path("/proc/self/status")
_CAP_SYS_NICE, _CAP_SYS_RESOURCE = 23, 24


def use_resources(stage: Stage) -> None:
    """Give this process, and the calling thread, the resources of a stage.

    ConfigurationError: this machine does not have them, or this account may not have them.
    """
    if problems := list(resource_problems(stage)):
        raise ConfigurationError("\n".join(problems))
    with _in_words(stage, "cpus"):
        if stage.cpus:
            os.sched_setaffinity(0, stage.cpus)
    with _in_words(stage, "nice"):
        if stage.nice:
            os.setpriority(os.PRIO_PROCESS, 0, stage.nice)
    with _in_words(stage, "open_files"):
        if stage.open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (stage.open_files, stage.open_files))


@contextlib.contextmanager
def _in_words(stage: Stage, key: str) -> Iterator[None]:
    """Raise ConfigurationError where the kernel refuses: a container may allow less than it says.

    `resource` raises ValueError for that.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        found = getattr(stage, key)
        raise ConfigurationError(f"stages.{stage.name}.{key}: {found} is refused: {why}") from None


def resource_problems(stage: Stage) -> Iterator[str]:
    """Yield in words what a process of this account can't have of a stage's resources."""
    place = f"stages.{stage.name}"
    count = os.cpu_count() or 1
    for index, cpu in enumerate(stage.cpus):
        if cpu >= count:
            yield (
                f"{place}.cpus[{index}]: there is no processor {cpu}; "
                f"this machine has 0 to {count - 1}"
            )
    if stage.nice and stage.nice < (least := _least_nice()):
        yield (
            f"{place}.nice: found {stage.nice}, and this account may have {least} at least; "
            "systemd's LimitNICE= or the file /etc/security/limits.conf allows less"
        )
    if stage.open_files is not None and stage.open_files > (most := _most_open_files()):
        yield (
            f"{place}.open_files: found {stage.open_files}, and this account may have {most} at "
            "most; systemd's LimitNOFILE= or the file /etc/security/limits.conf allows more"
        )


def _least_nice() -> int:
    """Return the lowest value of nice that this process may have."""
    if _has_capability(_CAP_SYS_NICE):
        return -20
    allowed, _ = resource.getrlimit(resource.RLIMIT_NICE)
    now = os.getpriority(os.PRIO_PROCESS, 0)
    return -20 if allowed == resource.RLIM_INFINITY else min(now, 20 - allowed)


def _most_open_files() -> int:
    """Return the number of files that this process may have open."""
    if _has_capability(_CAP_SYS_RESOURCE):
        return int(_MOST_OPEN_FILES.read_text())
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def _has_capability(number: int) -> bool:
    """Return True if this process has a capability; root in a container may lack it."""
    _, _, rest = _STATUS.read_text("utf-8", "replace").partition("\nCapEff:")
    return bool(int(rest.split(None, 1)[0], 16) >> number & 1)
