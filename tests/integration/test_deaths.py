"""Death of any process of a chain, and the ways to stop it: nothing is lost, nobody is left."""

import json
import signal
from pathlib import Path

import psutil
import pytest
from chains import indices, is_gone, kill, listener, operator, publisher, totals, wait_until

EVENTS = 3000
HALF = EVENTS // 2
THREE = (
    listener("count", events=EVENTS, pause_at=HALF),
    operator("work", "Pass", ["count"], keys="replicas = 2"),
    publisher("write", ["work"]),
)
HANGING = (
    listener("count"),
    operator("work", "Hang", ["count"], at=50),
    publisher("write", ["work"]),
)
ENDLESS = (
    listener("count", handed="handed.txt", keys="window = 2000"),
    operator("work", "Pass", ["count"], keys="replicas = 2"),
    publisher("write", ["work"], every_s=0.0001),
)
TEN_S = 10.0


@pytest.mark.parametrize("victim", ["work.0", "write.0"])
def test_a_killed_stage_is_back_and_nothing_is_lost(make_chain, victim):
    chain = make_chain(*THREE)
    supervisor = chain.supervise()
    chain.wait_for_lines(100)
    first = chain.pids()[victim]
    kill(first)
    chain.wait_until_ready()
    row = chain.status()[victim]
    assert row["restarts"] == 1
    assert row["pid"] != first
    stages = json.loads(chain.command("status", chain.path, "--json"))["stages"]
    by_name = {f"{each['stage']}.{each['replica']}": each for each in stages}
    assert by_name[victim]["restarts"] == 1
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    lines = chain.lines()
    assert set(indices(lines)) == set(range(EVENTS))
    assert totals(lines)["complete"]
    assert lines[-1]["type"] == "Stop"
    if victim == "work.0":
        assert len(indices(lines)) == EVENTS


def test_a_publisher_that_confirms_in_the_background_loses_nothing_when_it_is_killed(make_chain):
    chain = make_chain(
        listener("count", events=EVENTS, pause_at=HALF),
        publisher("write", ["count"], "BackgroundWrite"),
    )
    supervisor = chain.supervise()
    for count in (100, HALF):
        chain.wait_for_lines(count)
        chain.kill("write.0")
    chain.wait_until_ready()
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    lines = chain.lines()
    assert set(indices(lines)) == set(range(EVENTS))
    assert totals(lines)["complete"]


def test_a_publisher_that_confirms_in_the_background_is_waited_for_at_the_end_alone(make_chain):
    chain = make_chain(
        listener("count", events=400, every_s=0.001, keys="window = 100"),
        publisher("write", ["count"], "BackgroundWrite"),
    )
    assert chain.supervise().wait() == 0, chain.text()
    assert indices(chain.lines()) == list(range(400))
    begun, waited = map(int, (chain.folder / "flushes").read_text().split())
    assert begun >= 4, "the window lets so much in, and no more before a flush is over"
    assert waited <= 2


def test_work_goes_on_while_messages_flow_and_stages_die(make_chain):
    chain = make_chain(
        listener("count", events=20_000),
        operator("work", "Pass", ["count"], keys="replicas = 2"),
        operator("more", "Untouched", ["work"]),
        publisher("write", ["more"], keys='order = "source"'),
        keys="[supervisor]\nmax_restarts = 100\nchain_max_restarts = 100",
    )
    supervisor = chain.supervise()
    for count, victim in ((500, "work.0"), (3000, "more.0"), (6000, "work.1"), (9000, "write.0")):
        chain.wait_for_lines(count)
        chain.kill(victim)
    assert supervisor.wait(60) == 0, chain.text()
    lines = chain.lines()
    assert set(indices(lines)) == set(range(20_000))
    assert totals(lines)["lost"] == 0


def test_a_killed_source_is_back_with_a_run_of_its_own(make_chain):
    chain = make_chain(*THREE)
    supervisor = chain.supervise()
    chain.wait_for_lines(100)
    chain.kill("count.0")
    chain.open_gate()
    supervisor.wait()
    lines = chain.lines()
    runs = {line["run"] for line in lines}
    assert len(runs) == 2
    last = [line for line in lines if line["run"] == lines[-1]["run"]]
    assert set(indices(last)) == set(range(EVENTS))
    assert totals(last)["complete"]


