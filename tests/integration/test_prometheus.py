"""deploy/prometheus and deploy/grafana with a real Prometheus, on the metrics of a real chain."""

import json
import re
import subprocess

import pytest
from chains import listener, operator, publisher, wait_until
from outside import free_port
from prometheus_server import DEPLOY, RULES, promtool, start_prometheus

from arroyo.metrics.descriptions import METRICS

__all__ = ["promtool", "start_prometheus"]

DASHBOARD = json.loads((DEPLOY / "grafana" / "arroyo.json").read_text("utf-8"))
HELD_UP_BY_WORK = (
    listener("count", keys="window = 200", size_bytes=100),
    operator("work", "Pass", ["count"], every_s=0.005),
    publisher("write", ["work"]),
)
VARIABLES = {"$chain": ".*", "$stage": ".*", "$__rate_interval": "5s", "$__range": "1m"}


def queries(dashboard):
    """The expressions of all panels, with the variables as Grafana would put them in."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            yield expression


def expressions_of_rules():
    """The texts in which the rules name metrics."""
    return [RULES.read_text("utf-8")]


def run(program, *arguments):
    ended = subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "source", [queries(DASHBOARD), expressions_of_rules()], ids=["dashboard", "alert rules"]
)
def test_each_metric_that_is_asked_for_is_described(source):
    known = {each.shown_name for each in METRICS if each.kind != "histogram"}
    known |= {f"{each.name}_bucket" for each in METRICS if each.kind == "histogram"}
    asked = set(re.findall(r"\barroyo_\w+", " ".join(source)))
    assert asked
    assert asked <= known


def test_the_configuration_and_its_rules_are_valid(promtool):
    run(promtool, "check", "config", DEPLOY / "prometheus" / "prometheus.yml")
    run(promtool, "check", "rules", RULES)


S = 'chain="c",stage="s",replica="0"'
READY = f"arroyo_stage_ready{{{S}}}"
WANTED = f"arroyo_stage_wanted{{{S}}}"
LISTENS = {'arroyo_stage_info{chain="c",stage="s",role="listener"}': "1x60", READY: "1x60"}
LINK = 'arroyo_link_info{chain="c",above="a",stage="s",link="push-pull"}'


def phase(stage, phase):
    return (
        f'arroyo_stage_phase_seconds_total{{chain="c",stage="{stage}",replica="0",phase="{phase}"}}'
    )


ALERTS = {
    "ArroyoMetricsMissing": {'up{job="arroyo",instance="i"}': "0x60"},
    "ArroyoChainDown": {'arroyo_up{chain="c"}': "0x60"},
    "ArroyoStageFailed": {
        f'arroyo_stage_state{{{S},state="FAILED"}}': "1x60",
        READY: "0x60",
        'arroyo_up{chain="c"}': "1x60",
    },
    "ArroyoStageNotReady": {READY: "0x60", WANTED: "1x60", 'arroyo_up{chain="c"}': "1x60"},
    "ArroyoEventsLost": {f"arroyo_stage_lost_events_total{{{S}}}": "0x25 3x35"},
    "ArroyoQuarantineGrows": {'arroyo_quarantine_messages{chain="c"}': "0+1x60"},
    "ArroyoQuarantineNearlyFull": {'arroyo_quarantine_used_ratio{chain="c"}': "0.95x60"},
    "ArroyoHeldUp": {
        LINK: "1x60",
        phase("s", "busy"): "0+50x60",
        phase("a", "blocked"): "0+30x60",
        phase("a", "busy"): "0+30x60",
    },
    "ArroyoNoEvents": {
        **LISTENS,
        f"arroyo_stage_received_events_total{{{S}}}": "7x60",
    },
    "ArroyoWaitsOutside": {f"arroyo_stage_waiting_seconds{{{S}}}": "0+60x60"},
    "ArroyoRestarts": {f"arroyo_stage_restarts_total{{{S}}}": "0+1x60"},
}
"""What happens, one value a minute, that has an alert fire after half an hour, and no other."""

QUIET = {
    "a stage that was stopped by command": {
        READY: "0x60",
        WANTED: "0x60",
        'arroyo_up{chain="c"}': "1x60",
    },
    "a chain that works": {
        **LISTENS,
        'up{job="arroyo",instance="i"}': "1x60",
        'arroyo_up{chain="c"}': "1x60",
        f'arroyo_stage_state{{{S},state="FAILED"}}': "0x60",
        f"arroyo_stage_received_events_total{{{S}}}": "0+1x60",
        f"arroyo_stage_lost_events_total{{{S}}}": "3x60",
        f"arroyo_stage_restarts_total{{{S}}}": "2x60",
        f"arroyo_stage_waiting_seconds{{{S}}}": "0x60",
        'arroyo_quarantine_messages{chain="c"}': "3x60",
        'arroyo_quarantine_used_ratio{chain="c"}': "0.5x60",
    },
    "a source that is held up": {
        **LISTENS,
        f"arroyo_stage_received_events_total{{{S}}}": "7x60",
        phase("s", "blocked"): "0+59x60",
    },
    "a stage that is stopped with its chain": {READY: "0x60"},
    "a busy stage that holds nobody up": {
        LINK: "1x60",
        phase("s", "busy"): "0+50x60",
        phase("a", "blocked"): "0+1x60",
    },
    "a blocked stage behind a pub-sub link": {
        LINK.replace("push-pull", "pub-sub"): "1x60",
        phase("s", "busy"): "0+50x60",
        phase("a", "blocked"): "0+50x60",
    },
}


@pytest.mark.parametrize(
    ("series", "fires"),
    [(series, [name]) for name, series in ALERTS.items()]
    + [(series, []) for series in QUIET.values()],
    ids=[*ALERTS, *QUIET],
)
def test_each_alert_fires_for_what_it_is_about_and_for_nothing_else(
    promtool, tmp_path, series, fires
):
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in fires]
    asked = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": "30m",
        "exp_samples": expected,
    }
    given = [{"series": name, "values": values} for name, values in series.items()]
    test = {"interval": "1m", "input_series": given, "promql_expr_test": [asked]}
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "tests": [test]}))
    run(promtool, "test", "rules", file)


def test_each_alert_has_a_test_and_says_what_to_do():
    names = re.findall(r"- alert: (\w+)", RULES.read_text("utf-8"))
    assert names == list(ALERTS)
    text = RULES.read_text("utf-8")
    assert text.count("summary:") == text.count("description:") == len(names)
    assert text.count("severity: ") == len(names)


def test_a_prometheus_scrapes_a_running_chain_and_answers_the_dashboard(
    make_chain, start_prometheus
):
    address = f"127.0.0.1:{free_port()}"
    chain = make_chain(*HELD_UP_BY_WORK, keys=f'[supervisor]\nhttp = "{address}"')
    chain.supervise()
    prometheus = start_prometheus(address)
    moving = "count(rate(arroyo_stage_received_events_total[5s]) > 0)"
    wait_until(
        lambda: prometheus.query(moving) == [({}, 3)], lambda: str(prometheus.get("targets"))
    )
    known = prometheus.get("metadata")
    for each in METRICS:
        assert known[each.name][0]["help"] == each.help
    for expression in queries(DASHBOARD):
        assert prometheus.query(expression), f"{expression} has no data"
    wait_until(
        lambda: {rule["health"] for rule in rules_of(prometheus)} == {"ok"}, prometheus.log_text
    )
    (held_up,) = [each["query"] for each in rules_of(prometheus) if each["name"] == "ArroyoHeldUp"]
    now = held_up.replace("[5m]", "[2s]")
    wait_until(
        lambda: [labels["stage"] for labels, _ in prometheus.query(now)] == ["work"],
        lambda: str(prometheus.query(now)),
    )


def rules_of(prometheus):
    (group,) = prometheus.get("rules")["groups"]
    return group["rules"]
