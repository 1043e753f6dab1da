"""What is Redis's own about the connectors for streams; the contract is in tests/conformance."""

import json
import re
import shlex
import subprocess
import threading
import time
from pathlib import Path

import pytest
import redis
from chains import wait_until
from outside import DEADLINE_S, Recorder, opened, running
from proxies import cutting_proxy

import arroyo.connectors
from arroyo import ConfigurationError, Event, Start, Stop
from arroyo.connectors import RedisStreamListener, RedisStreamPublisher

pytest_plugins = ["redis_server"]

PAGE = Path(arroyo.connectors.__file__).with_name("README.md").read_text()


@pytest.fixture
def server(redis_server):
    with redis.Redis(port=redis_server.port, decode_responses=True) as client:
        yield client


@pytest.fixture
def listener(redis_server, tmp_path):
    """Makes listeners to the stream `frames`; `replica` says whose state directory each has."""

    def make(recorder, replica=0, stream="frames", **options):
        options = {"port": redis_server.port} | options
        made = RedisStreamListener(recorder, stream, "chain", **options)
        made.state_directory = tmp_path / "state" / f"take.{replica}"
        made.state_directory.mkdir(parents=True, exist_ok=True)
        return made

    return make


@pytest.fixture
def publisher(redis_server):
    def make(**options):
        return RedisStreamPublisher("curves", **{"port": redis_server.port} | options)

    return make


def add(server, *indices, stream="frames"):
    """Add events as another program does; return the ids of their entries."""
    return [
        server.xadd(stream, {"header": json.dumps({"type": "Event", "metadata": {"index": index}})})
        for index in indices
    ]


def indices(recorder):
    return [message.metadata["index"] for message in recorder.events]


def test_entries_whose_answer_was_lost_are_read_again(redis_server, server, listener):
    recorder = Recorder()
    with (
        cutting_proxy(redis_server.port, b"XREADGROUP", b"header") as (port, cut),
        running(listener(recorder, port=port)) as frames,
    ):
        add(server, 0, 1)
        recorder.wait_for(2)
        add(server, 2)
        recorder.wait_for(3)
        assert cut.is_set()
        assert frames.reconnects == 1
    assert indices(recorder) == [0, 1, 2]


def test_acknowledgements_reach_a_server_that_comes_back_though_nothing_else_does(
    lasting_redis_server, listener
):
    recorder = Recorder()
    with running(listener(recorder, port=lasting_redis_server.port)) as frames:
        with redis.Redis(port=lasting_redis_server.port) as client:
            add(client, 0, 1, 2)
        recorder.wait_for(3)
        lasting_redis_server.kill()
        frames.acknowledge_batch(recorder.tokens)
        lasting_redis_server.start()
        with redis.Redis(port=lasting_redis_server.port) as client:
            wait_until(lambda: client.xpending("frames", "chain")["pending"] == 0)
        wait_until(lambda: not list(frames.state_directory.glob("unack*")))


def test_an_acknowledgement_whose_answer_was_lost_counts(redis_server, server, listener):
    recorder = Recorder()
    with (
        cutting_proxy(redis_server.port, b"XACK") as (port, cut),
        running(listener(recorder, port=port)) as frames,
    ):
        add(server, 0)
        recorder.wait_for(1)
        frames.acknowledge_batch(recorder.tokens)
        assert cut.is_set()
    assert server.xpending("frames", "chain")["pending"] == 0
    assert not list(frames.state_directory.glob("unack*"))


@pytest.mark.parametrize("line", re.findall(r"^\$ (redis-cli XADD .*)$", PAGE, re.MULTILINE))
def test_redis_cli_feeds_a_chain_as_the_page_says(redis_server, listener, line):
    recorder = Recorder()
    with running(listener(recorder)):
        program, *arguments = shlex.split(line)
        subprocess.run([program, "-p", str(redis_server.port), *arguments], check=True)
        recorder.wait_for(1)
    assert recorder.messages == [Event({"frame": 0}, b"any bytes")]


def test_start_and_stop_go_through_a_stream(server, listener, publisher):
    recorder = Recorder()
    with running(listener(recorder, stream="curves")), opened(publisher()) as curves:
        for message in (Start({"sample": "AgBeh"}), Event({"index": 0}), Stop({"frames": 1})):
            curves.publish(message)
        curves.flush()
        recorder.wait_for(3)
    assert recorder.messages == [
        Start({"sample": "AgBeh"}),
        Event({"index": 0}),
        Stop({"frames": 1}),
    ]


def test_entries_of_other_programs_come_raw(server, listener):
    recorder = Recorder()
    with running(listener(recorder, parser="raw")):
        server.xadd("frames", {"payload": "only"})
        server.xadd("frames", {"sensor": "A", "temperature": "20.5"})
        recorder.wait_for(2)
    plain, fields = recorder.messages
    assert plain == Event({}, b"only")
    assert fields == Event({"frames": [b"sensor", b"A", b"temperature"]}, b"20.5")


