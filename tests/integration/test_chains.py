"""Whole chains of processes: what goes in comes out, in order, complete, and untouched."""

import statistics
import zlib
from collections import Counter

import pytest
from chains import indices, listener, operator, publisher, totals
from run_totals import totals_of

MANY = 100_000
LARGE = 8 * 1024 * 1024


def run(chain):
    supervisor = chain.supervise()
    assert supervisor.wait(60) == 0, chain.text()
    assert "Traceback" not in supervisor.text
    return chain.lines()


def types(lines):
    return [line["type"] for line in lines]


def assert_one_run_of(lines, expected):
    assert lines[0]["type"] == "Start"
    assert lines[-1]["type"] == "Stop"
    assert sorted(indices(lines)) == list(expected)
    assert Counter(types(lines))["Start"] == Counter(types(lines))["Stop"] == 1


def test_a_hundred_thousand_messages_of_a_users_own_type_arrive_in_order(make_chain):
    chain = make_chain(
        listener("count", events=MANY, kind="reading"),
        operator("through", "Untouched", ["count"]),
        publisher("write", ["through"]),
        keys='messages = ["own_stages:Reading"]',
    )
    lines = run(chain)
    assert types(lines) == ["Start", *["Reading"] * MANY, "Stop"]
    assert [line["index"] for line in lines[1:-1]] == list(range(MANY))
    assert lines[5]["values"] == [lines[5]["index"] / 2]
    assert [line["sequence"] for line in lines[1:-1]] == list(range(MANY))
    assert totals(lines) == totals_of(MANY, dropped=0)


def test_two_replicas_share_the_work_and_order_is_restored(make_chain):
    chain = make_chain(
        listener("count", events=20_000),
        operator("work", "Pass", ["count"], keys="replicas = 2"),
        publisher("write", ["work"], keys='order = "source"'),
    )
    lines = run(chain)
    assert_one_run_of(lines, range(20_000))
    assert indices(lines) == list(range(20_000))
    by = Counter(line["metadata"]["by"] for line in lines[1:-1])
    assert len(by) == 2
    assert min(by.values()) > 1000


def test_filters_and_splits_are_counted_and_ordered(make_chain):
    chain = make_chain(
        listener("count", events=2000),
        operator("filter", "Filter", ["count"], keys="replicas = 2", modulus=4),
        operator("split", "Split", ["filter"], keys="replicas = 2", parts=3),
        publisher("write", ["split"], keys='order = "source"'),
    )
    lines = run(chain)
    events = lines[1:-1]
    expected = [(index, part) for index in range(0, 2000, 4) for part in range(3)]
    assert [(e["metadata"]["index"], e["metadata"]["part"]) for e in events] == expected
    assert [e["fragment"] for e in events[:3]] == [[[0, 3]], [[1, 3]], [[2, 3]]]
    assert len({e["key"] for e in events}) == len(events)
    assert totals(lines)["sent"] == 2000
    assert totals(lines)["filtered"] == 1500
    assert totals(lines)["complete"]


def test_a_diamond_delivers_both_copies_and_tells_them_apart(make_chain):
    chain = make_chain(
        listener("count", events=1000),
        operator("left", "Pass", ["count"], name="left"),
        operator("right", "Pass", ["count"], name="right"),
        publisher("write", ["left", "right"]),
    )
    lines = run(chain)
    assert_one_run_of(lines, sorted([*range(1000), *range(1000)]))
    events = [line for line in lines if line["type"] == "Event"]
    assert {(e["path"], e["metadata"]["by"].split(".")[0]) for e in events} in (
        {(0, "left"), (1, "right")},
        {(1, "left"), (0, "right")},
    )
    assert len({e["key"] for e in events}) == 2000


def test_a_pub_sub_branch_gets_a_copy_and_its_own_start_and_stop(make_chain):
    chain = make_chain(
        listener("count", events=500, every_s=0.0005),
        operator("through", "Untouched", ["count"]),
        publisher("write", ["through"]),
        publisher("look", [{"stage": "through", "link": "pub-sub"}], path="look.jsonl"),
    )
    assert_one_run_of(run(chain), range(500))
    seen = chain.lines("look.jsonl")
    assert types(seen)[0] == "Start"
    assert types(seen)[-1] == "Stop"
    assert indices(seen) == list(range(500))


