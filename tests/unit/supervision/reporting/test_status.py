import os
import re
import time

import msgspec
import pytest
from played_replica import by_hand
from quarantine_entries import make_entry
from supervised_histories import LINE, make_chain

from arroyo.config.run_directory import RunDirectory
from arroyo.control.locks import Lock
from arroyo.control.shared_folders import find_folders
from arroyo.durable.frames import FRAME_BYTES, HEAD_BYTES
from arroyo.identifiers import ReplicaName
from arroyo.runner.quarantine.store import ENTRIES_MAX, Quarantine
from arroyo.supervision.reporting.status import StatusReader, read_status
from arroyo.supervision.reporting.status_table import LONG_S, status_table
from arroyo.telemetry.histogram import note
from arroyo.telemetry.status_page import StatusPage
from arroyo.telemetry.status_words import Phase

KEYS = {
    *("stage", "replica", "role", "pid", "state", "incarnation", "restarts", "uptime_s"),
    *("received", "sent", "errors", "dropped", "bytes_in", "bytes_out", "in_flight"),
    *("stopped_by", "reason", "next_try_s", "waiting_s", "inputs"),
    *("repeated", "filtered", "skipped", "quarantined", "rejected", "lost", "lost_before"),
    "in_hand_s",
    "inline",
    *("latency_p50_s", "latency_p99_s", "hop_p50_s", "hop_p99_s"),
    *("busy_s", "idle_s", "blocked_s"),
    *("cpu_s", "cpu_percent", "rss_bytes", "program_pid"),
}


@pytest.fixture
def environ(tmp_path):
    return {"ARROYO_RUN_DIR": str(tmp_path / "run")}


@pytest.fixture
def run_directory(environ):
    directory = RunDirectory.locate("chain", environ)
    directory.create()
    return directory


@pytest.mark.parametrize(
    ("phase", "since", "seconds", "cell"),
    [
        (Phase.PROCESS, "hand_since_ns", 12.0, "12.0 s"),
        (Phase.FLUSH, "phase_since_ns", 12.0, "12.0 s"),
        (Phase.PROCESS, "hand_since_ns", 0.0, "-"),
    ],
)
def test_a_message_that_takes_long_is_shown_with_its_time(
    environ, run_directory, phase, since, seconds, cell
):
    counters = {"hand_source": 1, since: time.monotonic_ns() - int(seconds * 1e9)}
    with by_hand(run_directory, ReplicaName("integrate", 0), phase, **counters):
        status = read_status(make_chain(LINE), environ)
    assert seconds <= status["stages"][1]["in_hand_s"] < seconds + LONG_S
    titles, *rows = (re.split("  +", line) for line in status_table(status).splitlines()[1:])
    assert rows[1][titles.index("in hand")] == cell


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.BLOCKED, Phase.DRAIN])
def test_a_stage_that_waits_has_nothing_in_hand(environ, run_directory, phase):
    with by_hand(run_directory, ReplicaName("integrate", 0), phase, hand_since_ns=1):
        status = read_status(make_chain(LINE), environ)
    assert status["stages"][1]["in_hand_s"] is None


def test_what_a_stage_waits_for_is_told_with_since_when(environ, run_directory):
    name = ReplicaName("images", 0)
    with by_hand(run_directory, name) as page:
        for before_s in (4, 1):
            page.say_waiting("no beam; open the shutter", time.monotonic_ns() - before_s * 10**9)
        status = read_status(make_chain(LINE), environ)
    row, other, *_ = status["stages"]
    assert (row["reason"], other["reason"], other["waiting_s"]) == (
        "no beam; open the shutter",
        None,
        None,
    )
    assert 4 <= row["waiting_s"] < 8
    assert "images.0 has waited for" in status_table(status)
    assert status_table(status).endswith("s: no beam; open the shutter")


def test_each_replica_has_the_promised_fields(environ):
    status = read_status(make_chain(LINE), environ)
    assert set(status) >= {"chain", "state", "stages"}
    for row in status["stages"]:
        assert set(row) == KEYS


def test_stages_started_by_hand_are_seen(environ, run_directory):
    with by_hand(run_directory, ReplicaName("integrate", 0), received=1200, sent=7):
        status = read_status(make_chain(LINE), environ)
    row = status["stages"][1]
    assert status["state"] == "DEGRADED"
    assert (row["state"], row["pid"], row["incarnation"]) == ("READY", os.getpid(), 42)
    assert (row["received"], row["sent"]) == (1200, 7)
    assert row["rss_bytes"] > 1_000_000
    assert row["cpu_percent"] >= 0
    table = status_table(status).splitlines()
    assert table[0] == "chain chain: DEGRADED (no supervisor)"
    assert "1,200" in table[3]


def test_counters_of_a_predecessor_are_not_shown(environ, run_directory):
    name = ReplicaName("images", 0)
    StatusPage(run_directory.status_page(name), os.getpid() + 1, 41).close()
    lock = Lock.acquire(run_directory.lock(name))
    try:
        row = read_status(make_chain({"images": ()}), environ)["stages"][0]
    finally:
        lock.release()
    assert (row["incarnation"], row["received"], row["state"]) == (None, 0, "STARTING")


