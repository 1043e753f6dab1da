"""What is NATS's own about its publisher; the contract is in tests/conformance."""

import asyncio
import json
import re
import shutil
import subprocess
import sys

import pytest
from outside import DEADLINE_S, array_event, assert_is_array_event, event, opened

from arroyo import EncodeError, Event, UnavailableError
from arroyo.connectors import NATSPublisher

pytest_plugins = ["nats_server"]


@pytest.fixture
def publisher(nats_server):
    def make(subject="curves.powder", **options):
        return NATSPublisher(subject, nats_server.url, **options)

    return make


@pytest.fixture
def curves(program):
    program.make("curves", "curves.>")


def published(program):
    found = program.read("curves")
    return [json.loads(each.header["arroyo"])["metadata"]["index"] for each in found]


def test_a_message_is_a_header_and_a_body(program, curves, publisher):
    with opened(publisher()) as powder:
        powder.publish(array_event())
        powder.flush()
    (found,) = program.read("curves")
    assert found.subject == "curves.powder"
    assert found.header["Nats-Msg-Id"] == "images.0/run-1/3"
    assert_is_array_event(found.header["arroyo"], found.data)


def test_nothing_is_left_on_the_loop_of_a_session_that_is_closed(curves, publisher):
    with opened(publisher()) as powder:
        left = powder._session.begin(asyncio.sleep(3600))
    assert left.cancelled()


def test_the_page_s_reader_reads_what_a_chain_publishes(
    nats_server, curves, publisher, page, tmp_path
):
    (code,) = re.findall(r"```python\n(# read\.py.*?)```", page, re.DOTALL)
    (tmp_path / "read.py").write_text(code)
    with opened(publisher()) as powder:
        powder.publish(array_event())
        powder.flush()
    command = [sys.executable, str(tmp_path / "read.py"), nats_server.url]
    told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE_S)
    assert told.stdout.split() == ["Event", "run-1", "3", "[0", "1", "2]"]


def test_a_message_that_comes_again_after_the_window_is_there_twice(program, publisher):
    program.make("curves", "curves.>", duplicate_window=0.1)
    with opened(publisher()) as powder:
        powder.publish(event(0))
        powder.flush()
        # Published again and again, it is dropped until the window is over.
        for _ in range(200):
            powder.publish(event(0))
            powder.flush()
            if len(published(program)) > 1:
                break
    assert published(program) == [0, 0]


def test_what_the_server_had_not_confirmed_when_it_died_is_sent_again(
    nats_server, program, curves, publisher
):
    with opened(publisher()) as powder:
        for index in range(250):
            powder.publish(event(index))
        nats_server.kill()
        nats_server.start()
        for index in range(250, 500):
            powder.publish(event(index))
        powder.flush()
    assert sorted(published(program)) == list(range(500))


def test_a_server_that_stays_away_is_named(nats_server, curves, publisher):
    with opened(publisher(retry_for_s=0.2)) as powder:
        nats_server.kill()
        with pytest.raises(UnavailableError, match=rf"{nats_server.port} can't be reached"):
            powder.publish(event(0))
            powder.flush()


def test_a_full_stream_is_waited_for(program, publisher):
    program.make("curves", "curves.>", max_bytes=3000, discard="new")
    with opened(publisher(retry_for_s=0.3)) as powder:
        powder.publish(event(0, bytes(2000)))
        powder.flush()
        powder.publish(event(1, bytes(2000)))
        with pytest.raises(UnavailableError, match=r"takes nothing now .*make room"):
            powder.flush()
        program.do(lambda js: js._jsm.purge_stream("curves"))
        powder.flush()
    assert published(program) == [1]


def test_a_server_whose_disk_is_full_is_named_and_loses_nothing(small_disk):
    from nats_server import NATSProgram, NATSServer  # a plugin, so not before that

    disk = small_disk(6 * 1024)
    server = NATSServer(disk)
    try:
        server.start()
        program = NATSProgram(server.url)
        program.make("curves", "curves.>")
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(disk).free - 300_000))
        with opened(NATSPublisher("curves.powder", server.url, retry_for_s=0.3)) as powder:
            with pytest.raises(UnavailableError, match=r"confirms nothing .* make room there"):
                for index in range(8):
                    powder.publish(event(index, bytes(100_000)))
                powder.flush()
            ballast.unlink()
            server.kill()
            server.start()
            powder.flush()
        assert published(program) == list(range(8))
    finally:
        server.kill()


def test_a_subject_that_no_stream_takes_is_waited_for(nats_server, publisher):
    powder = publisher()
    with pytest.raises(UnavailableError, match=r"no stream that takes this subject.*nats stream"):
        powder.open()
    powder.close()


def test_text_that_is_not_ascii_arrives(program, curves, publisher):
    with opened(publisher()) as powder:
        powder.publish(Event({"index": "Ångström"}))
        powder.flush()
    assert published(program) == ["Ångström"]


def test_messages_that_are_too_large_are_refused_one_by_one(program, publisher):
    program.make("curves", "curves.>", max_msg_size=10_000)
    with opened(publisher()) as powder:
        powder.publish(event(0))
        with pytest.raises(EncodeError, match=r"more than the NATS server takes \(10000\)"):
            powder.publish(event(1, bytes(10_000)))
        with pytest.raises(EncodeError, match=r"put large values into the payload"):
            powder.publish(Event({"index": "x" * 70_000}))
        powder.publish(event(2))
        powder.flush()
    assert published(program) == [0, 2]
