import msgspec
import pytest
from msgspec.structs import replace
from supervised_histories import LINE, make_chain

from arroyo.config.graph import Chain, Hook, Input, Ready, Stage, Supervision
from arroyo.config.reader import load_chain
from arroyo.supervision.decisions.reload_plan import (
    CHAIN_KEYS,
    STAGE_KEYS,
    SUPERVISOR_KEYS,
    Change,
    Effect,
    ReloadPlan,
    plan_reload,
)

CHAIN = make_chain(LINE)


def plan(**changes):
    """The plan for a chain of which the stage `integrate` has other values."""
    stage = replace(CHAIN.stages["integrate"], **changes)
    return plan_reload(CHAIN, replace(CHAIN, stages={**CHAIN.stages, "integrate": stage}))


def test_nothing_is_to_be_done_where_nothing_differs():
    assert plan_reload(CHAIN, make_chain(LINE)) == ReloadPlan()


def test_how_a_file_is_written_is_no_difference(tmp_path):
    path = tmp_path / "chain.toml"
    stages = '[stages.a]\nlistener = "own:A"\n{}[stages.b]\npublisher = "own:B"\ninputs = {}\n'
    path.write_text('[chain]\nname = "c"\n' + stages.format("", '["a"]'))
    before = load_chain(path)
    more = stages.format('nice = 0 # a comment\nwindow_bytes = "256 MiB"\n', '[{ stage = "a" }]')
    path.write_text('[supervisor]\nwithin_s = "1 min"\n[chain]\nname = "c"\n' + more)
    after = load_chain(path)
    assert before.text != after.text
    assert plan_reload(before, after) == ReloadPlan()


@pytest.mark.parametrize(
    ("kind", "effects", "elsewhere"),
    [
        (Stage, STAGE_KEYS, set()),
        (Supervision, SUPERVISOR_KEYS, set()),
        (Chain, CHAIN_KEYS, {"folder", "path", "text", "stages", "supervision"}),
    ],
)
def test_of_every_key_it_is_known_what_a_change_needs(kind, effects, elsewhere):
    fields = {field.name for field in msgspec.structs.fields(kind)}
    assert effects.keys() == fields - elsewhere


@pytest.mark.parametrize(
    ("field", "value", "key"),
    [
        ("restart", "always", "restart"),
        ("backoff_s", 2.0, "backoff_s"),
        ("process_timeout_s", 0.0, "process_timeout_s"),
        ("start_timeout_s", 5.0, "start_timeout_s"),
        ("memory_max_bytes", 1 << 30, "memory_max_bytes"),
    ],
)
def test_what_the_supervisor_alone_reads_is_changed_live(field, value, key):
    assert plan(**{field: value}) == ReloadPlan((Change(f"stages.integrate.{key}", Effect.LIVE),))


@pytest.mark.parametrize(
    ("field", "value", "key"),
    [
        ("target", "own:Other", "operator"),
        ("command", ("serval",), "command"),
        ("ready", Ready(port=8081), "ready"),
        ("options", {"factor": 2}, "options.factor"),
        ("on_error", "skip", "on_error"),
        ("retries", 3, "on_error"),
        ("cpus", (0, 1), "cpus"),
        ("nice", 5, "nice"),
        ("open_files", 4096, "open_files"),
        ("env", {"DARK": "dark.tif"}, "env.DARK"),
        ("window", 10, "window"),
        ("when_full", "drop-newest", "when_full"),
    ],
)
def test_what_its_processes_read_restarts_the_stage(field, value, key):
    change = Change(f"stages.integrate.{key}", Effect.RESTART)
    assert plan(**{field: value}) == ReloadPlan((change,), ("integrate",))


@pytest.mark.parametrize(
    ("field", "value", "key"),
    [
        ("role", "publisher", "role"),
        ("inputs", (Input("images", "pub-sub"),), "inputs"),
        ("replicas", 2, "replicas"),
        ("order", "source", "order"),
        ("dispatch_key", "group", "dispatch"),
        ("listen", "tcp://127.0.0.1:5000", "listen"),
        ("window_bytes", 1, "window_bytes"),
        ("delivery", "best-effort", "delivery"),
    ],
)
def test_what_others_go_by_needs_the_whole_chain_anew(field, value, key):
    found = plan(**{field: value})
    assert found == ReloadPlan((Change(f"stages.integrate.{key}", Effect.ANEW),))
    assert found.keys(Effect.ANEW) == (f"stages.integrate.{key}",)


def test_a_stage_more_or_less_needs_the_chain_anew():
    more = make_chain({**LINE, "live": ("integrate",)})
    change = Change("stages.live", Effect.ANEW)
    assert plan_reload(CHAIN, more).changes == (change,)
    assert plan_reload(more, CHAIN).changes == (change,)


def test_the_environment_of_all_restarts_all_sinks_first():
    found = plan_reload(CHAIN, replace(CHAIN, env={"DARK": "dark.tif"}))
    assert found.keys(Effect.RESTART) == ("chain.env.DARK",)
    assert found.restarts == ("patterns", "integrate", "images")


@pytest.mark.parametrize(
    ("supervision", "effect", "key"),
    [
        (Supervision(max_restarts=1), Effect.LIVE, "max_restarts"),
        (Supervision(on_event=Hook(("page",))), Effect.LIVE, "on_event"),
        (Supervision(http="127.0.0.1:9464"), Effect.ANEW, "http"),
    ],
)
def test_limits_of_the_chain_change_live_but_for_its_address(supervision, effect, key):
    found = plan_reload(CHAIN, replace(CHAIN, supervision=supervision))
    assert found == ReloadPlan((Change(f"supervisor.{key}", effect),))


def test_a_message_type_more_needs_the_chain_anew():
    found = plan_reload(CHAIN, replace(CHAIN, messages=("own:Reading",)))
    assert found == ReloadPlan((Change("chain.messages", Effect.ANEW),))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": 1}, {"a": 1.0}),
        ({"a": True}, {"a": 1}),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2.0}]}),
    ],
)
def test_the_same_value_of_another_type_is_another_option(before, after):
    one = make_chain(LINE, integrate={"options": before})
    other = make_chain(LINE, integrate={"options": after})
    assert plan_reload(one, other).keys(Effect.RESTART) == ("stages.integrate.options.a",)


def test_an_option_that_is_left_out_is_named():
    one = make_chain(LINE, integrate={"options": {"a": None, "b": 2}})
    other = make_chain(LINE, integrate={"options": {"b": 2}})
    assert plan_reload(one, other).keys(Effect.RESTART) == ("stages.integrate.options.a",)
