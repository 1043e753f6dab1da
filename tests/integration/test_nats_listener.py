"""What is NATS's own about its listener; the contract is in tests/conformance."""

import re
import socket
import subprocess
import sys

import pytest
from chains import wait_until
from outside import DEADLINE_S, Recorder, running

from arroyo import ConfigurationError, Event, Start, Stop, UnavailableError
from arroyo.connectors import NATSListener
from arroyo.connectors.nats import consumer as nats_consumer

pytest_plugins = ["nats_server"]


@pytest.fixture
def listener(nats_server, tmp_path):
    """Makes listeners to the stream `frames`, each life with the same state directory."""

    def make(recorder, subject="frames.>", **options):
        made = NATSListener(recorder, "frames", subject, nats_server.url, **options)
        made.state_directory = tmp_path / "state" / "take.0"
        made.state_directory.mkdir(parents=True, exist_ok=True)
        return made

    return make


def numbered(*indices):
    return [({"arroyo": f'{{"type":"Event","metadata":{{"index":{i}}}}}'}, b"") for i in indices]


def indices(recorder):
    return [event.metadata["index"] for event in recorder.events]


def position(program):
    """Up to where the listener has acknowledged, as the server sees it."""
    (consumer,) = program.consumers("frames")
    return consumer.ack_floor.stream_seq


@pytest.mark.parametrize("retention", ["limits", "interest", "workqueue"])
def test_what_is_in_flight_comes_again_from_any_kind_of_stream(program, listener, retention):
    program.make("frames", "frames.>", retention=retention)
    first, second, third = Recorder(), Recorder(), Recorder()
    with running(listener(first)) as frames:
        program.send("frames.a", numbered(*range(10)))
        first.wait_for(10)
        frames.acknowledge_batch(first.tokens[:3])
    with running(listener(second)) as frames:
        program.send("frames.a", numbered(10))
        second.wait_for(8)
        frames.acknowledge_batch(second.tokens)
    with running(listener(third)):
        program.send("frames.a", numbered(11))
        third.wait_for(1)
    assert indices(second) == list(range(3, 11))
    assert second.tokens[:7] == first.tokens[3:]
    assert indices(third) == [11]


def test_a_work_queue_keeps_nothing_that_is_finished(program, listener):
    program.make("frames", "frames.>", retention="workqueue")
    recorder = Recorder()
    with running(listener(recorder)) as frames:
        program.send("frames.a", numbered(*range(5)))
        recorder.wait_for(5)
        frames.acknowledge_batch(recorder.tokens[:2])
        frames.acknowledge_batch(recorder.tokens[2:4])
    assert program.count("frames") == 1


def test_a_server_that_comes_back_gives_nothing_twice(nats_server, program, listener, monkeypatch):
    # What was acknowledged while the server was away is acknowledged again after that.
    monkeypatch.setattr(nats_consumer, "ANSWER_TIMEOUT_S", 1.0)
    program.make("frames", "frames.>")
    first, second = Recorder(), Recorder()
    with running(listener(first)) as frames:
        program.send("frames.a", numbered(*range(10)))
        first.wait_for(10)
        nats_server.kill()
        frames.acknowledge_batch(first.tokens[:4])
        nats_server.start()
        wait_until(lambda: frames.reconnects == 1)
        program.send("frames.a", numbered(10))
        first.wait_for(11)
        wait_until(lambda: position(program) == 4)
        frames.acknowledge_batch(first.tokens[4:6])
        assert position(program) == 6
    assert indices(first) == list(range(11))
    with running(listener(second)):
        second.wait_for(5)
    assert indices(second) == [6, 7, 8, 9, 10]


def test_a_server_that_stays_away_is_named(nats_server, program, listener):
    program.make("frames", "frames.>")
    frames = listener(Recorder(), retry_for_s=0.2)
    frames.open()
    nats_server.kill()
    with pytest.raises(UnavailableError, match=rf"{nats_server.port} can't be reached"):
        frames.start()
    frames.close()


