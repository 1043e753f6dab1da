import pytest
from live_snapshots import histogram, snapshot, view_after
from msgspec.structs import force_setattr
from supervised_histories import LINE, make_chain

from arroyo.config.graph import Input
from arroyo.supervision.live.chain_view import ChainWatch
from arroyo.supervision.live.table import as_text, head_of, lay_out, links_of, verdict_of

ROWS = {
    "images": {"received": 1200, "sent": 1200, "bytes_in": 96 * 2**20, "blocked_s": 0.71},
    "integrate": {"received": 600, "sent": 600, "busy_s": 0.98, "idle_s": 0.02, "cpu_s": 0.97},
    "patterns": {"received": 1200, "busy_s": 0.01, "idle_s": 0.99},
}


@pytest.fixture
def chain():
    return make_chain(LINE, integrate={"replicas": 2})


def cells_of(view, width=None, **options):
    """Cells by the name of the row and the title of the column."""
    table = lay_out(view, width, **options)
    titles = table.titles.split("  ")
    titles = [title.strip() for title in titles if title.strip()]
    return {
        row.cells[0].text.strip(): dict(
            zip(titles, (cell.text.strip() for cell in row.cells), strict=True)
        )
        for row in table.rows
    }


def test_each_stage_has_a_row_and_each_of_its_replicas(chain):
    cells = cells_of(view_after(chain, **ROWS))
    assert list(cells) == ["images", "> integrate x2 <", ".0", ".1", "> patterns"]
    assert cells["images"] | {"last minute": ""} == {
        **{"name": "images", "state": "READY", "in/s": "1.2k", "out/s": "1.2k", "MiB/s": "96"},
        **{"busy": "-", "idle": "-", "blocked": "71 %", "p50": "-", "p99": "-"},
        **{"in flight": "0/65.5k", "CPU": "0 %", "RSS": "1 MiB", "last minute": ""},
    }
    assert cells["> integrate x2 <"]["in/s"] == "1.2k"
    assert (cells[".0"]["in/s"], cells[".0"]["busy"], cells[".1"]["CPU"]) == ("600", "98 %", "97 %")


def test_the_rows_know_which_stage_and_replica_they_are_of(chain):
    rows = lay_out(view_after(chain, **ROWS), None).rows
    assert [(row.stage, row.replica) for row in rows] == [
        ("images", None),
        ("integrate", None),
        ("integrate", "integrate.0"),
        ("integrate", "integrate.1"),
        ("patterns", None),
    ]


def test_counts_of_mishaps_are_shown_where_there_were_any(chain):
    mishaps = {"errors": 3, "quarantined": 2, "lost": 1, "restarts": 4, "dropped": 5, "rejected": 6}
    assert not set(mishaps) & set(cells_of(view_after(chain))["images"])
    cells = cells_of(view_after(chain, integrate_1=mishaps))
    assert {title: cells[".1"][title] for title in mishaps} == {
        title: str(count) for title, count in mishaps.items()
    }
    assert cells["> patterns"]["lost"] == "0"


@pytest.mark.parametrize(
    ("width", "least"),
    [
        (40, {"in/s"}),
        (80, {"in/s", "busy", "blocked", "p99", "in flight", "CPU"}),
        (100, {"in/s", "CPU", "last minute"}),
        (120, {"MiB/s", "out/s", "last minute"}),
        (200, {"idle", "last minute", "RSS"}),
    ],
)
def test_a_narrow_terminal_has_the_columns_that_matter_most(chain, width, least):
    view = view_after(chain, **ROWS)
    table = lay_out(view, width)
    assert all(len(row.text) <= width for row in table.rows)
    assert len(table.titles) <= width
    assert least <= set(cells_of(view, width)["images"])


def test_a_terminal_that_is_far_too_narrow_still_names_the_stages(chain):
    assert list(cells_of(view_after(chain), 5)["images"]) == ["name", "state"]


def test_columns_stay_where_they_are_whatever_the_figures(chain):
    first = lay_out(view_after(chain), 120).titles
    busy = {"received": 10**9, "bytes_in": 10**11, "busy_s": 1.0, "rss_bytes": 10**12}
    assert lay_out(view_after(chain, integrate=busy), 120).titles == first


def test_a_row_may_be_sorted_with_its_replicas_below_it(chain):
    view = view_after(chain, **ROWS)
    names = [row.cells[0].text.strip() for row in lay_out(view, None, sort="CPU").rows]
    assert names == ["> integrate x2 <", ".0", ".1", "images", "> patterns"]
    assert lay_out(view, None, sort="busy").rows[0].stage == "integrate"
    assert lay_out(view, None, sort="in/s").rows[0].stage == "images"


