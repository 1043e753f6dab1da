"""A chain gives the same, whether its stages are processes or run in one.

Each case is run both ways; what sinks were given must be what the rules say, in both.
"""

import pytest
from chains import indices, listener, operator, publisher, totals, wait_until
from run_totals import totals_of

EVENTS = 60
WAYS = ["processes", "in-process", "arroyo.run"]
LISTENED = listener("count", events=EVENTS)
RUN = "import arroyo; arroyo.run('chain.toml')"


@pytest.fixture(params=WAYS)
def start(request, make_chain):
    """Starts a chain of the given tables; returns it and the program that runs it."""

    def start_chain(*tables):
        chain = make_chain(*tables)
        if request.param == "arroyo.run":
            return chain, chain.start("python", "-c", RUN)
        return chain, chain.supervise(*["--in-process"] * (request.param == "in-process"))

    return start_chain


@pytest.fixture
def run(start):
    """Runs a chain of the given tables to its end; returns what its sink wrote."""

    def run_chain(*tables, code=0):
        chain, program = start(*tables)
        has_code = program.arguments[0].name == "arroyo-supervise"
        assert program.wait() == (code if has_code else 0), chain.text()
        return chain.lines()

    return run_chain


def kinds(lines):
    return [line["type"] for line in lines if line["type"] != "Event"]


def test_everything_arrives_between_start_and_stop(run):
    lines = run(LISTENED, operator("work", "Pass", ["count"]), publisher("write", ["work"]))
    assert [line["type"] for line in lines] == ["Start", *["Event"] * EVENTS, "Stop"]
    assert indices(lines) == list(range(EVENTS))
    assert lines[-1]["data"] == {"run": 0, "totals": totals_of(EVENTS, dropped=0)}


def test_origin_and_key_say_where_a_message_comes_from(run):
    lines = run(LISTENED, publisher("write", ["count"]))
    (run_name,) = {line["run"] for line in lines}
    assert {line["source"] for line in lines} == {"count.0"}
    assert [line["sequence"] for line in lines] == [-1, *range(EVENTS), -1]
    assert lines[0]["key"] == f"count.0/{run_name}/start"
    assert lines[3]["key"] == f"count.0/{run_name}/2"
    assert lines[-1]["key"] == f"count.0/{run_name}/stop"


def test_each_run_is_counted_for_itself(run):
    lines = run(listener("count", events=EVENTS, runs=2), publisher("write", ["count"]))
    assert kinds(lines) == ["Start", "Stop", "Start", "Stop"]
    assert len({line["run"] for line in lines}) == 2
    assert [line["data"]["totals"]["sent"] for line in lines if line["type"] == "Stop"] == [
        EVENTS,
        EVENTS,
    ]


def test_a_run_without_a_stop_gets_one_that_says_why(run):
    lines = run(listener("count", events=EVENTS, runs=2, stop=False), publisher("w", ["count"]))
    assert kinds(lines) == ["Start", "Stop", "Start", "Stop"]
    stops = [line["data"] for line in lines if line["type"] == "Stop"]
    assert [stop["reason"] for stop in stops] == [
        "another Start came before the Stop",
        "the source ended in mid-run",
    ]
    assert not any(stop["totals"]["complete"] for stop in stops)


def test_events_without_a_start_need_no_stop(run):
    lines = run(
        listener("count", events=EVENTS, start=False, stop=False), publisher("w", ["count"])
    )
    assert kinds(lines) == []
    assert indices(lines) == list(range(EVENTS))


def test_filtered_messages_are_counted(run):
    lines = run(
        LISTENED, operator("keep", "Filter", ["count"], modulus=3), publisher("write", ["keep"])
    )
    assert indices(lines) == list(range(0, EVENTS, 3))
    assert totals(lines)["filtered"] == EVENTS - EVENTS // 3
    assert totals(lines)["complete"]


@pytest.mark.parametrize("way", ["yield", "publish", "list"])
def test_parts_of_a_message_are_told_apart(run, way):
    lines = run(
        LISTENED, operator("split", "Split", ["count"], parts=3, way=way), publisher("w", ["split"])
    )
    events = [line for line in lines if line["type"] == "Event"]
    assert [(e["metadata"]["index"], e["metadata"]["part"]) for e in events] == [
        (index, part) for index in range(EVENTS) for part in range(3)
    ]
    assert [e["fragment"] for e in events[:3]] == [[[0, 3]], [[1, 3]], [[2, 3]]]
    assert len({e["key"] for e in events}) == 3 * EVENTS