def test_the_run_of_a_killed_source_is_closed_and_says_what_is_missing(make_chain):
    chain = make_chain(*THREE)
    supervisor = chain.supervise()
    chain.wait_for_lines(100)
    chain.kill("count.0")
    chain.open_gate()
    code = supervisor.wait()
    lines = chain.lines()
    first = [line for line in lines if line["run"] == lines[0]["run"]]
    told = totals(first)
    assert told["complete"] is False
    assert told["lost"] == sum(end - start for start, end in told["missing"])
    came = set(indices(first))
    missing = {number for start, end in told["missing"] for number in range(start, end)}
    assert came | missing == set(range(told["sent"]))
    # Whoever watches the exit code hears of it too.
    assert (code != 0) == (told["lost"] > 0), chain.text()


def test_every_run_gets_its_stop_whoever_dies_before_it_is_acknowledged(make_chain):
    """The sink dies with the Stop in hand, in two lives of the source; nobody may forget it."""
    chain = make_chain(
        listener("count", events=EVENTS, handed="handed.txt"),
        publisher("write", ["count"], "WaitAtStop"),
    )
    supervisor = chain.supervise()
    waiting, handed = chain.folder / "waiting", chain.folder / "handed.txt"
    for _ in range(2):
        wait_until(lambda: waiting.exists() and handed.exists(), chain.text)
        waiting.unlink()
        handed.unlink()
        pids = chain.pids()
        kill(pids["count.0"])
        kill(pids["write.0"])
    wait_until(waiting.exists, chain.text)
    chain.open_gate()
    assert supervisor.wait() != 0
    assert f"{EVENTS:,} lost" in supervisor.text
    lines = chain.lines()
    runs = list(dict.fromkeys(line["run"] for line in lines))
    assert len(runs) == 3
    first, second, last = ([line for line in lines if line["run"] == run] for run in runs)
    for run in (first, last):
        assert set(indices(run)) == set(range(EVENTS))
        assert (totals(run)["sent"], totals(run)["complete"]) == (EVENTS, True)
    # Nothing of the second had got past the Stop of the first, and most of it had not even left.
    told = totals(second)
    assert (told["sent"], told["lost"], told["lost_at_most"]) == (EVENTS, EVENTS, EVENTS)
    assert told["missing"] == [[0, EVENTS]]
    assert not told["complete"]


def test_no_process_outlives_a_killed_supervisor_and_all_that_was_sent_arrives(make_chain):
    chain = make_chain(*ENDLESS)
    supervisor = chain.supervise()
    chain.wait_for_lines(500)
    pids = chain.pids().values()
    supervisor.kill()
    wait_until(lambda: all(map(is_gone, pids)), lambda: f"left: {chain.pids()}", TEN_S)
    lines = chain.lines()
    handed = int((chain.folder / "handed.txt").read_text())
    assert sorted(indices(lines)) == list(range(handed))
    assert totals(lines)["complete"] is False


LEAVES_ONCE = """

class Leaves(Write):
    def publish(self, message):
        super().publish(message)
        if not Path("left").exists() and getattr(message, "metadata", {}).get("index") == 49:
            Path("left").touch()
            LEAVE
"""


def chain_whose_sink_leaves(make_chain, leave):
    chain = make_chain(listener("count", events=50), publisher("write", ["count"], "Leaves"))
    stages = chain.folder / "own_stages.py"
    stages.write_text(stages.read_text() + LEAVES_ONCE.replace("LEAVE", leave))
    return chain


def test_a_sink_whose_process_ends_as_if_all_were_well_is_started_again(make_chain):
    chain = chain_whose_sink_leaves(make_chain, "import os; os._exit(0)")
    assert chain.supervise().wait() == 0, chain.text()
    assert set(indices(chain.lines())) == set(range(50))
    assert chain.lines()[-1]["type"] == "Stop"


