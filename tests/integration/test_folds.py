"""Operators that fold many messages into one, as processes: nothing is lost, whoever dies."""

import itertools
import random

import pytest
from chains import kill, listener, operator, publisher, totals, wait_until

EVENTS = 4003
MANY_DEATHS = "[supervisor]\nmax_restarts = 100\nchain_max_restarts = 200"


def outputs(lines):
    """Indices in each output, by key: what an idempotent sink would hold."""
    return {line["key"]: line["metadata"]["indices"] for line in lines if line["type"] == "Event"}


def gathered(lines):
    return sorted(itertools.chain(*outputs(lines).values()))


def kill_and_wait(chain, name):
    """Kill a replica, and wait until another life of it is there."""
    before = chain.pids()[name]
    kill(before)
    wait_until(lambda: chain.pids().get(name, before) != before, chain.text)
    chain.wait_until_ready()


def chain_of(kind="Gather", *, replicas=1, order="source", **source):
    return (
        listener("count", events=EVENTS, **source),
        operator("work", "Pass", ["count"], keys="replicas = 2"),
        operator("fold", kind, ["work"], keys=f'replicas = {replicas}\norder = "{order}"'),
        operator("more", "Untouched", ["fold"], keys="replicas = 2"),
        publisher("write", ["more"]),
    )


def test_the_last_output_comes_before_the_stop_which_counts_outputs_and_inputs(make_chain):
    chain = make_chain(*chain_of())
    assert chain.supervise().wait() == 0, chain.text()
    lines = chain.lines()
    assert gathered(lines) == list(range(EVENTS))
    assert lines[-1]["type"] == "Stop"
    assert lines[-1]["source"] == "fold.0"
    found = totals(lines)
    assert found["sent"] == -(-EVENTS // 5)
    assert found["inputs"]["sent"] == EVENTS
    assert found["complete"]


@pytest.mark.logs_errors("No space left on device")
def test_an_opened_operator_is_closed_though_its_record_has_no_room(make_chain, small_disk):
    chain = make_chain(*chain_of("GatherAndTell"))
    chain.state_directory.create()
    small_disk(64, chain.state_directory.path / "fold", files=1)  # which is the folder itself
    stage = chain.stage("fold")
    assert stage.wait() == 75, chain.text()
    assert "No space left" in chain.text()
    assert (chain.folder / "told").read_text() == "opened\nclosed\n"


def test_each_replica_of_a_fold_is_a_source_of_its_own(make_chain):
    chain = make_chain(*chain_of(replicas=2, order="any"))
    assert chain.supervise().wait() == 0, chain.text()
    lines = chain.lines()
    assert gathered(lines) == list(range(EVENTS))
    stops = [line for line in lines if line["type"] == "Stop"]
    assert {line["source"] for line in stops} == {"fold.0", "fold.1"}
    assert sum(line["data"]["totals"]["sent"] for line in stops) == len(outputs(lines))


@pytest.mark.parametrize("victims", [("fold.0",), ("fold.0", "more.0", "write.0", "work.1")])
def test_what_a_fold_held_when_it_died_is_in_one_output_of_its_next_lives(make_chain, victims):
    rng = random.Random(5)
    chain = make_chain(
        *chain_of(pause_at=EVENTS - 3, every_s=0.0005, size_bytes=20_000),
        keys=MANY_DEATHS,
    )
    supervisor = chain.supervise()
    for count in range(20, 700, 200):
        chain.wait_for_lines(count)
        kill_and_wait(chain, rng.choice(victims))
    chain.open_gate()
    assert supervisor.wait(60) == 0, chain.text()
    lines = chain.lines()
    assert gathered(lines) == list(range(EVENTS))
    assert {line["run"] for line in lines} == {lines[0]["run"]}
    assert totals(lines)["complete"]


def test_one_that_says_what_it_holds_gets_that_again(make_chain):
    chain = make_chain(*chain_of("GatherPairs", pause_at=EVENTS // 2), keys=MANY_DEATHS)
    supervisor = chain.supervise()
    chain.wait_for_lines(1000)
    kill_and_wait(chain, "fold.0")
    chain.open_gate()
    assert supervisor.wait() == 0, chain.text()
    assert sorted(outputs(chain.lines()).values()) == [[n, n + 1] for n in range(EVENTS - 1)]


def test_a_sum_over_a_whole_run_needs_no_bound(make_chain):
    tables = chain_of("GatherAll", keys="window = 100")
    chain = make_chain(*tables)
    assert chain.supervise().wait() == 0, chain.text()
    assert gathered(chain.lines()) == list(range(EVENTS))


def test_a_run_without_a_start_is_given_out_at_the_end(make_chain):
    chain = make_chain(*chain_of(start=False, stop=False))
    assert chain.supervise().wait() == 0, chain.text()
    assert gathered(chain.lines()) == list(range(EVENTS))


def test_more_inputs_than_fit_into_the_window_are_found_before_the_start(make_chain):
    chain = make_chain(*chain_of(replicas=2, order="any", keys="window = 7"))
    problems = chain.start("arroyo", "check", chain.path)
    assert problems.wait() == 78
    assert "may hold 4 inputs" in problems.text
    assert "set stages.count.window to 8" in problems.text