def test_what_is_not_known_is_sorted_last(chain):
    seen = {"patterns.0": histogram(0.5), "integrate.0": histogram(0.1)}
    watch = ChainWatch(chain)
    watch.add(snapshot(chain, 1.0))
    view = watch.add(snapshot(chain, 2.0, latencies=seen))
    stages = [row.stage for row in lay_out(view, None, sort="latency").rows if row.replica is None]
    assert stages == ["patterns", "integrate", "images"]


def test_marks_say_what_the_text_says_too(chain):
    view = view_after(chain, **ROWS, patterns_0={"state": "FAILED"})
    rows = {row.cells[0].text.strip(): row for row in lay_out(view, None).rows}
    assert rows["images"].cells[1].mark == "good"
    assert rows["> patterns <"].cells[1] == ("FAILED", "bad")
    marked = {cell.text.strip(): cell.mark for cell in rows[".0"].cells}
    assert marked["98 %"] == "busy"
    assert marked["-"] == "weak"


def test_a_subscriber_has_another_arrow():
    chain = make_chain({"images": (), "live": ("images",)})
    force_setattr(chain.stages["live"], "inputs", (Input("images", "pub-sub"),))
    assert list(cells_of(view_after(chain))) == ["images", "~ live"]


def test_a_deep_chain_is_not_wider_than_a_terminal():
    names = [f"stage{number}" for number in range(30)]
    links = {name: names[at : at + 1] for at, name in enumerate(names[1:])}
    view = view_after(make_chain({names[0]: ()} | links))
    assert max(len(row.text) for row in lay_out(view, 80).rows) <= 80


def test_the_text_has_all_in_order(chain):
    lines = as_text(view_after(chain, **ROWS, quarantined=1), None)
    assert lines[0] == "chain chain: READY (supervisor 17)"
    assert lines[1] == (
        "integrate holds the chain up: 2 of 2 replicas busy 98 %; images waits 71 % of the time"
    )
    assert lines[2].split()[:3] == ["name", "state", "in/s"]
    assert len(lines) == 3 + 5 + 1
    assert lines[-1] == "1 message in quarantine; see: arroyo quarantine list chain"


def test_long_sentences_are_wrapped_to_a_terminal(chain):
    lines = as_text(view_after(chain, **ROWS), 40)
    assert lines[1:3] == [
        "integrate holds the chain up: 2 of 2",
        "replicas busy 98 %; images waits 71 % of",
    ]
    assert max(map(len, lines)) <= 40


def test_where_nothing_holds_the_chain_up_that_is_said(chain):
    assert verdict_of(view_after(chain)) == "no stage holds the chain up"


def test_the_latency_of_the_chain_is_in_the_head(chain):
    watch = ChainWatch(chain)
    watch.add(snapshot(chain, 1.0))
    view = watch.add(snapshot(chain, 2.0, latencies={"patterns.0": histogram(0.005)}))
    assert head_of(view).endswith(", from source to publisher 4.98 ms, 99 % within 4.98 ms")


def test_a_chain_that_does_not_run_is_waited_for(chain):
    view = ChainWatch(chain).add(snapshot(chain, 1.0, state="STOPPED", quarantined=1))
    assert as_text(view, 80) == [
        "chain chain: not running; waiting for it",
        "1 message in quarantine; see: arroyo quarantine list chain",
    ]


def test_the_links_of_a_stage_are_told_with_their_rates():
    chain = make_chain({"images": (), "motors": (), "fit": ("images", "motors"), "live": ("fit",)})
    force_setattr(chain.stages["live"], "inputs", (Input("fit", "pub-sub"),))
    fit = {"received": 120, "inputs": {"images": 100, "motors": 20}}
    view = view_after(chain, fit=fit, live={"inputs": {"fit": 99}})
    assert links_of(view, "fit") == "links: images 100/s, motors 20/s -> fit -> live 99/s (pub-sub)"
    assert links_of(view, "motors") == "links: motors -> fit 20/s"


def test_before_the_second_look_the_links_have_no_rates(chain):
    view = ChainWatch(chain).add(snapshot(chain, 1.0))
    assert links_of(view, "integrate") == "links: images -> integrate -> patterns"


def test_only_some_stages_may_be_shown(chain):
    rows = lay_out(view_after(chain), None, only="tegr").rows
    assert {row.stage for row in rows} == {"integrate"}
    assert lay_out(view_after(chain), 80, only="no such stage").rows == ()
