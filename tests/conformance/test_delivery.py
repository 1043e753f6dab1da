"""The delivery promise of every broker: broker -> two replicas -> broker, as a chain of processes.

All messages arrive, whoever is killed; twice only where the connectors' page says so.
The long form takes half an hour; ``-k Kafka`` is that of one broker::

    ARROYO_CONFORMANCE=20000 ARROYO_OUTAGE_S=60 pytest -s tests/conformance/test_delivery.py

ARROYO_CONFORMANCE is the number of messages, by default 1000, and ARROYO_OUTAGE_S how long the
server is away, by default 1.
"""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from brokers import indices_of, numbered
from chains import listener, operator, wait_until
from hostile_outward import HOSTILE_OUTWARD

TESTS = Path(__file__).parents[1]
MESSAGES = int(os.environ.get("ARROYO_CONFORMANCE", "1000"))
OUTAGE_S = float(os.environ.get("ARROYO_OUTAGE_S", "1"))
TOLD_S = 30
"""Of a server that has been away for so long the status tells, however patient its connectors."""
DEADLINE_S = 60 + MESSAGES / 100 + OUTAGE_S
KEYS = "[supervisor]\nmax_restarts = 1000\nchain_max_restarts = 1000\n"
SOON = "10 ms"
HEADER_BYTES = 60_000
"""All servers take headers of this size."""
STAGES = ["take.0", "work.0", "work.1", "give.0"]

pytestmark = [
    # A stage whose server is away ends with this sentence, to be started again later.
    pytest.mark.logs_errors("can't be reached"),
    pytest.mark.timeout(120 + MESSAGES / 50 + OUTAGE_S),
]


@pytest.fixture
def start_chain(broker, make_chain, monkeypatch):
    """Starts the chain of the broker's connectors, with an operator that takes its time.

    `held_at`: index before which it waits for the gate.
    """

    def start(window=65_536, backoff=SOON, held_at=None, **options):
        inputs = broker.listener_options("in") | options
        again = f'backoff_s = "{backoff}"'
        keys = f"replicas = 2\n{again}"
        chain = make_chain(
            listener("take", broker.listener, keys=f"window = {window}\n{again}", **inputs),
            operator("work", "Pass", ["take"], keys=keys, every_s=0.001, held_at=held_at),
            give(broker, again, options),
            keys=KEYS,
        )
        for module in broker.modules:
            shutil.copy(TESTS / f"{module}.py", chain.folder)
        chain.environ |= broker.environ
        return chain, chain.supervise()

    return start


def give(broker, keys, options):
    # `chains.publisher` is for those that write a path.
    options = broker.publisher_options("out") | options
    table = listener("give", broker.publisher, keys=f'inputs = ["work"]\n{keys}', **options)
    return table.replace("listener =", "publisher =")


@pytest.fixture
def queues(broker):
    for queue in ("in", "out"):
        broker.make(queue)


def stop(chain, program):
    # A stage whose server was away may be about to end for that, though all has arrived.
    chain.wait_until_ready()
    program.send(signal.SIGINT)
    assert program.wait(DEADLINE_S) == 0, chain.text()


def arrived(broker):
    return indices_of(broker.consume("out"))


def wait_for(broker, chain, count):
    """Wait until so many different messages are there."""
    wait_until(
        lambda: len(set(arrived(broker))) >= count,
        lambda: f"{len(set(arrived(broker)))} of {count} arrived\n{chain.text()}",
        DEADLINE_S,
    )


def assert_all_came(broker, count, *, repeats_allowed):
    found = arrived(broker)
    assert sorted(set(found)) == list(range(count)), "messages are missing"
    repeats = len(found) - count
    print(f"{type(broker).__name__}: {repeats} of {count} messages came twice")
    assert repeats_allowed or repeats == 0, f"{repeats} messages came twice"


