"""What every test keeps to: it leaves nothing behind, and logs no ERROR.

Nothing: no thread, no process, and logging as it was.

Chains run in folders of the test's own, not where those of this machine's users do.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from chains import MADE
from hypothesis import settings
from logged_errors import unexpected
from logging_state import logging_changes, logging_state
from small_disk import small_disk

__all__ = ["small_disk"]

# Before anything imports them: where they are named as plugins it would be too late.
pytest.register_assert_rewrite(
    "certificates",
    "kafka_server",
    "nats_server",
    "prometheus_server",
    "rabbitmq_server",
    "redis_server",
    "zeromq_peers",
)

# What a test has stopped may take this long to be gone.
LEAVING_S = 30.0


# How long an example takes says something about the machine only, which others may be using.
settings.register_profile("arroyo", deadline=None)
settings.load_profile("arroyo")


def pytest_configure(config):
    # A shell has what it starts in the background ignore Ctrl-C and Ctrl-\, and so would all
    # that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    config.addinivalue_line(
        "markers", "logs_errors(*words): the test makes Arroyo log an ERROR with these words"
    )


def pytest_collection_modifyitems(items):
    """Refuse names that differ from one process to the next: all have to find the same tests."""
    if moving := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"give {moving[0]:.200} an id without an address in memory")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Show with a test that has failed what the processes of its chains did last."""
    report = yield
    if report.when == "call" and report.failed:
        for chain in item.stash.get(MADE, ()):
            report.sections.append((f"history of {chain.folder.name}", chain.history()))
    return report


@pytest.fixture(autouse=True)
def own_places(tmp_path, monkeypatch):
    """Keep what the test runs out of this machine's run and state directories."""
    monkeypatch.setenv("ARROYO_RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("ARROYO_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(autouse=True)
def leaves_nothing_behind():
    """Fail a test after which a thread or child process is left that was not there before."""
    before = threads_and_processes()
    yield
    deadline = time.monotonic() + LEAVING_S
    while left := sorted((threads_and_processes() - before).elements()):
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: {', '.join(left)}")
        threading.Event().wait(0.01)


@pytest.fixture(autouse=True)
def leaves_logging_as_it_was():
    """Fail a test after which the tests to come would log elsewhere, more, less or nothing."""
    before = logging_state()
    yield
    if changed := logging_changes(before, logging_state()):
        pytest.fail(f"left logging changed: {'; '.join(changed)}")


@pytest.fixture(autouse=True)
def logs_no_errors(request, caplog):
    """Fail a test that logs an ERROR, unless its mark `logs_errors` expects that."""
    yield
    records = [record for when in ("setup", "call") for record in caplog.get_records(when)]
    errors = [record.getMessage() for record in records if record.levelno >= logging.ERROR]
    if errors := unexpected(request.node, errors):
        pytest.fail(f"logged as ERROR: {'; '.join(errors)}")


def threads_and_processes():
    """How many threads there are of each name, and child processes of each command line.

    So a server that tests share may be started again by one that has killed it.
    """
    threads = [f"thread {each.name}" for each in threading.enumerate() if each.is_alive()]
    return Counter(threads + [f"process {text}" for text in child_processes()])


def child_processes():
    """Command lines of this process's children; those of ended ones are empty."""
    tasks = Path("/proc/self/task").glob("*/children")
    pids = {int(pid) for task in tasks for pid in read(task).split()}
    commands = [read(Path(f"/proc/{pid}/cmdline")).replace("\0", " ") for pid in pids]
    # The interpreter's own: one for all, and it stays.
    return [text for text in commands if "resource_tracker" not in text]


def read(path):
    try:
        return path.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
