"""Programs that are run for events: small shell scripts in the folder of the chain."""

import contextlib
import json
import os
from datetime import UTC, datetime

import psutil
import pytest
from chains import wait_until
from descriptors import none_left

from arroyo.config.graph import Hook
from arroyo.supervision.watching.event_hook import RUNNING_MAX, WAITING_MAX, EventHook
from arroyo.supervision.watching.orphans import reap_orphans
from arroyo.telemetry.event_line import EventLine

TIME = datetime(2026, 1, 1, tzinfo=UTC)


class Told:
    """A hook, and what its program has left in files of its folder."""

    def __init__(self, folder, script, *events, **limits):
        self.folder = folder
        program = folder / "tell"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        self.hook = EventHook(Hook(("./tell", "shift"), events), folder, **limits)

    def offer(self, event="failed", level="ERROR", message="work.0 FAILED"):
        line = EventLine(TIME, level, "test", "powder", "work.0", 1, message, event=event)
        self.hook.offer(line, json.dumps({"event": event, "message": message}).encode())

    def wait_for(self, condition):
        wait_until(lambda: self.hook.look() or condition())

    def wait_for_ends(self):
        self.wait_for(lambda: not self.hook.pids)

    def files(self, pattern="*.json"):
        return [json.loads(file.read_text()) for file in sorted(self.folder.glob(pattern))]


@pytest.fixture
def make(tmp_path):
    with contextlib.ExitStack() as made:

        def make(script, *events, **limits):
            told = Told(tmp_path, script, *events, **limits)
            made.callback(told.wait_for_ends)
            return told

        yield make


def test_what_a_program_prints_without_end_does_not_fill_the_memory(make, caplog, tmp_path):
    told = make(
        "yes | head -c 3000000; touch printed; until [ -e go ]; do :; done; echo last; exit 3"
    )
    told.offer()
    wait_until((tmp_path / "printed").exists, "it has printed much")
    told.hook.look()
    (run,) = told.hook._running
    assert os.fstat(run.output.fileno()).st_size == 0
    (tmp_path / "go").touch()
    told.wait_for_ends()
    assert caplog.messages[-1].endswith("ended with 3 after the event failed: last")


def test_a_supervisor_without_descriptors_runs_no_program_and_says_so(make, caplog):
    told = make("cat > $1.json")
    with none_left():
        told.offer()
    told.wait_for_ends()
    assert "./tell can't be run: Too many open files" in caplog.text
    assert told.files() == []
    told.offer()
    told.wait_for_ends()
    assert len(told.files()) == 1


def test_the_program_gets_the_event_on_stdin_and_its_arguments(make):
    told = make("cat > $1.json")
    told.offer(message="x" * 100_000)
    told.wait_for_ends()
    assert told.files() == [{"event": "failed", "message": "x" * 100_000}]


def test_by_default_it_is_run_for_what_is_bad(make):
    told = make("cat > $$.json")
    told.offer("ready", "INFO")
    told.offer("restarting", "WARNING")
    told.offer("failed", "ERROR")
    told.wait_for_ends()
    assert sorted(each["event"] for each in told.files()) == ["failed", "restarting"]


def test_it_may_be_run_for_chosen_events(make):
    told = make("cat > $$.json", "chain-ready", "lost")
    told.offer("chain-ready", "INFO")
    told.offer("failed", "ERROR")
    told.wait_for_ends()
    assert [each["event"] for each in told.files()] == ["chain-ready"]


def test_a_few_run_at_once_others_wait_and_more_are_left_out_and_told_of(make, caplog):
    told = make("until test -e gate; do sleep 0.01; done; cat > $$.json")
    for _ in range(RUNNING_MAX + WAITING_MAX + 3):
        told.offer()
    assert len(told.hook.pids) == RUNNING_MAX
    (told.folder / "gate").touch()
    told.wait_for_ends()
    assert len(told.files()) == RUNNING_MAX + WAITING_MAX
    assert "on_event: 3 events were left out" in caplog.text


def test_one_that_takes_too_long_is_ended_and_told_of(make, caplog):
    told = make("echo calling; sleep 60", time_limit_s=0.1)
    told.offer()
    told.wait_for_ends()
    assert "./tell took longer than 0.1 s after the event failed: calling" in caplog.text


def test_one_that_fails_is_told_of_with_what_it_said_last(make, caplog):
    told = make("echo first; echo no such pager >&2; exit 3")
    told.offer()
    told.wait_for_ends()
    assert "./tell ended with 3 after the event failed: no such pager" in caplog.text


def test_one_that_is_not_there_harms_nobody(tmp_path, caplog):
    hook = EventHook(Hook(("./none",)), tmp_path / "gone")
    line = EventLine(TIME, "ERROR", "test", "powder", "work.0", 1, "FAILED", event="failed")
    hook.offer(line, b"{}")
    assert "on_event: ./none can't be run: No such file or directory" in caplog.text
    assert hook.pids == set()


def test_at_the_end_what_waits_is_run(make):
    told = make("cat > $$.json")
    for _ in range(2 * RUNNING_MAX):
        told.offer()
    told.hook.close()
    assert told.hook.pids == set()
    assert len(told.files()) == 2 * RUNNING_MAX


def test_what_takes_longer_is_left_to_itself(make):
    told = make("until test -e gate; do sleep 0.01; done; echo done > $$.done", close_s=0.05)
    told.offer()
    told.hook.close()
    assert told.hook.pids == set()
    (told.folder / "gate").touch()
    wait_until(lambda: len(list(told.folder.glob("*.done"))) == 1)
    wait_until(lambda: reap_orphans(()) or not psutil.Process().children())


def test_without_a_program_nothing_is_run(tmp_path):
    hook = EventHook(None, tmp_path)
    hook.offer(EventLine(TIME, "ERROR", "test", "powder", "work.0", 1, "FAILED"), b"{}")
    assert hook.pids == set()


def test_another_program_gets_what_happens_from_then_on(make, tmp_path):
    told = make("echo '\"former\"' > former.json")
    told.offer()
    (tmp_path / "next").write_text("#!/bin/sh\necho '\"next\"' > next.json\n")
    (tmp_path / "next").chmod(0o700)
    told.hook.use(Hook(("./next",)))
    told.offer()
    told.wait_for_ends()
    assert told.files() == ["former", "next"]
    told.hook.use(None)
    told.offer()
    assert not told.hook.pids
