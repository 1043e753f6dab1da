import pytest
from live_snapshots import histogram, snapshot, view_after
from supervised_histories import LINE, make_chain

from arroyo.supervision.live.chain_view import ChainWatch


def stages_of(view):
    return {stage.name: stage for stage in view.stages}


def received_per_s(view, name="integrate"):
    return stages_of(view)[name].figures.received_per_s


def test_the_first_view_tells_how_things_stand_and_no_rates():
    chain = make_chain(LINE)
    view = ChainWatch(chain).add(snapshot(chain, 7.0, integrate={"in_flight": 3, "received": 9}))
    assert (view.chain, view.state, view.supervisor) == ("chain", "READY", 17)
    integrate = stages_of(view)["integrate"]
    assert (integrate.state, integrate.figures.in_flight) == ("READY", 3)
    assert received_per_s(view) is None
    assert view.bottleneck is None


def test_figures_are_of_the_last_three_seconds():
    chain = make_chain(LINE)
    watch = ChainWatch(chain)
    counts = [0, 100, 200, 300, 300, 300, 300]
    views = [
        watch.add(snapshot(chain, 50.0 + second, integrate={"received": count}))
        for second, count in enumerate(counts)
    ]
    assert list(map(received_per_s, views)) == [
        *(None, 100, 100, 100),
        *(pytest.approx(200 / 3), pytest.approx(100 / 3), 0),
    ]


def test_looks_that_are_far_apart_are_compared_with_the_one_before():
    chain = make_chain(LINE)
    watch = ChainWatch(chain)
    for minute in range(3):
        view = watch.add(snapshot(chain, 60.0 * minute, integrate={"received": 600 * minute**2}))
    assert received_per_s(view) == 30


def test_a_process_that_was_replaced_counts_anew():
    chain = make_chain(LINE)
    watch = ChainWatch(chain)
    watch.add(snapshot(chain, 10.0, integrate={"received": 10_000}))
    again = {"received": 50, "incarnation": 2, "pid": 4712, "restarts": 1}
    view = watch.add(snapshot(chain, 11.0, integrate=again))
    assert received_per_s(view) == 50
    assert stages_of(view)["integrate"].figures.restarts == 1


def test_a_chain_that_stops_and_starts_again_keeps_its_minute():
    chain = make_chain(LINE)
    watch = ChainWatch(chain)
    for second in range(9):
        watch.add(snapshot(chain, float(second), integrate={"received": 100 * second}))
    for second in range(9, 15):
        view = watch.add(snapshot(chain, float(second), state="STOPPED"))
    assert not view.runs
    assert received_per_s(view) is None
    for second in range(15, 21):
        rows = {"integrate": {"received": 100 * (second - 14), "incarnation": 2}}
        view = watch.add(snapshot(chain, float(second), **rows))
    minute = stages_of(view)["integrate"].minute
    assert minute[-7:-2] == (100, 100, 100, None, None)
    assert 0 < minute[-2] < minute[-1] == 100


def test_stages_stand_as_the_graph_is_drawn():
    links = {"images": (), "motors": (), "fit": ("images", "motors"), "raw": ("images",)}
    chain = make_chain(links | {"file": ("fit",)})
    view = view_after(chain)
    assert [(stage.name, stage.depth) for stage in view.stages] == [
        ("images", 0),
        ("fit", 1),
        ("file", 2),
        ("raw", 1),
        ("motors", 0),
    ]
    assert stages_of(view)["fit"].inputs == (("images", "push-pull"), ("motors", "push-pull"))


def test_a_stage_is_in_the_worst_state_of_its_replicas():
    chain = make_chain(LINE, integrate={"replicas": 3})
    rows = {"integrate_0": {"state": "STARTING"}, "integrate_2": {"state": "FAILED"}}
    stage = stages_of(view_after(chain, **rows))["integrate"]
    assert stage.state == "FAILED"
    assert [replica.state for replica in stage.replicas] == ["STARTING", "READY", "FAILED"]
    assert [replica.name for replica in stage.replicas] == [f"integrate.{n}" for n in range(3)]


def test_a_stage_with_a_replica_that_somebody_has_stopped_is_ready():
    chain = make_chain(LINE, integrate={"replicas": 2})
    view = view_after(chain, integrate_1={"state": "STOPPED", "pid": None, "incarnation": None})
    assert stages_of(view)["integrate"].state == "READY"


def test_only_a_listener_has_a_bound_for_what_is_in_flight():
    chain = make_chain(LINE, images={"replicas": 2, "window": 100})
    bounds = [stage.in_flight_max for stage in view_after(chain).stages]
    assert bounds == [200, None, None]


def test_the_latency_of_the_chain_is_that_of_its_publishers_in_the_interval():
    chain = make_chain(LINE)
    watch = ChainWatch(chain)
    old, new = [0.001] * 50, [1.0] * 3
    watch.add(snapshot(chain, 1.0, latencies={"patterns.0": histogram(*old)}))
    seen = {"patterns.0": histogram(*old, *new), "integrate.0": histogram(9.0)}
    view = watch.add(snapshot(chain, 2.0, latencies=seen))
    assert view.latency_p50_s == view.latency_p99_s == pytest.approx(1.0, rel=1 / 16)


def test_sentences_of_the_status_are_taken_over():
    down = {"state": "BACKOFF", "reason": "was killed", "next_try_s": 4.0}
    view = view_after(make_chain(LINE), integrate=down, quarantined=2)
    assert view.notes == (
        "integrate.0 was killed; next try in 4.0 s",
        "2 messages in quarantine; see: arroyo quarantine list chain",
    )
