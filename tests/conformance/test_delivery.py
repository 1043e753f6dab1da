"""The delivery promise of every broker: broker -> two replicas -> broker, as a chain of processes.

All messages arrive, whoever is killed; twice only where the connectors' page says so.
In the environment, ARROYO_CONFORMANCE is the number of messages (by default 1000) and
ARROYO_OUTAGE_S how long the server is away (1); 20000 and 60 make the long form.
"""

import os
import shutil
import signal
import threading
from pathlib import Path

import pytest
from brokers import indices_of, numbered
from chains import kill, listener, operator, wait_until

TESTS = Path(__file__).parents[1]
MESSAGES = int(os.environ.get("ARROYO_CONFORMANCE", "1000"))
OUTAGE_S = float(os.environ.get("ARROYO_OUTAGE_S", "1"))
DEADLINE_S = 60 + MESSAGES / 100 + OUTAGE_S
KEYS = "[supervisor]\nmax_restarts = 1000\nchain_max_restarts = 1000\n"
SOON = "10 ms"
STAGES = ["take.0", "work.0", "work.1", "give.0"]

# A stage whose server is away ends with this sentence, to be started again later.
pytestmark = pytest.mark.logs_errors("can't be reached")


@pytest.fixture
def start_chain(broker, make_chain, monkeypatch):
    """Starts the chain of the broker's connectors, with an operator that takes its time."""

    def start(window=65_536, backoff=SOON):
        inputs = broker.listener_options("in")
        again = f'backoff_s = "{backoff}"'
        chain = make_chain(
            listener("take", broker.listener, keys=f"window = {window}\n{again}", **inputs),
            operator("work", "Pass", ["take"], keys=f"replicas = 2\n{again}", every_s=0.001),
            give(broker, keys=again),
            keys=KEYS,
        )
        for module in broker.modules:
            shutil.copy(TESTS / f"{module}.py", chain.folder)
        chain.environ |= broker.environ
        return chain, chain.supervise()

    return start


def give(broker, keys):
    # `chains.publisher` is for those that write a path.
    options = broker.publisher_options("out")
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


def kill_replica(chain, name):
    wait_until(lambda: name in chain.pids(), chain.text)
    kill(chain.pids()[name])


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
        kill_replica(chain, name)
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
    broker.start()
    wait_for(broker, chain, MESSAGES)
    stop(chain, program)
    assert_all_came(broker, MESSAGES, repeats_allowed=broker.repeats_after_server_kill)


def test_a_chain_that_is_stopped_goes_on_where_it_was(broker, queues, start_chain):
    chain, program = start_chain(window=100)
    broker.produce("in", numbered(0, MESSAGES))
    wait_for(broker, chain, MESSAGES // 4)
    stop(chain, program)
    first = arrived(broker)
    assert len(first) < MESSAGES, "it was stopped too late to tell"
    program = chain.supervise()
    wait_for(broker, chain, MESSAGES)
    stop(chain, program)
    assert_all_came(broker, MESSAGES, repeats_allowed=False)


def test_a_chain_waits_for_its_server_and_says_so(broker, queues, start_chain):
    broker.produce("in", numbered(0, 10))
    broker.kill()
    chain, program = start_chain(backoff="1 s")  # which is how long the status says it
    for name in ("take.0", "give.0"):
        wait_until(
            lambda name=name: "can't be reached" in (chain.status()[name]["reason"] or ""),
            lambda: f"{chain.status()}\n{chain.text()}",
        )
    assert "Traceback" not in program.text
    broker.start()
    wait_for(broker, chain, 10)
    stop(chain, program)
    assert_all_came(broker, 10, repeats_allowed=False)