def test_a_message_soon_after_a_burst_does_not_wait_for_the_next_one(make_chain):
    # By pub-sub nothing ever comes back, so that nothing else wakes the source.
    rounds = 11
    chain = make_chain(
        listener("bursts", "Bursts", rounds=rounds),
        publisher("note", [{"stage": "bursts", "link": "pub-sub"}], "WriteDelays"),
    )
    delays_s = [line["delay_s"] for line in run(chain)]
    assert len(delays_s) == rounds
    assert statistics.median(delays_s) < 0.02


def test_what_has_the_same_key_goes_to_the_same_replica(make_chain):
    chain = make_chain(
        listener("count", events=3000, group=7),
        operator("work", "Pass", ["count"], keys='replicas = 2\ndispatch = "key:group"'),
        publisher("write", ["work"]),
    )
    lines = run(chain)
    assert_one_run_of(lines, range(3000))
    workers = {}
    for line in lines[1:-1]:
        workers.setdefault(line["metadata"]["group"], set()).add(line["metadata"]["by"])
    assert len(workers) == 7
    assert all(len(by) == 1 for by in workers.values())
    assert len(set.union(*workers.values())) == 2


def test_async_stages_and_a_flushed_publisher_work_as_others(make_chain):
    chain = make_chain(
        listener("count", events=2000),
        operator("work", "AsyncPass", ["count"]),
        publisher("write", ["work"], "AsyncWrite"),
        publisher("flushed", ["work"], "FlushedWrite", path="flushed.jsonl"),
    )
    lines = run(chain)
    assert_one_run_of(lines, range(2000))
    assert_one_run_of(chain.lines("flushed.jsonl"), range(2000))


def test_large_payloads_arrive_intact_and_read_only(make_chain):
    chain = make_chain(
        listener("count", events=24, size_bytes=LARGE, buffer="same"),
        operator("work", "Untouched", ["count"], keys="replicas = 2"),
        publisher("write", ["work"]),
    )
    lines = run(chain)
    assert_one_run_of(lines, range(24))
    for event in lines[1:-1]:
        assert event["readonly"]
        assert event["crc"] == zlib.crc32(bytes([event["metadata"]["index"] % 251]) * LARGE)


def test_a_listener_may_write_into_its_buffer_again(make_chain):
    chain = make_chain(
        listener("count", events=5000, size_bytes=64, buffer="same"),
        publisher("write", ["count"]),
    )
    lines = run(chain)
    assert indices(lines) == list(range(5000))
    assert all(line["crc"] == line["metadata"]["crc"] for line in lines[1:-1])


@pytest.mark.parametrize("when_full", ["drop-newest", "drop-oldest"])
def test_a_source_that_must_not_wait_drops_and_says_so(make_chain, when_full):
    chain = make_chain(
        listener("count", events=5000, keys=f'window = 50\nwhen_full = "{when_full}"'),
        publisher("write", ["count"], every_s=0.001),
    )
    lines = run(chain)
    got = indices(lines)
    found = totals(lines)
    assert got == sorted(got)
    assert found["dropped"] > 0
    assert found["sent"] + found["dropped"] == 5000
    assert found["sent"] == len(got)
    assert not found["complete"]
    if when_full == "drop-oldest":
        assert got[-1] == 4999


def test_a_window_of_one_message_is_slow_but_works(make_chain):
    chain = make_chain(
        listener("count", events=200, runs=2, keys="window = 1"),
        operator("work", "Pass", ["count"], keys="replicas = 2"),
        publisher("write", ["work"]),
    )
    lines = run(chain)
    assert indices(lines) == list(range(400))
    assert [t for t in types(lines) if t != "Event"] == ["Start", "Stop", "Start", "Stop"]


def test_the_account_at_the_end_has_counted_everything(make_chain):
    chain = make_chain(listener("count", events=3000), publisher("write", ["count"]))
    supervisor = chain.supervise()
    assert supervisor.wait() == 0
    sent, received = supervisor.lines[-3:-1]
    assert sent.strip().startswith("count: 3,00"), supervisor.text
    assert received.strip().startswith("write: 3,00"), supervisor.text


def test_two_sources_have_runs_of_their_own(make_chain):
    chain = make_chain(
        listener("left", events=500, runs=2),
        listener("right", events=500, runs=2),
        publisher("write", ["left", "right"]),
    )
    lines = run(chain)
    for source in ("left.0", "right.0"):
        own = [line for line in lines if line["source"] == source]
        assert indices(own) == list(range(1000))
        assert [line["type"] for line in own if line["type"] != "Event"] == [
            "Start",
            "Stop",
            "Start",
            "Stop",
        ]
