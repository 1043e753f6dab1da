"""`arroyo metrics` of real chains."""

import signal
import socket

import psutil
import pytest
from chains import indices, listener, operator, publisher, wait_until
from outside import free_port
from scrapes import Scraper, get

EVENTS = 500
THREE = (
    listener("count", events=EVENTS, size_bytes=100, pause_at=EVENTS - 1),
    operator("work", "Pass", ["count"]),
    publisher("write", ["work"]),
)
BEFORE_GATE = EVENTS - 1


def test_what_is_served_follows_a_chain_through_start_restart_and_end(make_chain):
    chain = make_chain(*THREE)
    scraper = Scraper(chain)
    assert scraper.samples()["arroyo_up",] == 0
    supervisor = chain.supervise()
    chain.wait_until_ready()
    chain.wait_for_lines(BEFORE_GATE)
    for stage in ("count", "work", "write"):
        scraper.wait_for("stage_sent_events_total", "0", stage, value=BEFORE_GATE)
    seen = scraper.samples()
    assert scraper.get("/health")[0] == 200
    assert seen["arroyo_up",] == 1
    assert seen["arroyo_stage_ready", "0", "work"] == 1
    assert seen["arroyo_stage_received_bytes_total", "0", "work"] >= 100 * BEFORE_GATE
    assert seen["arroyo_stage_latency_seconds_count", "0", "write"] == BEFORE_GATE
    assert 0 < seen["arroyo_stage_latency_seconds_sum", "0", "write"] < 60 * BEFORE_GATE
    assert seen["arroyo_stage_phase_seconds_total", "idle", "0", "work"] > 0
    assert seen["arroyo_stage_resident_memory_bytes", "0", "work"] > 1_000_000

    chain.kill("work.0")
    scraper.wait_for("stage_restarts_total", "0", "work", value=1)
    scraper.wait_for("stage_ready", "0", "work", value=1)
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    scraper.wait_for("up", value=0)
    after = scraper.samples()
    assert after["arroyo_stage_sent_events_total", "0", "work"] >= BEFORE_GATE
    assert after["arroyo_stage_restarts_total", "0", "work"] == 1
    assert scraper.get("/health")[0] == 503
    scraper.program.send(signal.SIGTERM)
    assert scraper.program.wait() == 0


def test_a_page_of_somebody_else_gets_nothing(make_chain):
    scraper = Scraper(make_chain(*THREE))
    status, text = scraper.get("/metrics", Host="evil.example")
    assert status == 421
    assert "arroyo_" not in text


def serves(address):
    try:
        return get(address, "/health")[0] == 200
    except OSError:  # refused, or reset in mid-answer
        return False


def process_of_metrics(supervisor):
    """The process that a supervisor has started for its metrics; None where there is none."""
    children = psutil.Process(supervisor.pid).children()
    return next(
        (each for each in children if "arroyo.metrics.http_child" in str(each.cmdline())), None
    )


@pytest.fixture
def address():
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def serving_chain(make_chain, address):
    return make_chain(*THREE, keys=f'[supervisor]\nhttp = "{address}"')


def test_a_supervisor_has_its_metrics_served_and_notices_nothing_of_their_death(
    serving_chain, address
):
    supervisor = serving_chain.supervise()
    wait_until(lambda: serves(address), serving_chain.text)
    supervisor.wait_for(f"metrics: http://{address}/metrics")
    first = process_of_metrics(supervisor)
    first.kill()
    supervisor.wait_for("metrics was killed (SIGKILL)")
    wait_until(lambda: serves(address), serving_chain.text)
    assert process_of_metrics(supervisor).pid != first.pid
    serving_chain.open_gate()
    assert supervisor.wait() == 0, serving_chain.text()
    assert sorted(indices(serving_chain.lines())) == list(range(EVENTS))
    assert not serves(address)


@pytest.mark.logs_errors("is in use by another program")
def test_a_chain_whose_port_is_in_use_runs_without_metrics_until_it_is_free(serving_chain, address):
    host, port = address.split(":")
    with socket.create_server((host, int(port))):
        supervisor = serving_chain.supervise()
        supervisor.wait_for(f"{address} is in use by another program")
        serving_chain.wait_until_ready()
    wait_until(lambda: serves(address), serving_chain.text)
    serving_chain.open_gate()
    assert supervisor.wait() == 0, serving_chain.text()


def test_the_metrics_of_a_supervisor_that_was_killed_are_not_served_any_more(
    serving_chain, address
):
    supervisor = serving_chain.supervise()
    wait_until(lambda: serves(address), serving_chain.text)
    supervisor.kill()
    wait_until(lambda: not serves(address), serving_chain.text)
