"""Stages started one by one, in any order and again; and programs of other projects."""

import itertools
import json
import signal
from contextlib import contextmanager

import pytest
import zmq
from chains import indices, listener, operator, publisher, totals, wait_until
from outside import free_port

EVENTS = 2000
HALF = EVENTS // 2
NAMES = ("count", "work", "write")
THREE = (
    listener("count", events=EVENTS, pause_at=HALF),
    operator("work", "Pass", ["count"]),
    publisher("write", ["work"]),
)
TEN_S = 10.0


@pytest.mark.parametrize("order", list(itertools.permutations(NAMES)), ids="-".join)
def test_the_order_of_starting_does_not_matter(make_chain, order):
    chain = make_chain(*THREE)
    chain.open_gate()
    programs = [chain.stage(name) for name in order]
    assert [program.wait() for program in programs] == [0, 0, 0], chain.text()
    lines = chain.lines()
    assert indices(lines) == list(range(EVENTS))
    assert lines[0]["type"] == "Start"
    assert totals(lines)["complete"]


RESOURCES = """
import json, os, resource, sys
from own_stages import Pass

with open("found", "w") as file:
    found = {
        "cpus": sorted(os.sched_getaffinity(0)),
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
        "open files": resource.getrlimit(resource.RLIMIT_NOFILE),
        "threads": os.environ.get("OPENBLAS_NUM_THREADS"),
        "detector": os.environ.get("DETECTOR"),
        "numpy is there": "numpy" in sys.modules,
    }
    json.dump(found, file)
"""


