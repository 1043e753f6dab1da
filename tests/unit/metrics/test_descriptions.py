import re

import pytest

from arroyo.metrics.descriptions import METRICS, REPLICA

BY_NAME = {each.name: each for each in METRICS}


def test_each_metric_is_described_once():
    assert len(BY_NAME) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_names_and_texts_are_as_prometheus_wants_them(metric):
    assert re.fullmatch(r"arroyo_[a-z_]+[a-z]", metric.name)
    assert not metric.name.endswith(("_total", "_info", "_count", "_sum", "_bucket"))
    assert metric.help.endswith(".")
    assert metric.labels[: len(REPLICA)] == REPLICA or not metric.name.startswith("arroyo_stage_")


@pytest.mark.parametrize(
    ("name", "shown", "unit"),
    [
        ("arroyo_build", "arroyo_build_info", ""),
        ("arroyo_up", "arroyo_up", ""),
        ("arroyo_stage_sent_bytes", "arroyo_stage_sent_bytes_total", "bytes"),
        ("arroyo_stage_latency_seconds", "arroyo_stage_latency_seconds", "seconds"),
    ],
)
def test_suffix_and_unit_follow_from_type_and_name(name, shown, unit):
    assert (BY_NAME[name].shown_name, BY_NAME[name].unit) == (shown, unit)