def test_both_ways_of_a_diamond_are_delivered(run):
    lines = run(
        LISTENED,
        operator("left", "Untouched", ["count"]),
        operator("right", "Untouched", ["count"]),
        publisher("write", ["left", "right"]),
    )
    assert kinds(lines) == ["Start", "Stop"]
    assert sorted(indices(lines)) == sorted([*range(EVENTS)] * 2)
    assert len({line["key"] for line in lines if line["type"] == "Event"}) == 2 * EVENTS
    assert {line["path"] for line in lines if line["type"] == "Event"} == {0, 1}


@pytest.mark.parametrize(("kind", "data"), [("Replace", True), ("Swallow", None)])
def test_start_and_stop_go_on_once_whatever_an_operator_returns(run, kind, data):
    lines = run(LISTENED, operator("work", kind, ["count"]), publisher("write", ["work"]))
    assert kinds(lines) == ["Start", "Stop"]
    assert lines[0]["data"].get("replaced") == lines[-1]["data"].get("replaced") == data
    assert indices(lines) == list(range(EVENTS))


@pytest.mark.parametrize(
    ("policy", "counted", "code"), [("quarantine", "quarantined", 65), ("skip", "skipped", 0)]
)
def test_a_message_that_raises_is_given_up_and_counted(run, policy, counted, code):
    keys = f'on_error = "{policy}"'
    work = operator("work", "Fussy", ["count"], keys=keys)
    lines = run(LISTENED, work, publisher("write", ["work"]), code=code)
    assert indices(lines) == [index for index in range(EVENTS) if index % 10 != 3]
    assert totals(lines)[counted] == EVENTS // 10


def test_a_message_that_raises_is_tried_again(run):
    keys = 'on_error = "retry:2"'
    work = operator("work", "Fussy", ["count"], keys=keys, times=2)
    lines = run(LISTENED, work, publisher("write", ["work"]))
    assert indices(lines) == list(range(EVENTS))
    assert totals(lines)["skipped"] == 0


def test_payloads_are_read_only_and_belong_to_their_message(run):
    lines = run(
        listener("count", events=EVENTS, size_bytes=20_000, buffer="same"),
        publisher("write", ["count"]),
    )
    events = [line for line in lines if line["type"] == "Event"]
    assert all(event["readonly"] for event in events)
    assert all(event["crc"] == event["metadata"]["crc"] for event in events)


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        ("Gather", [list(range(first, first + 5)) for first in range(0, EVENTS, 5)]),
        ("GatherPairs", [[index, index + 1] for index in range(EVENTS - 1)]),
        ("GatherAll", [list(range(EVENTS))]),
    ],
)
def test_a_fold_is_a_source_of_its_own(run, kind, outputs):
    lines = run(LISTENED, operator("fold", kind, ["count"]), publisher("write", ["fold"]))
    events = [line for line in lines if line["type"] == "Event"]
    assert [event["metadata"]["indices"] for event in events] == outputs
    (name,) = {line["run"] for line in lines}
    assert {line["source"] for line in lines} == {"fold.0"}
    assert [line["sequence"] for line in lines] == [-1, *range(len(outputs)), -1]
    assert events[-1]["key"] == f"fold.0/{name}/{len(outputs) - 1}"