def test_a_sink_that_calls_exit_has_failed_on_its_message_whatever_the_code(make_chain):
    chain = chain_whose_sink_leaves(make_chain, "raise SystemExit(0)")
    supervisor = chain.supervise()
    assert supervisor.wait() == 65, chain.text()
    assert "write: 50 received, 49 sent, 1 quarantined" in supervisor.text
    assert chain.lines()[-1]["data"]["totals"]["quarantined"] == 1


@pytest.mark.logs_errors("the supervisor has died", "did not end within")
def test_not_even_a_hung_stage_outlives_a_killed_supervisor(make_chain):
    chain = make_chain(*HANGING)
    supervisor = chain.supervise()
    wait_until((chain.folder / "hanging").exists, chain.text)
    pids = chain.pids().values()
    assert len(pids) == 3
    supervisor.kill()
    wait_until(lambda: all(map(is_gone, pids)), lambda: f"left: {chain.pids()}", TEN_S)


def test_a_source_that_can_not_note_its_runs_goes_on_and_says_so(make_chain, small_disk):
    chain = make_chain(listener("count", events=50, runs=3), publisher("write", ["count"]))
    chain.state_directory.create()
    notes = small_disk(64, chain.state_directory.path / "runs", files=1)  # the folder itself
    assert chain.supervise().wait() == 0, chain.text()
    assert sorted(indices(chain.lines())) == list(range(150))
    log = chain.run_directory.log("count.0").read_text()
    assert log.count(f"Make room on the disk of {notes}") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_under_full_load_delivers_all_that_was_taken(make_chain, number):
    chain = make_chain(*ENDLESS)
    supervisor = chain.supervise()
    chain.wait_for_lines(500)
    supervisor.send(number)
    assert supervisor.wait() == 0, chain.text()
    lines = chain.lines()
    handed = int((chain.folder / "handed.txt").read_text())
    assert sorted(indices(lines)) == list(range(handed))
    (stop,) = [line for line in lines if line["type"] == "Stop"]
    assert stop == lines[-1]
    assert stop["data"]["totals"]["complete"] is False
    assert stop["data"]["reason"]


def test_a_second_signal_stops_now(make_chain):
    chain = make_chain(*HANGING)
    supervisor = chain.supervise()
    wait_until((chain.folder / "hanging").exists, chain.text)
    pids = chain.pids().values()
    supervisor.send(signal.SIGINT)
    supervisor.wait_for("stopping because of SIGINT")
    supervisor.send(signal.SIGINT)
    assert supervisor.wait(TEN_S) != 0
    assert all(map(is_gone, pids))


def test_a_stage_by_hand_stops_now_at_the_second_signal(make_chain):
    chain = make_chain(*HANGING)
    programs = {name: chain.stage(name) for name in ("count", "work", "write")}
    wait_until((chain.folder / "hanging").exists, chain.text)
    programs["work"].send(signal.SIGTERM)
    wait_until(lambda: no_signal_pends(programs["work"].pid), chain.text)
    programs["work"].send(signal.SIGTERM)
    assert programs["work"].wait(TEN_S) == 1