def test_the_parser_of_the_page_reads_fields(server, listener, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(# readings\.py.*?)```", PAGE, re.DOTALL)
    (tmp_path / "readings.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    recorder = Recorder()
    with running(listener(recorder, parser="readings:ReadingParser")) as readings:
        server.xadd("frames", {"sensor": "A"})
        server.xadd("frames", {"sensor": "A", "temperature": "20.5"})
        recorder.wait_for(1)
        assert readings.rejected == 1
    assert recorder.messages == [Event({"sensor": "A", "temperature": 20.5})]


def test_an_entry_that_cannot_be_read_is_named_and_stays_in_the_stream(server, listener, caplog):
    recorder = Recorder()
    with running(listener(recorder)):
        broken = server.xadd("frames", {"header": "{"})
        add(server, 0)
        recorder.wait_for(1)
        wait_until(lambda: server.xpending("frames", "chain")["pending"] == 1)
    assert broken in caplog.text
    assert server.xrange("frames", broken, broken)


def test_entries_trimmed_while_they_were_pending_are_lost_and_named(server, listener, caplog):
    first, second = Recorder(), Recorder()
    ids = add(server, *range(10))
    with running(listener(first)):
        first.wait_for(10)
    server.xtrim("frames", minid=ids[3], approximate=False)
    server.xdel("frames", ids[7])
    with running(listener(second)) as frames:
        second.wait_for(6)
        wait_until(lambda: frames.lost == 4)
        frames.acknowledge_batch(second.tokens)
        assert server.xpending("frames", "chain")["pending"] == 0
    assert indices(second) == [3, 4, 5, 6, 8, 9]
    assert all(entry in caplog.text for entry in (ids[0], ids[7]))


def test_what_a_dead_consumer_has_is_taken_over_and_comes_again_in_that_order(server, listener):
    dead, first, second = Recorder(), Recorder(), Recorder()
    add(server, *range(5))
    with running(listener(dead)):
        dead.wait_for(5)
    with running(listener(first, 1, claim_after_s=0.5)) as other:
        add(server, *range(5, 10))
        first.wait_for(10)
        assert indices(first) == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]
        other.acknowledge_batch(first.tokens[:2])
    with running(listener(second, 1)):
        add(server, 10)
        second.wait_for(9)
    assert indices(second) == [7, 8, 9, 0, 1, 2, 3, 4, 10]


def test_what_was_trimmed_while_a_dead_consumer_had_it_is_lost(server, listener):
    dead, recorder = Recorder(), Recorder()
    ids = add(server, *range(5))
    with running(listener(dead)):
        dead.wait_for(5)
    server.xdel("frames", *ids[:2])
    with running(listener(recorder, 1, claim_after_s=0.3)) as other:
        recorder.wait_for(3)
        wait_until(lambda: other.lost == 2)
    assert indices(recorder) == [2, 3, 4]


def test_nothing_is_taken_from_a_consumer_that_waits_for_its_chain(server, listener):
    gate = threading.Event()
    slow, other = Recorder(at_event=lambda event: gate.wait(DEADLINE_S)), Recorder()
    add(server, 0, 1)
    with running(listener(slow, 0, claim_after_s=0.4)):
        wait_until(lambda: slow.messages)
        with running(listener(other, 1, claim_after_s=0.4)):
            wait_until(lambda: server.xinfo_consumers("frames", "chain")[0]["pending"] == 2)
            began_s = time.monotonic()
            wait_until(lambda: time.monotonic() - began_s > 1.2)
            gate.set()
            slow.wait_for(2)
    assert other.messages == []


def test_a_group_that_is_deleted_is_made_again(server, listener, caplog):
    recorder = Recorder()
    with running(listener(recorder)):
        (entry,) = add(server, 0)
        recorder.wait_for(1)
        server.flushall()
        # Ids are times in ms: a second entry with the first one's id would be the one in hand.
        wait_until(lambda: milliseconds(server) > int(entry.partition("-")[0]))
        add(server, 1)
        recorder.wait_for(2)
    assert indices(recorder) == [0, 1]
    assert "is made again" in caplog.text


def milliseconds(server):
    seconds, microseconds = server.time()
    return seconds * 1000 + microseconds // 1000


def test_entries_in_flight_do_not_come_twice_where_the_group_is_deleted(server, listener):
    recorder = Recorder()
    with running(listener(recorder)) as frames:
        add(server, 0, 1, 2)
        recorder.wait_for(3)
        frames.acknowledge_batch(recorder.tokens[:1])
        server.xgroup_destroy("frames", "chain")
        add(server, 3)
        recorder.wait_for(5)
    # What was finished is given again from the first entry on; the rest is in hand.
    assert indices(recorder) == [0, 1, 2, 0, 3]


def test_a_new_group_may_leave_out_what_is_there(server, listener):
    recorder = Recorder()
    add(server, 0, 1)
    with running(listener(recorder, existing=False)):
        add(server, 2)
        recorder.wait_for(1)
    assert indices(recorder) == [2]


def test_a_listener_that_will_not_come_back_leaves_the_group(redis_server, server):
    recorder = Recorder()
    add(server, 0)
    made = RedisStreamListener(recorder, "frames", "chain", port=redis_server.port)
    with running(made):
        recorder.wait_for(1)
        assert len(server.xinfo_consumers("frames", "chain")) == 1
        made.acknowledge_batch(recorder.tokens)
    assert server.xinfo_consumers("frames", "chain") == []


@pytest.mark.parametrize("kind", ["listener", "publisher"])
def test_a_key_that_is_no_stream_is_a_configuration_error(redis_server, server, kind):
    server.set("frames", "text")
    where = {"port": redis_server.port}
    stage = (
        RedisStreamPublisher("frames", **where)
        if kind == "publisher"
        else RedisStreamListener(Recorder(), "frames", "chain", **where)
    )
    with pytest.raises(ConfigurationError, match=r"refuses: .*wrong kind"):
        stage.open()
    stage.close()


def test_a_wrong_password_is_a_configuration_error(locked_redis_server, monkeypatch):
    monkeypatch.setenv("REDIS_PASSWORD", "wrong")
    where = {"port": locked_redis_server.port, "password_env": "REDIS_PASSWORD"}
    for stage in (
        RedisStreamListener(Recorder(), "frames", "chain", **where),
        RedisStreamPublisher("curves", **where),
    ):
        with pytest.raises(ConfigurationError, match="refuses the password"):
            stage.open()
        stage.close()