def test_the_stop_of_a_fold_counts_its_outputs_and_tells_of_its_inputs(run):
    lines = run(
        LISTENED,
        operator("work", "Fussy", ["count"], keys='on_error = "skip"'),
        operator("fold", "Gather", ["work"]),
        operator("keep", "Filter", ["fold"], modulus=2),
        publisher("write", ["keep"]),
    )
    skipped = EVENTS // 10
    folded = -(-(EVENTS - skipped) // 5)
    above = totals_of(EVENTS, skipped=skipped, dropped=0)
    filtered = folded - len(indices(lines))
    below = totals_of(folded, filtered=filtered, dropped=0, inputs=above)
    assert lines[-1]["data"] == {"run": 0, "totals": below}
    assert 0 < len(indices(lines)) < folded


def test_what_a_fold_holds_at_the_end_is_given_out_without_a_start(run):
    listened = listener("count", events=EVENTS - 1, start=False, stop=False)
    lines = run(listened, operator("fold", "Gather", ["count"]), publisher("write", ["fold"]))
    assert kinds(lines) == []
    assert lines[-1]["metadata"]["indices"] == list(range(EVENTS - 5, EVENTS - 1))
    assert [line["sequence"] for line in lines] == list(range(EVENTS // 5))


def test_a_sum_over_a_run_without_a_start_is_given_out_at_its_end(run):
    listened = listener("count", events=EVENTS, start=False, stop=False)
    lines = run(listened, operator("fold", "GatherAll", ["count"]), publisher("write", ["fold"]))
    assert [line["metadata"]["indices"] for line in lines] == [list(range(EVENTS))]


@pytest.mark.logs_errors("holds 3 inputs of one run")
@pytest.mark.parametrize("kind", ["Hoarder", "HoarderThatTells"])
def test_more_inputs_than_a_fold_says_that_it_holds_are_an_error_of_its_class(start, kind):
    fold = operator("fold", kind, ["count"])
    chain, program = start(LISTENED, fold, publisher("write", ["fold"]))
    words = f"own_stages:{kind} holds 3 inputs of one run that no output covers, but its max_inputs"
    wait_until(lambda: words in chain.text(), chain.text)
    assert indices(chain.lines()) == []
    program.stop_now()  # killed, it would leave a source that waits for the fold


def test_a_run_that_its_listener_leaves_open_ends_below_a_fold_with_the_reason(run):
    listened = listener("count", events=EVENTS, stop=False)
    lines = run(listened, operator("fold", "Gather", ["count"]), publisher("write", ["fold"]))
    assert lines[-1]["data"]["reason"] == "the source ended in mid-run"
    assert not totals(lines)["complete"]
    assert not totals(lines)["inputs"]["complete"]


@pytest.mark.parametrize("kind", ["FlushedWrite", "AsyncFlushedWrite", "BackgroundWrite"])
def test_async_and_flushed_stages_give_the_same(run, kind):
    lines = run(LISTENED, operator("work", "AsyncPass", ["count"]), publisher("w", ["work"], kind))
    assert indices(lines) == list(range(EVENTS))
    assert kinds(lines) == ["Start", "Stop"]


def test_a_late_publish_is_an_error_in_its_thread_and_gets_no_other_identity(start):
    chain, program = start(
        LISTENED, operator("work", "PublishLate", ["count"]), publisher("write", ["work"])
    )
    assert program.wait() == 0, chain.text()
    events = [line for line in chain.lines() if line["type"] == "Event"]
    assert [(each["metadata"]["index"], each["sequence"]) for each in events] == [
        (number, number) for number in range(EVENTS)
    ]
    refused = (chain.folder / "refused").read_text().splitlines()
    assert len(refused) == EVENTS
    assert "publish() outside process(), in thread 'late'; nothing was published" in refused[0]


# Lists


LISTED = (operator("work", "Lists", ["count"]), publisher("write", ["work"], "WriteLists"))


def test_lists_arrive_as_messages_between_start_and_stop(run):
    lines = run(LISTENED, *LISTED)
    assert [line["type"] for line in lines] == ["Start", *["Event"] * EVENTS, "Stop"]
    assert indices(lines) == list(range(EVENTS))
    events = lines[1:-1]
    assert [line["sequence"] for line in events] == list(range(EVENTS))
    assert max(event["metadata"]["length"] for event in events) > 1
    assert max(event["list"] for event in events) > 1
    assert lines[-1]["data"]["totals"] == totals_of(EVENTS, dropped=0)


def test_each_list_is_of_one_run(run):
    lines = run(listener("count", events=EVENTS, runs=2), *LISTED)
    assert kinds(lines) == ["Start", "Stop", "Start", "Stop"]
    assert indices(lines) == list(range(2 * EVENTS))


def test_results_of_a_list_may_be_none_one_or_several(run):
    lines = run(LISTENED, operator("work", "MixedLists", ["count"]), publisher("write", ["work"]))
    events = [line for line in lines if line["type"] == "Event"]
    assert indices(lines) == sorted([*range(0, EVENTS, 2), *range(0, EVENTS, 4)])
    assert totals(lines)["filtered"] == EVENTS // 2
    assert {tuple(map(tuple, each["fragment"])) for each in events} == {
        (),
        ((0, 2),),
        ((1, 2),),
    }
    assert len({event["key"] for event in events}) == len(events)


@pytest.mark.parametrize(
    ("policy", "counted", "code"), [("quarantine", "quarantined", 65), ("skip", "skipped", 0)]
)
@pytest.mark.parametrize("where", ["operator", "publisher"])
def test_of_a_list_that_raises_only_the_message_to_blame_is_given_up(
    run, policy, counted, code, where
):
    keys = f'on_error = "{policy}"'
    stages = (
        (operator("work", "FussyLists", ["count"], keys=keys), publisher("write", ["work"]))
        if where == "operator"
        else (publisher("write", ["count"], "FussyWrite", keys=keys),)
    )
    lines = run(LISTENED, *stages, code=code)
    assert indices(lines) == [index for index in range(EVENTS) if index % 10 != 3]
    events = [line for line in lines if line["type"] == "Event"]
    # What the first call has changed in place does not go into the second one.
    assert {event["metadata"].get("calls", 1) for event in events} == {1}
    if where == "operator":
        assert totals(lines)[counted] == EVENTS // 10


def test_a_wrong_number_of_results_costs_no_message_that_has_one_alone(start):
    chain, program = start(
        LISTENED, operator("work", "ShortLists", ["count"]), publisher("write", ["work"])
    )
    assert program.wait() == 0, chain.text()
    assert indices(chain.lines()) == list(range(EVENTS))
    assert "process_batch() got" in chain.text()


def test_async_lists_and_flushed_ones_give_the_same(run):
    lines = run(
        LISTENED,
        operator("work", "AsyncLists", ["count"]),
        publisher("write", ["work"], "FlushedLists"),
    )
    assert indices(lines) == list(range(EVENTS))
    assert [line["data"].get("replaced") for line in (lines[0], lines[-1])] == [True, True]


def test_a_fold_may_take_lists(run):
    lines = run(LISTENED, operator("fold", "GatherLists", ["count"]), publisher("w", ["fold"]))
    events = [line for line in lines if line["type"] == "Event"]
    assert [event["metadata"]["indices"] for event in events] == [
        list(range(first, first + 5)) for first in range(0, EVENTS, 5)
    ]


def test_payloads_of_a_list_that_are_kept_stay_what_they_are(run):
    lines = run(
        listener("count", events=EVENTS, size_bytes=20_000),
        operator("work", "KeepLists", ["count"]),
        publisher("write", ["work"]),
    )
    assert all(line["crc"] == line["metadata"]["crc"] for line in lines[1:-1])
    assert lines[-1]["data"]["kept"] == EVENTS
    assert lines[-1]["data"]["right"]


def test_a_result_may_have_the_payload_of_another_message_of_its_list(run):
    lines = run(
        # The window is small, so slabs are used again soon.
        listener("count", events=20 * EVENTS, size_bytes=20_000, keys="window = 64"),
        operator("work", "SwapPayloads", ["count"]),
        publisher("write", ["work"], keys="replicas = 2", every_s=0.001),
    )
    events = [line for line in lines if line["type"] == "Event"]
    assert len(events) > EVENTS
    assert all(event["crc"] == event["metadata"]["crc"] for event in events)
    stops = [line["data"]["totals"] for line in lines if line["type"] == "Stop"]
    assert all(stop["complete"] for stop in stops)


@pytest.mark.logs_errors("nobody can tell of which one this is a result")
def test_publish_in_a_list_is_a_mistake_of_the_class(start):
    chain, program = start(
        LISTENED, operator("work", "PublishInLists", ["count"]), publisher("write", ["work"])
    )
    words = "publish() within process_batch(), which has many messages in hand"
    wait_until(lambda: words in chain.text(), chain.text)
    assert indices(chain.lines()) == []
    program.stop_now()