def test_nothing_is_lost_though_each_stage_is_killed_twice(broker, queues, start_chain):
    chain, program = start_chain()
    broker.produce("in", numbered(0, MESSAGES // 2))
    for turn, name in enumerate(STAGES * 2):
        wait_for(broker, chain, (turn + 1) * MESSAGES // 20)
        chain.kill(name)
    broker.produce("in", numbered(MESSAGES // 2, MESSAGES))
    wait_for(broker, chain, MESSAGES)
    stop(chain, program)
    assert_all_came(broker, MESSAGES, repeats_allowed=broker.repeats)


def test_nothing_is_lost_though_the_server_is_killed(broker, queues, start_chain):
    chain, program = start_chain()
    broker.produce("in", numbered(0, MESSAGES))
    wait_for(broker, chain, MESSAGES // 4)
    broker.kill()
    threading.Event().wait(OUTAGE_S)
    if OUTAGE_S >= TOLD_S:
        wait_until_said(chain, "can't be reached")
    broker.start()
    wait_for(broker, chain, MESSAGES)
    stop(chain, program)
    assert_all_came(broker, MESSAGES, repeats_allowed=broker.repeats_after_server_kill)


def test_a_chain_that_is_stopped_goes_on_where_it_was(broker, queues, start_chain):
    chain, program = start_chain(window=100, held_at=MESSAGES // 2)
    broker.produce("in", numbered(0, MESSAGES))
    wait_for(broker, chain, MESSAGES // 4)
    chain.wait_until_ready()
    program.send(signal.SIGINT)
    wait_until(lambda: chain.status()["take.0"]["state"] != "READY", chain.text)
    chain.open_gate()
    assert program.wait(DEADLINE_S) == 0, chain.text()
    first = arrived(broker)
    assert len(first) < MESSAGES, "it was stopped too late to tell"
    program = chain.supervise()
    wait_for(broker, chain, MESSAGES)
    stop(chain, program)
    assert_all_came(broker, MESSAGES, repeats_allowed=False)


def test_a_chain_waits_for_its_server_and_says_so(broker, queues, start_chain):
    broker.produce("in", numbered(0, 10))
    broker.kill()
    gone_at = time.monotonic()
    chain, program = start_chain(backoff="1 s")  # which is how long the status says it
    for name in ("take.0", "give.0"):
        wait_until(
            lambda name=name: "can't be reached" in (chain.status()[name]["reason"] or ""),
            lambda: f"{chain.status()}\n{chain.text()}",
        )
    threading.Event().wait(gone_at + OUTAGE_S - time.monotonic())
    assert "Traceback" not in program.text
    broker.start()
    wait_for(broker, chain, 10)
    stop(chain, program)
    assert_all_came(broker, 10, repeats_allowed=False)


def wait_until_said(chain, words, name=""):
    """Wait until the status says that a stage waits, and for what.

    Without a name it need not be both: a publisher that has nothing to publish does not look.
    """
    wait_until(
        lambda: is_said(chain, words, name), lambda: f"{chain.status()}\n{chain.text()}", DEADLINE_S
    )


def wait_until_no_longer_said(chain, words):
    """The same for its end."""
    wait_until(
        lambda: not is_said(chain, words), lambda: f"{chain.status()}\n{chain.text()}", DEADLINE_S
    )


def is_said(chain, words, name=""):
    """Whether the status says so, of the stages whose names begin like this."""
    return any(
        words in (row["reason"] or "") and (row["state"] == "BACKOFF" or row["waiting_s"])
        for stage, row in chain.status().items()
        if stage.startswith(name)
    )


def test_a_chain_says_so_when_its_server_goes_away(broker, queues, start_chain):
    chain, program = start_chain(backoff="1 s")
    broker.produce("in", numbered(0, MESSAGES))
    wait_for(broker, chain, MESSAGES // 4)
    broker.kill()
    gone_at = time.monotonic()
    wait_until_said(chain, "can't be reached", "take" if broker.waits else "")
    threading.Event().wait(gone_at + OUTAGE_S - time.monotonic())
    broker.start()
    wait_for(broker, chain, MESSAGES)
    wait_until_no_longer_said(chain, "can't be reached")
    stop(chain, program)
    assert_all_came(broker, MESSAGES, repeats_allowed=broker.repeats_after_server_kill)


def test_hostile_messages_are_counted_and_kept_and_end_no_stage(broker, queues, start_chain):
    hostile = [
        (frames[0], frames[1] if frames[1:] else b"")
        for frames in HOSTILE_OUTWARD.values()
        if len(frames) in (1, 2) and len(frames[0]) < HEADER_BYTES
    ]
    chain, program = start_chain()
    broker.produce("in", [*numbered(0, 10), *hostile, *numbered(10, 20)])
    wait_for(broker, chain, 20)
    wait_until(lambda: chain.status()["take.0"]["rejected"] == len(hostile), chain.status)
    assert [row["restarts"] for row in chain.status().values()] == [0] * len(STAGES)
    stop(chain, program)
    assert_all_came(broker, 20, repeats_allowed=False)
    kept = json.loads(chain.command("quarantine", "list", chain.path, "--json"))
    assert len(kept) == len(set(hostile))
    assert all(each["stage"] == "take" and "refused: " in each["reason"] for each in kept)


@pytest.mark.logs_errors("has it not", "has no s", "have no topic")
def test_a_chain_says_so_while_a_queue_is_missing(broker, start_chain):
    if not broker.missing:
        pytest.skip("for brokers that do not make a missing queue themselves")
    chain, program = start_chain(backoff="1 s")
    wait_until_said(chain, broker.missing, "take")
    for queue in ("in", "out"):
        broker.make(queue)
    broker.produce("in", numbered(0, 10))
    wait_for(broker, chain, 10)
    stop(chain, program)
    assert_all_came(broker, 10, repeats_allowed=False)


@pytest.mark.logs_errors("takes nothing now")
def test_a_chain_says_so_while_its_server_has_no_room(broker, queues, start_chain):
    if not broker.impatient:
        pytest.skip("for brokers that can be left without room by a test")
    chain, program = start_chain(backoff="1 s", held_at=MESSAGES // 10, **broker.impatient)
    broker.produce("in", numbered(0, MESSAGES))
    wait_for(broker, chain, MESSAGES // 20)
    broker.fill()
    chain.open_gate()
    try:
        wait_until_said(chain, "takes nothing now")
    finally:
        broker.make_room()
    wait_for(broker, chain, MESSAGES)
    stop(chain, program)
    assert_all_came(broker, MESSAGES, repeats_allowed=broker.repeats)