def test_only_messages_of_the_subject_are_read(program, listener):
    program.make("frames", "frames.>")
    recorder = Recorder()
    program.send("frames.a", numbered(0))
    program.send("frames.b", numbered(1))
    program.send("frames.a", numbered(2))
    with running(listener(recorder, "frames.a")):
        recorder.wait_for(2)
    assert indices(recorder) == [0, 2]


def test_a_new_consumer_may_leave_out_what_is_there(program, listener):
    program.make("frames", "frames.>")
    recorder = Recorder()
    program.send("frames.a", numbered(0, 1))
    with running(listener(recorder, existing=False)):
        program.send("frames.a", numbered(2))
        recorder.wait_for(1)
    assert indices(recorder) == [2]


def test_a_message_that_cannot_be_read_is_named_and_not_read_again(program, listener, caplog):
    program.make("frames", "frames.>")
    program.send("frames.a", [(None, b"plain"), *numbered(0), ({"arroyo": "{"}, b"")])
    recorder = Recorder()
    with running(listener(recorder)) as frames:
        recorder.wait_for(1)
        wait_until(lambda: frames.rejected == 2)
        frames.acknowledge_batch(recorder.tokens)
        assert position(program) == 3
    assert "message 1" in caplog.text


def test_messages_of_other_programs_come_raw(program, listener):
    program.make("frames", "frames.>")
    recorder = Recorder()
    with running(listener(recorder, parser="raw")):
        program.send("frames.a", [(None, b"plain"), ({"other": "x"}, b"with a header")])
        recorder.wait_for(2)
    topic = {"topic": "frames.a"}
    assert recorder.messages == [Event(topic, b"plain"), Event(topic, b"with a header")]


@pytest.mark.parametrize("headers", [b"NATS/1.0", b"NATS/1.0 \xff\xff\xff\r\n\r\n"])
def test_messages_whose_headers_the_library_can_not_read_come_without_them(
    nats_server, program, listener, headers
):
    program.make("frames", "frames.>")
    with socket.create_connection(("127.0.0.1", nats_server.port)) as sender:
        size = len(headers)
        sender.sendall(b'CONNECT {"verbose":false,"headers":true}\r\n')
        sender.sendall(b"HPUB frames.a %d %d\r\n%babc\r\n" % (size, size + 3, headers))
        wait_until(lambda: program.count("frames") == 1)
    recorder = Recorder()
    with running(listener(recorder, parser="raw")):
        program.send("frames.b", [(None, b"xyz")])
        assert recorder.wait_for(2) == [
            Event({"topic": "frames.a"}, b"abc"),
            Event({"topic": "frames.b"}, b"xyz"),
        ]