def test_a_listener_that_does_not_stop_is_ended_at_the_deadline(make_chain):
    chain = make_chain(
        listener("count", deaf=True, every_s=0.01),
        publisher("write", ["count"]),
        keys='[supervisor]\nstop_timeout_s = "1 s"',
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(5)
    supervisor.send(signal.SIGINT)
    assert supervisor.wait(TEN_S) == 1
    assert "count.0" in supervisor.text.splitlines()[-2] + supervisor.text
    assert "Traceback" not in supervisor.text
    told = chain.command("logs", chain.path, "count")
    assert "told once more to stop while it drained" in told
    assert "second signal" not in told, "nobody has sent one but the supervisor"


def test_the_next_life_of_a_chain_whose_supervisor_was_killed_says_so(make_chain):
    chain = make_chain(*ENDLESS)
    first = chain.supervise()
    chain.wait_for_lines(5)
    first.kill()
    wait_until(lambda: not chain.pids(), lambda: f"left: {chain.pids()}", TEN_S)
    second = chain.supervise()
    second.wait_for("has ended without a word: it was killed")
    second.stop_now()
    assert "chain-died" in chain.command("events", chain.path)


@pytest.mark.logs_errors("the detector said no")
def test_a_listener_whose_start_raises_is_tried_again_and_given_up(make_chain):
    chain = make_chain(
        listener("count", "NeverStarts", keys='backoff_s = "10 ms"'),
        publisher("write", ["count"]),
        keys='[supervisor]\nmax_restarts = 1\non_failed = "stop-chain"',
    )
    supervisor = chain.supervise()
    assert supervisor.wait() not in {0, 78}
    assert "the detector said no" in supervisor.text
    assert "FAILED" in supervisor.text
    assert "Traceback" not in supervisor.text


@pytest.mark.logs_errors("no calibration today")
def test_an_operator_whose_open_raises_is_named(make_chain):
    chain = make_chain(
        listener("count", events=5),
        operator("work", "NeverOpens", ["count"], keys='backoff_s = "10 ms"'),
        publisher("write", ["work"]),
        keys='[supervisor]\nmax_restarts = 1\non_failed = "stop-chain"',
    )
    supervisor = chain.supervise()
    assert supervisor.wait() not in {0, 78}
    assert "no calibration today" in supervisor.text
    assert "Traceback" not in supervisor.text


def test_a_chain_that_is_to_exit_waits_for_nothing_that_a_failed_stage_holds_up(make_chain):
    chain = make_chain(
        listener("count", events=5000, every_s=0.001),
        operator("work", "Pass", ["count"], keys='backoff_s = "10 ms"'),
        publisher("write", ["work"]),
        keys='[supervisor]\nmax_restarts = 0\non_failed = "exit"\nstop_timeout_s = "10 min"',
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(10)
    chain.kill("work.0")
    assert supervisor.wait() == 1, chain.text()
    assert "stopping now because of work.0, which failed" in supervisor.text
    assert "work.0 failed" in supervisor.lines[-1]


def test_stages_come_back_although_the_fork_server_dies_again_and_again(make_chain):
    chain = make_chain(
        listener("count", events=2000, every_s=0.001, pause_at=1990),
        operator("work", "Pass", ["count"], keys="replicas = 2"),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(10)
    supervising, killed = psutil.Process(supervisor.pid), set()

    def servers():
        return [child for child in supervising.children() if "fork-server" in child.cmdline()]

    for round_ in range(4):
        # One that has died is replaced when the next stage starts.
        for server in servers():
            server.kill()
            killed.add(server.pid)
        chain.kill(f"work.{round_ % 2}")
        chain.wait_until_ready()
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert set(indices(chain.lines())) == set(range(2000))
    assert len(killed) > 1


def test_idle_stages_and_their_supervisor_are_small(make_chain):
    chain = make_chain(
        listener("count", events=1, pause_at=0),
        operator("work", "Pass", ["count"]),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(1)  # the Start
    # Of a page that is shared, as nearly all are that a stage was forked with, its part.
    kib = {
        name: psutil.Process(pid).memory_full_info().pss / 1024
        for name, pid in {**chain.pids(), "supervisor": supervisor.pid}.items()
    }
    assert max(kib.values()) < 20 * 1024, kib
    chain.open_gate()
    assert supervisor.wait() == 0


def no_signal_pends(pid):
    """Whether a process has taken notice of all signals that it was sent."""
    return int(of_process(pid, "ShdPnd"), 16) == int(of_process(pid, "SigPnd"), 16) == 0


def of_process(pid, field):
    """A line of what the kernel says about a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)[field].strip()


def test_with_best_effort_what_a_death_took_is_counted_and_named_and_no_more(make_chain):
    chain = make_chain(
        listener("count", events=EVENTS, pause_at=HALF, keys='delivery = "best-effort"'),
        operator("work", "Pass", ["count"], every_s=0.0005),
        publisher("write", ["work"]),
    )
    supervisor = chain.supervise()
    chain.wait_for_lines(100)
    chain.kill("work.0")
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    lines = chain.lines()
    got = set(indices(lines))
    found = totals(lines)
    assert found["lost"] > 0
    assert len(indices(lines)) == len(got)
    assert len(got) + found["lost"] == found["sent"] == EVENTS
    missing = {number for first, end in found["missing"] for number in range(first, end)}
    assert missing == set(range(EVENTS)) - got
    assert not found["complete"]
