import json
import os

import pytest
from played_replica import by_hand
from played_supervisor import silent_supervisor
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from arroyo.config.run_directory import RunDirectory
from arroyo.errors import ConfigurationError, UnavailableError
from arroyo.identifiers import ReplicaName
from arroyo.metrics.exporter import Exporter
from arroyo.web.http_request import Request

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@pytest.fixture
def exporter(small_chain):
    return Exporter(small_chain, os.environ, fresh_s=-1.0)


@pytest.fixture
def images():
    """The chain's only replica, played by this process."""
    run_directory = RunDirectory.locate("small", os.environ)
    run_directory.create()
    with by_hand(run_directory, ReplicaName("images", 0)) as page:
        yield page


def get(exporter, path, accept=""):
    answer = exporter.answer(Request("GET", path, "localhost", accept))
    return answer.status, answer.content_type, answer.body.decode()


def values(exporter):
    _, _, text = get(exporter, "/metrics", OPENMETRICS)
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_metrics_come_in_the_format_that_is_asked_for(exporter):
    status, content_type, text = get(exporter, "/metrics", OPENMETRICS)
    assert (status, content_type.partition(";")[0]) == (200, "application/openmetrics-text")
    assert text.endswith("# EOF\n")
    status, content_type, text = get(exporter, "/metrics")
    assert (status, content_type.partition(";")[0]) == (200, "text/plain")
    assert "\n# TYPE arroyo_stage_restarts_total counter\n" in text


def test_a_chain_may_start_and_end_meanwhile(exporter, images):
    images.set("sent", 7)
    assert (values(exporter)["arroyo_up"], values(exporter)["arroyo_stage_ready"]) == (1, 1)
    images.set("magic", 0)  # as if the process had never been
    assert values(exporter)["arroyo_stage_sent_events_total"] == 7


def test_health_is_well_while_all_are_ready(exporter, images):
    status, content_type, text = get(exporter, "/health")
    assert (status, content_type) == (200, "application/json")
    assert json.loads(text) == {"chain": "small", "state": "READY", "not_ready": {}}
    images.set("ready_since_ns", 0)
    status, _, text = get(exporter, "/health")
    assert status == 503
    assert json.loads(text)["not_ready"] == {"images.0": "STARTING"}


def test_elsewhere_is_nothing(exporter):
    status, _, text = get(exporter, "/metrics/../etc/passwd")
    assert (status, text) == (404, "there are /metrics and /health\n")


def test_a_chain_is_not_well_whose_supervisor_gives_no_answer(exporter, images, small_chain):
    with silent_supervisor(small_chain, os.environ):
        status, _, text = get(exporter, "/health")
    assert (status, json.loads(text)["not_ready"]) == (503, {"supervisor": "no answer"})


def test_a_chain_that_can_not_be_seen_is_told_in_a_sentence(exporter, monkeypatch):
    def read():
        raise UnavailableError("the disk is full")

    monkeypatch.setattr(exporter._reader, "read", read)
    status, _, text = get(exporter, "/metrics")
    assert (status, text) == (503, "the disk is full\n")


def test_a_chain_file_that_has_changed_is_read_again_unless_it_has_mistakes(exporter, small_chain):
    text = small_chain.read_text()
    small_chain.write_text(text + "replicas = 2\n")
    assert get(exporter, "/metrics")[2].count("arroyo_stage_ready{") == 2
    small_chain.write_text(text + "replicas = 3\nnonsense = 1\n")
    assert get(exporter, "/metrics")[2].count("arroyo_stage_ready{") == 2
    small_chain.unlink()
    assert get(exporter, "/metrics")[2].count("arroyo_stage_ready{") == 2


def test_a_chain_file_with_mistakes_can_not_be_served(small_chain):
    small_chain.write_text(small_chain.read_text() + "nonsense = 1\n")
    with pytest.raises(ConfigurationError, match="nonsense"):
        Exporter(small_chain, os.environ)


def test_a_chain_is_not_looked_at_for_each_of_many_who_ask_at_once(small_chain, images):
    images.set("sent", 7)
    exporter = Exporter(small_chain, os.environ, fresh_s=3600.0)
    images.set("sent", 8)
    assert values(exporter)["arroyo_stage_sent_events_total"] == 7