def test_the_page_s_parser_reads_what_it_says(program, listener, page, tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(# sensors\.py.*?)```", page, re.DOTALL)
    (tmp_path / "sensors.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    program.make("frames", "frames.>")
    recorder = Recorder()
    with running(listener(recorder, parser="sensors:SensorParser")) as sensors:
        program.send("frames.A", [(None, b"hot"), (None, b'{"temperature": 20.5}')])
        recorder.wait_for(1)
        assert sensors.rejected == 1
    assert recorder.messages == [Event({"sensor": "A", "temperature": 20.5})]


def test_the_page_s_sender_feeds_a_chain(nats_server, program, listener, page, tmp_path):
    (code,) = re.findall(r"```python\n(# send\.py.*?)```", page, re.DOTALL)
    (tmp_path / "send.py").write_text(code)
    program.make("frames", "frames.>")
    recorder = Recorder()
    with running(listener(recorder)):
        command = [sys.executable, str(tmp_path / "send.py"), nats_server.url]
        subprocess.run(command, check=True, timeout=DEADLINE_S)
        recorder.wait_for(5)
    kinds = [type(message) for message in recorder.messages]
    assert kinds == [Start, Event, Event, Event, Stop]
    assert recorder.events[2].array.tolist() == [[2] * 6] * 4


def test_a_stream_that_is_deleted_and_made_again_is_read_from_its_begin(program, listener, caplog):
    program.make("frames", "frames.>")
    recorder = Recorder()
    with running(listener(recorder)) as frames:
        program.send("frames.a", numbered(*range(5)))
        recorder.wait_for(5)
        frames.acknowledge_batch(recorder.tokens)
        program.do(lambda js: js.delete_stream("frames"))
        program.make("frames", "frames.>")
        program.send("frames.a", numbered(5, 6))
        recorder.wait_for(7)
    assert indices(recorder) == list(range(7))
    assert "was made anew" in caplog.text


def test_a_consumer_that_is_deleted_is_made_again(program, listener):
    program.make("frames", "frames.>")
    recorder = Recorder()
    with running(listener(recorder)) as frames:
        program.send("frames.a", numbered(*range(5)))
        recorder.wait_for(5)
        frames.acknowledge_batch(recorder.tokens[:2])
        (consumer,) = program.consumers("frames")
        program.do(lambda js: js._jsm.delete_consumer("frames", consumer.name))
        program.send("frames.a", numbered(5))
        recorder.wait_for(6)
        assert position(program) == 2
    assert indices(recorder) == list(range(6))


@pytest.mark.parametrize("retention", ["limits", "workqueue"])
def test_two_listeners_with_one_durable_are_told_apart(program, listener, retention):
    program.make("frames", "frames.>", retention=retention)
    first, second = Recorder(), Recorder()
    one = listener(first, durable="reduction")
    one.open()
    with running(listener(second, durable="reduction")):
        with pytest.raises(ConfigurationError, match=r"'reduction', and .* a durable of its own"):
            one.start()
        program.send("frames.a", numbered(0))
        second.wait_for(1)
    one.close()


def test_a_durable_name_outlasts_the_state_directory(nats_server, program):
    program.make("frames", "frames.>")
    first, second = Recorder(), Recorder()

    def make(recorder):
        return NATSListener(recorder, "frames", "frames.>", [nats_server.url], durable="reduction")

    program.send("frames.a", numbered(0, 1, 2))
    with running(make(first)) as frames:
        first.wait_for(3)
        frames.acknowledge_batch(first.tokens[:2])
    with running(make(second)):
        second.wait_for(1)
    assert indices(second) == [2]
    (consumer,) = program.consumers("frames")
    assert consumer.name in {"reduction-a", "reduction-b"}


def test_a_listener_that_will_not_come_back_leaves_no_consumer(nats_server, program):
    program.make("frames", "frames.>")
    with running(NATSListener(Recorder(), "frames", "frames.>", nats_server.url)):
        assert len(program.consumers("frames")) == 1
    assert program.consumers("frames") == []


def test_a_stream_that_is_not_there_is_waited_for(listener):
    frames = listener(Recorder())
    with pytest.raises(UnavailableError, match=r"no such stream .*nats stream add"):
        frames.open()
    frames.close()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"servers": []}, "servers is empty"),
        ({"servers": "redis://host"}, "'redis://host'; expected nats://host:port"),
        ({"servers": "nats://me:sesame@host"}, "holds a user, password or token"),
        ({"stream": "a.b"}, "stream is 'a.b'; expected a name without dots"),
        ({"durable": "a b"}, "durable is 'a b'; expected a name without dots"),
    ],
)
def test_options_that_can_not_be_are_refused_at_once(options, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        NATSListener(None, **{"stream": "frames", "subject": "frames.>"} | options)


def test_several_replicas_are_refused(program, nats_server, make_chain):
    chain = make_chain(
        '[stages.take]\nlistener = "arroyo.connectors:NATSListener"\nreplicas = 2\n'
        f'options = {{ stream = "frames", subject = "frames.>", servers = "{nats_server.url}" }}\n'
    )
    result = chain.start("arroyo", "check", "chain.toml")
    assert result.wait() == 78
    assert "replicas" in result.text
