from live_snapshots import view_after
from msgspec.structs import force_setattr
from supervised_histories import make_chain

from arroyo.config.graph import Input

LINE = {"images": (), "rebin": ("images",), "integrate": ("rebin",), "file": ("integrate",)}
BLOCKED = {"blocked_s": 0.71}
BUSY = {"busy_s": 0.98}


def bottleneck_of(links=LINE, replicas=None, subscribed=(), **rows):
    settings = {name: {"replicas": count} for name, count in (replicas or {}).items()}
    chain = make_chain(links, **settings)
    for name in subscribed:
        stage = chain.stages[name]
        inputs = tuple(Input(each.stage, "pub-sub") for each in stage.inputs)
        force_setattr(stage, "inputs", inputs)
    return view_after(chain, **rows).bottleneck


def words_of(*arguments, **rows):
    return bottleneck_of(*arguments, **rows).words


def test_the_busy_stage_below_a_blocked_one_is_named_with_what_waits_for_it():
    found = bottleneck_of(replicas={"integrate": 2}, rebin=BLOCKED, integrate=BUSY)
    assert found.stage == "integrate"
    assert found.words == (
        "integrate holds the chain up: 2 of 2 replicas busy 98 %; rebin waits 71 % of the time"
    )


def test_where_nobody_is_blocked_nothing_holds_the_chain_up():
    assert bottleneck_of(integrate=BUSY) is None
    assert bottleneck_of(rebin={"blocked_s": 0.05}, integrate=BUSY) is None


def test_a_jam_that_reaches_up_to_the_source_is_blamed_on_its_lower_end():
    found = bottleneck_of(images=BLOCKED, rebin={"blocked_s": 0.6, "busy_s": 0.4}, integrate=BUSY)
    assert found.stage == "integrate"


def test_a_stage_that_waits_now_and_then_itself_is_to_blame_all_the_same():
    rows = {"rebin": {"busy_s": 0.85, "blocked_s": 0.12}, "integrate": {"busy_s": 0.3}}
    assert bottleneck_of(images=BLOCKED, **rows).stage == "rebin"


def test_one_slow_replica_of_many_is_found():
    found = words_of(replicas={"integrate": 4}, rebin=BLOCKED, integrate_2=BUSY)
    assert "integrate holds the chain up: 1 of 4 replicas busy 98 %" in found


def test_one_jammed_replica_of_many_is_found():
    found = words_of(replicas={"rebin": 4}, rebin_3=BLOCKED, integrate=BUSY)
    assert found.endswith("rebin waits 71 % of the time")


def test_a_stage_that_is_away_is_to_blame_before_one_that_works():
    links = {"images": (), "one": ("images",), "two": ("images",)}
    away = {"state": "BACKOFF", "pid": None, "incarnation": None}
    assert words_of(links, images=BLOCKED, one=BUSY, two=away) == (
        "two holds the chain up: BACKOFF; images waits 71 % of the time"
    )


def test_of_several_replicas_it_is_told_how_many_are_away():
    away = {"state": "FAILED", "pid": None, "incarnation": None}
    found = words_of(replicas={"rebin": 3}, images=BLOCKED, rebin_1=away, rebin_2=away)
    assert found.startswith("rebin holds the chain up: 2 of 3 replicas FAILED;")


def test_replicas_that_somebody_has_stopped_are_not_to_blame():
    stopped = {"state": "STOPPED", "pid": None, "incarnation": None}
    rows = {"integrate_1": stopped, "integrate_2": stopped}
    found = words_of(replicas={"integrate": 4}, rebin=BLOCKED, integrate=BUSY, **rows)
    assert found.startswith("integrate holds the chain up: 2 of 2 replicas busy 98 %;")
    assert words_of(rebin=BLOCKED, integrate=stopped).startswith(
        "integrate holds the chain up: STOPPED;"
    )


def test_a_publisher_whose_broker_is_away_is_to_blame():
    waits = {"waiting_s": 12.0, "reason": "the broker can't be reached", "idle_s": 1.0}
    assert words_of(integrate=BLOCKED, file=waits) == (
        "file holds the chain up: waiting for the outside; integrate waits 71 % of the time"
    )


def test_a_listener_whose_window_is_full_may_wait_for_a_stage_far_below():
    assert words_of(images=BLOCKED, file=BUSY) == (
        "file holds the chain up: busy 98 %; images waits 71 % of the time"
    )


def test_an_operator_waits_for_the_stages_right_below_only():
    assert words_of(rebin=BLOCKED, file=BUSY) == (
        "rebin waits 71 % of the time, but no stage below is busy"
    )


def test_a_subscriber_holds_nobody_up():
    links = {"images": (), "work": ("images",), "live": ("images",)}
    found = bottleneck_of(
        links, subscribed=["live"], images=BLOCKED, work=BUSY, live={"busy_s": 1.0}
    )
    assert found.stage == "work"


def test_all_that_wait_for_it_are_named():
    links = {"one": (), "two": (), "three": (), "join": ("one", "two", "three")}
    rows = {"one": BLOCKED, "two": {"blocked_s": 0.5}, "three": {"blocked_s": 0.25}}
    assert words_of(links, join=BUSY, **rows).endswith(
        "one, two and three wait 71 %, 50 % and 25 % of the time"
    )


def test_it_is_told_where_no_stage_below_is_busy():
    found = bottleneck_of(images=BLOCKED, integrate={"busy_s": 0.2})
    assert found.stage is None
    assert found.words == "images waits 71 % of the time, but no stage below is busy"