def test_latencies_are_shown_for_each_stage_and_for_the_publishers_together(environ, run_directory):
    chain = make_chain({"images": (), "one": ("images",), "two": ("images",)})
    fast, slow = [2_000_000] * 99, [4_000_000_000] * 101
    with (
        by_hand(run_directory, ReplicaName("one", 0), latencies_ns=fast),
        by_hand(run_directory, ReplicaName("two", 0), latencies_ns=slow),
    ):
        status = read_status(chain, environ)
    images, one, two = status["stages"]
    assert images["latency_p50_s"] is None
    assert one["latency_p99_s"] == pytest.approx(0.002, rel=1 / 16)
    assert two["latency_p50_s"] == pytest.approx(4.0, rel=1 / 16)
    assert one["hop_p50_s"] is None
    assert status["latency_p50_s"] == pytest.approx(4.0, rel=1 / 16)
    head, _, *rows = status_table(status).splitlines()
    assert head.endswith(", from source to publisher 3.89 s, 99 % within 3.89 s")
    assert "2.03 ms" in rows[1]


def test_latencies_of_a_predecessor_are_not_shown(environ, run_directory):
    name = ReplicaName("images", 0)
    page = StatusPage(run_directory.status_page(name), os.getpid() + 1, 41)
    note(page.histogram("latency"), 1_000_000, 1)
    page.close()
    lock = Lock.acquire(run_directory.lock(name))
    try:
        status = read_status(make_chain({"images": ()}), environ)
    finally:
        lock.release()
    assert status["stages"][0]["latency_p50_s"] is None


def test_what_is_in_quarantine_is_told_and_more_loudly_when_it_is_half_full(
    environ, run_directory, tmp_path
):
    environ["ARROYO_STATE_DIR"] = str(tmp_path / "state")
    assert "quarantine" not in status_table(read_status(make_chain(LINE), environ))
    state = find_folders("chain", environ).state
    state.create()
    for number in range(4):
        Quarantine(state.quarantine).put(make_entry(f"{number:x}"), b"message")
    status = read_status(make_chain(LINE), environ)
    file_bytes = HEAD_BYTES + FRAME_BYTES + len(msgspec.msgpack.encode(b"message"))
    assert (status["quarantine"]["messages"], status["quarantine"]["bytes"]) == (4, 4 * file_bytes)
    text = status_table(status)
    assert text.endswith("4 messages in quarantine; see: arroyo quarantine list chain")
    Quarantine(state.quarantine).requeue("0")
    assert read_status(make_chain(LINE), environ)["quarantine"]["requeued"] == 1
    for number in range(ENTRIES_MAX // 2):  # of which nothing but the number counts
        (state.quarantine / f"other{number}.msg").touch()
    assert "the quarantine is 50 % full" in status_table(read_status(make_chain(LINE), environ))


@pytest.mark.parametrize("word", ["rejected", "inline"])
def test_what_should_not_happen_is_shown_where_it_did(environ, run_directory, word):
    with by_hand(run_directory, ReplicaName("images", 0)):
        assert word not in status_table(read_status(make_chain(LINE), environ))
    with by_hand(run_directory, ReplicaName("images", 0), **{word: 3}):
        status = read_status(make_chain(LINE), environ)
        assert status["stages"][0][word] == 3
        assert word in status_table(status)


def test_it_is_told_how_long_a_stage_has_worked_and_had_to_wait(environ, run_directory):
    with by_hand(run_directory, ReplicaName("integrate", 0)) as page:
        now_ns = time.monotonic_ns()
        for phase, at_s in ((Phase.PROCESS, 0), (Phase.BLOCKED, 3), (Phase.FLUSH, 7)):
            page.enter(phase, now_ns + at_s * 10**9)
        page.enter(Phase.IDLE, now_ns + 9 * 10**9)
        status = read_status(make_chain(LINE), environ)
    images, integrate, _ = status["stages"]
    assert integrate["busy_s"] == pytest.approx(3 + 2)
    assert integrate["blocked_s"] == pytest.approx(4)
    assert 0 <= integrate["idle_s"] < 30
    assert integrate["cpu_s"] > 0
    assert [images[key] for key in ("busy_s", "idle_s", "blocked_s", "cpu_s")] == [None] * 4


def test_a_reader_reads_again_what_has_changed(environ, run_directory):
    reader = StatusReader(make_chain({"images": ()}), environ)
    assert reader.read().latencies == {"images.0": ()}
    with by_hand(run_directory, ReplicaName("images", 0), received=1) as page:
        first = reader.read()
        page.set("received", 5)
        note(page.histogram("latency"), 1_000_000, 1)
        second = reader.read()
    assert [each.status["stages"][0]["received"] for each in (first, second)] == [1, 5]
    assert [sum(each.latencies["images.0"]) for each in (first, second)] == [0, 1]
    assert second.time_s > first.time_s
    assert reader.read().status["state"] == "STOPPED"
