from live_snapshots import histogram, snapshot, view_after
from msgspec.structs import force_setattr
from supervised_histories import LINE, make_chain

from arroyo.config.graph import Input
from arroyo.dashboard.page_view import page_of
from arroyo.supervision.live.chain_view import ChainWatch

SLOW = {"images": {"blocked_s": 0.7}, "integrate": {"busy_s": 0.98}}


def page(chain=None, **rows):
    return page_of(view_after(chain or make_chain(LINE), **rows))


def box(shown, name):
    (found,) = [stage for stage in shown.stages if stage.name == name]
    return found


def values(figures):
    return {name: value for name, value, _ in figures}


def marks(figures):
    return {name: mark for name, _, mark in figures if mark not in ("", "weak")}


def test_the_slow_stage_is_named_in_words_and_at_its_box():
    shown = page(**SLOW)
    assert shown.blames
    assert shown.verdict.startswith("integrate holds the chain up: busy 98 %")
    assert [stage.is_bottleneck for stage in shown.stages] == [False, True, False]
    assert values(box(shown, "integrate").figures)["busy"] == "98 %"
    assert marks(box(shown, "integrate").figures) == {"busy": "busy"}
    assert marks(box(shown, "images").figures) == {"blocked": "warn"}


def test_a_chain_that_is_well_says_so():
    shown = page()
    assert (shown.runs, shown.blames) == (True, False)
    assert shown.verdict == "no stage holds the chain up"
    assert shown.head == "chain chain: READY (supervisor 17)"


def test_a_chain_that_does_not_run_says_so_and_blames_nobody():
    shown = page(state="STOPPED")
    assert (shown.runs, shown.verdict) == (False, "")
    assert shown.head == "chain chain: not running; waiting for it"
    assert {stage.state for stage in shown.stages} == {"STOPPED"}


def test_every_link_leads_to_the_right():
    links = {"images": (), "motors": (), "mask": ("images",), "join": ("motors", "mask")}
    shown = page(make_chain(links | {"file": ("join",), "raw": ("images",)}))
    columns = {stage.name: stage.column for stage in shown.stages}
    assert columns == {"images": 0, "motors": 0, "mask": 1, "raw": 1, "join": 2, "file": 3}


def test_a_link_tells_what_comes_by_it_and_of_which_kind_it_is():
    chain = make_chain(LINE)
    force_setattr(chain.stages["patterns"], "inputs", (Input("integrate", "pub-sub"),))
    shown = page(chain, patterns={"inputs": {"integrate": 250}})
    (link,) = box(shown, "patterns").links
    assert (link.above, link.link, link.rate) == ("integrate", "pub-sub", "250/s")
    assert box(shown, "images").links == ()


def test_what_is_in_flight_is_shown_against_its_bound():
    chain = make_chain(LINE, images={"window": 200})
    shown = page(chain, images={"in_flight": 150}, integrate={"in_flight": 3})
    assert box(shown, "images").fill == 0.75
    assert values(box(shown, "images").figures)["in flight"] == "150/200"
    assert box(shown, "integrate").fill is None
    assert values(box(shown, "integrate").figures)["in flight"] == "3"


def test_a_window_that_is_full_is_marked():
    shown = page(make_chain(LINE, images={"window": 5}), images={"in_flight": 5})
    assert marks(box(shown, "images").figures) == {"in flight": "busy"}


def test_shares_that_are_not_known_are_left_out():
    shown = page(**SLOW)
    assert box(shown, "images").shares == (("blocked", 0.7),)
    assert [name for name, _ in box(shown, "integrate").shares] == ["busy", "idle", "blocked"]


def test_each_replica_has_its_line():
    chain = make_chain(LINE, integrate={"replicas": 2})
    down = {"state": "BACKOFF", "pid": None, "incarnation": None, "restarts": 4}
    running = {"pid": 4712, "cpu_s": 0.25}
    first, second = box(page(chain, integrate_0=running, integrate_1=down), "integrate").replicas
    assert (first.name, first.state, first.mark) == ("integrate.0", "READY", "good")
    assert {"pid": "4712", "CPU": "25 %", "RSS": "1 MiB"}.items() <= values(first.figures).items()
    assert (second.name, second.state, second.mark) == ("integrate.1", "BACKOFF", "bad")
    assert values(second.figures)["restarts"] == "4"
    assert "pid" not in values(second.figures)


def test_what_should_not_happen_is_shown_where_it_has():
    shown = page(integrate={"quarantined": 2, "lost": 1, "errors": 2}, quarantined=2)
    assert marks(shown.totals) == {"errors": "warn", "quarantined": "warn", "lost": "bad"}
    assert not marks(box(shown, "images").figures)
    assert shown.in_quarantine == 2
    assert shown.notes == ("2 messages in quarantine; see: arroyo quarantine list chain",)


def test_totals_are_of_what_came_in_and_of_what_went_out():
    rows = {"images": {"received": 1200}, "integrate": {"received": 9, "sent": 9}}
    shown = page(**rows, patterns={"sent": 1000})
    totals = values(shown.totals)
    assert (totals["received"], totals["published"]) == ("1.2k", "1k")
    assert (totals["in/s"], totals["out/s"]) == ("1.2k", "1k")


def test_latencies_are_shown_once_there_are_any():
    chain = make_chain(LINE)
    watch = ChainWatch(chain)
    watch.add(snapshot(chain, 1.0))
    seen = {"patterns.0": histogram(0.002, 0.002)}
    shown = page_of(watch.add(snapshot(chain, 2.0, latencies=seen)))
    assert values(box(shown, "patterns").figures)["p99"].endswith(" ms")
    assert "p99" not in values(box(shown, "integrate").figures)


def test_it_is_told_whether_the_chain_can_be_changed_from_the_page():
    view = view_after(make_chain(LINE))
    assert [page_of(view).takes_orders, page_of(view, takes_orders=True).takes_orders] == [
        *(False, True)
    ]