@pytest.mark.parametrize("supervised", [True, False], ids=["supervised", "by hand"])
def test_a_stages_resources_and_environment_are_there_before_its_code(make_chain, supervised):
    keys = 'cpus = [0]\nnice = 3\nopen_files = 200\nenv = { DETECTOR = "pilatus" }'
    chain = make_chain(
        listener("count", events=10),
        operator("work", "resources_stages:Pass", ["count"], keys=keys),
        publisher("write", ["work"]),
    )
    (chain.folder / "resources_stages.py").write_text(RESOURCES)
    programs = [chain.supervise()] if supervised else [chain.stage(name) for name in NAMES]
    assert {program.wait() for program in programs} == {0}, chain.text()
    assert json.loads((chain.folder / "found").read_text()) == {
        "cpus": [0],
        "nice": 3,
        "open files": [200, 200],
        "threads": "1",
        "detector": "pilatus",
        "numpy is there": False,
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
@pytest.mark.parametrize("name", NAMES)
def test_a_stage_that_is_started_again_picks_up(make_chain, name, number):
    chain = make_chain(*THREE)
    programs = {each: chain.stage(each) for each in NAMES}
    chain.wait_for_lines(100)
    programs[name].send(number)
    assert programs[name].wait(TEN_S) == (0 if number == signal.SIGTERM else -number)
    programs[name] = chain.stage(name)
    chain.open_gate()
    assert [program.wait() for program in programs.values()] == [0, 0, 0], chain.text()
    lines = chain.lines()
    last = [line for line in lines if line["run"] == lines[-1]["run"]]
    assert set(indices(last)) == set(range(EVENTS))
    assert totals(last)["complete"]
    assert last[0]["type"] == "Start"
    if number == signal.SIGTERM and name != "count":
        assert sorted(indices(lines)) == list(range(EVENTS))
    if name == "count" and number == signal.SIGTERM:
        first = [line for line in lines if line["run"] == lines[0]["run"]]
        assert totals(first)["complete"] is False
        assert first[-1]["data"]["reason"]


def test_a_twin_is_refused_in_words(make_chain):
    chain = make_chain(*THREE)
    first = chain.stage("write")
    wait_until(lambda: "write.0" in chain.pids(), chain.text)
    second = chain.stage("write")
    assert second.wait(TEN_S) == 75
    assert second.lines == [
        f"error: write.0 is already running as pid {first.pid}; stop that one first "
        f"(it holds {chain.run_directory.lock('write.0')})"
    ]
    assert first.runs


def test_a_stage_by_hand_joins_a_supervised_chain_after_the_supervisors_was_ended(make_chain):
    chain = make_chain(*THREE)
    chain.supervise()
    chain.wait_until_ready()
    twin = chain.stage("work")
    assert twin.wait(TEN_S) == 75
    assert f"pid {chain.pids()['work.0']}" in twin.text


def test_a_stage_waits_for_those_below_and_says_so_in_its_state(make_chain):
    chain = make_chain(*THREE)
    chain.stage("count")
    chain.stage("work")
    wait_until(
        lambda: list(chain.states().values()) == ["READY", "READY", "STOPPED"],
        lambda: str(chain.states()),
    )
    assert chain.status()["count.0"]["received"] == 0
    chain.stage("write")
    chain.open_gate()
    chain.wait_for_lines(EVENTS + 2)


@pytest.mark.parametrize("parser", ["arroyo", "raw"])
def test_a_program_of_another_project_feeds_a_chain_and_reads_from_it(make_chain, parser):
    given, taken = free_port(), free_port()
    chain = make_chain(
        listener(
            "receive",
            "arroyo.connectors.zeromq:ZMQListener",
            address=f"tcp://127.0.0.1:{given}",
            bind=True,
            parser=parser,
        ),
        operator("through", "Untouched", ["receive"]),
        '[stages.send]\npublisher = "arroyo.connectors.zeromq:ZMQPublisher"\n'
        f'inputs = ["through"]\noptions = {{ host = "127.0.0.1", port = {taken} }}\n',
    )
    supervisor = chain.supervise()
    with plain_socket(zmq.PUSH, given) as feed, plain_socket(zmq.PULL, taken) as reader:
        for number in range(100):
            if parser == "raw":
                feed.send(bytes([number]) * 10)
            else:
                header = {"type": "Event", "metadata": {"n": number}}
                feed.send_multipart([json.dumps(header).encode(), bytes([number]) * 10])
        received = [receive(reader, chain) for _ in range(100)]
    payloads = [frames[-1] for frames in received]
    assert payloads == [bytes([number]) * 10 for number in range(100)]
    if parser == "arroyo":
        metadata = [json.loads(frames[-2])["metadata"]["n"] for frames in received]
        assert metadata == list(range(100))
    supervisor.send(signal.SIGINT)
    assert supervisor.wait() == 0, chain.text()


@pytest.mark.parametrize("parser", ["arroyo", "raw"])
def test_a_program_of_another_project_publishes_to_a_chain_and_subscribes(make_chain, parser):
    given, taken = free_port(), free_port()
    chain = make_chain(
        listener(
            "receive",
            "arroyo.connectors.zeromq:ZMQPubSubListener",
            address=f"tcp://127.0.0.1:{given}",
            parser=parser,
        ),
        '[stages.send]\npublisher = "arroyo.connectors.zeromq:ZMQPubSubPublisher"\n'
        f'inputs = ["receive"]\noptions = {{ host = "127.0.0.1", port = {taken} }}\n',
    )
    supervisor = chain.supervise()
    context = zmq.Context()
    with context, context.socket(zmq.PUB) as feed, context.socket(zmq.SUB) as reader:
        feed.bind(f"tcp://127.0.0.1:{given}")
        reader.connect(f"tcp://127.0.0.1:{taken}")
        reader.subscribe(b"")
        header = json.dumps({"type": "Event", "metadata": {"n": 1}}).encode()
        frames = [b"topic", b"0123"] if parser == "raw" else [b"topic", header, b"0123"]

        def has_come():
            feed.send_multipart(frames)
            return reader.poll(20)

        wait_until(has_come, chain.text)
        assert reader.recv_multipart()[-1] == b"0123"
    context.term()
    supervisor.send(signal.SIGINT)
    assert supervisor.wait() == 0, chain.text()


@contextmanager
def plain_socket(kind, port):
    """Use a socket as a program that knows nothing of Arroyo would."""
    with zmq.Context() as context, context.socket(kind) as made:
        made.setsockopt(zmq.LINGER, 2000)
        made.connect(f"tcp://127.0.0.1:{port}")
        yield made


def receive(reader, chain):
    if not reader.poll(TEN_S * 1000):
        pytest.fail(f"nothing came:\n{chain.text()}")
    return reader.recv_multipart()


def test_stages_of_different_versions_of_a_chain_file_say_so(make_chain):
    chain = make_chain(*THREE)
    below = chain.stage("write")
    wait_until(lambda: "write.0" in chain.pids(), chain.text)
    below.wait_for("ready")
    text = chain.path.read_text()
    chain.path.write_text(text.replace("stages.work", "stages.works").replace('"work"', '"works"'))
    above = chain.stage("works")
    above.wait_for("write.0: started with another version of")


def test_another_option_is_no_other_version(make_chain):
    chain = make_chain(*THREE)
    below = chain.stage("write")
    below.wait_for("ready")
    chain.edit(f"events = {EVENTS}", "events = 3")
    chain.open_gate()
    programs = [chain.stage("work"), chain.stage("count"), below]
    assert [program.wait() for program in programs] == [0, 0, 0], chain.text()
    assert "another version" not in chain.text()
