import pytest
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from snapshots import make_snapshot
from supervised_histories import LINE, make_chain

from arroyo.metrics.collector import BUCKET_OCTAVES, ChainCollector
from arroyo.metrics.descriptions import METRICS
from arroyo.telemetry.histogram import BUCKETS, FIRST_NS, note

CHAIN = make_chain(LINE, integrate={"replicas": 2})


class Scraper:
    """Takes the metrics of one snapshot after the other, through text and the strict parser."""

    def __init__(self, chain=CHAIN):
        self.chain = chain
        self.collector = ChainCollector("1.2.3")
        self.samples = {}

    def take(self, snapshot):
        families = self.collector.collect(self.chain, snapshot)

        class Collected:
            def collect(self):
                return families

        text = generate_latest(Collected()).decode()
        self.samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = {key: value for key, value in sample.labels.items() if key != "chain"}
                key = sample.name, *sorted(labels.items())
                assert key not in self.samples
                self.samples[key] = sample.value

    def value(self, name, **labels):
        return self.samples.get((f"arroyo_{name}", *sorted(labels.items())))

    def of_stage(self, name, stage="integrate", replica="0", **labels):
        return self.value(f"stage_{name}", stage=stage, replica=replica, **labels)


@pytest.fixture
def scraper():
    return Scraper()


def latencies(*durations_ns):
    counts = [0] * BUCKETS
    for duration_ns in durations_ns:
        note(counts, duration_ns, 1)
    return counts


def test_each_metric_that_is_described_has_samples_and_there_are_no_others(scraper):
    running = {"incarnation": 1, "pid": 7, "cpu_s": 0.5, "rss_bytes": 1, "uptime_s": 2.0}
    times = {"busy_s": 1.0, "idle_s": 2.0, "blocked_s": 0.0}
    scraper.take(make_snapshot(CHAIN, **{str(name): running | times for name in CHAIN.replicas}))
    found = {key[0] for key in scraper.samples}
    ends = ("_bucket", "_count", "_sum")
    shown = {each.shown_name for each in METRICS if each.kind != "histogram"}
    shown |= {each.name + end for each in METRICS if each.kind == "histogram" for end in ends}
    assert found == shown


def test_a_chain_that_does_not_run_is_not_up(scraper):
    scraper.take(make_snapshot(CHAIN))
    assert scraper.value("up") == 0
    assert scraper.value("chain_state", state="STOPPED") == 1
    assert scraper.of_stage("ready") == 0
    assert scraper.of_stage("sent_events_total") is None


def test_a_chain_is_up_while_any_of_it_runs(scraper):
    scraper.take(make_snapshot(CHAIN, state="DEGRADED", supervisor=5))
    assert scraper.value("up") == 1


def test_a_replica_is_in_one_state(scraper):
    scraper.take(make_snapshot(CHAIN, **{"integrate.1": {"state": "FAILED", "restarts": 6}}))
    assert scraper.of_stage("state", replica="1", state="FAILED") == 1
    assert scraper.of_stage("state", replica="1", state="READY") == 0
    assert scraper.of_stage("restarts_total", replica="1") == 6


def test_a_replica_that_was_stopped_by_command_is_not_wanted(scraper):
    scraper.take(make_snapshot(CHAIN, **{"integrate.1": {"stopped_by": "a stop command"}}))
    wanted = [scraper.of_stage("wanted", replica=replica) for replica in "01"]
    assert wanted == [1, 0]


def test_counters_and_gauges_of_a_replica_are_those_of_its_status(scraper):
    row = {
        **{"incarnation": 1, "received": 10, "sent": 8, "bytes_in": 1000, "bytes_out": 80},
        **{"filtered": 1, "quarantined": 1, "lost": 2, "in_flight": 3, "waiting_s": 4.5},
    }
    scraper.take(make_snapshot(CHAIN, **{"integrate.0": row}))
    assert scraper.of_stage("received_events_total") == 10
    assert scraper.of_stage("sent_events_total") == 8
    assert scraper.of_stage("received_bytes_total") == 1000
    assert scraper.of_stage("sent_bytes_total") == 80
    assert scraper.of_stage("discarded_events_total", reason="filtered") == 1
    assert scraper.of_stage("discarded_events_total", reason="skipped") == 0
    assert scraper.of_stage("lost_events_total") == 2
    assert scraper.of_stage("in_flight_events") == 3
    assert scraper.of_stage("waiting_seconds") == 4.5
    assert scraper.of_stage("window_events", stage="images") == 65_536
    assert scraper.of_stage("window_events") is None


def test_roles_and_links_are_told(scraper):
    scraper.take(make_snapshot(CHAIN))
    assert scraper.value("stage_info", stage="images", role="listener") == 1
    assert scraper.value("link_info", above="images", stage="integrate", link="push-pull") == 1


def test_what_a_replica_counts_goes_on_over_its_restart_and_stays_when_it_has_ended(scraper):
    for incarnation, sent, latency in [(1, 8, [50_000] * 8), (2, 1, [50_000])]:
        row = {"incarnation": incarnation, "pid": incarnation, "cpu_s": 1.5, "sent": sent}
        rows = {"integrate.0": row}
        scraper.take(make_snapshot(CHAIN, {"integrate.0": latencies(*latency)}, **rows))
    assert scraper.of_stage("sent_events_total") == 9
    scraper.take(make_snapshot(CHAIN))
    assert scraper.of_stage("sent_events_total") == 9
    assert scraper.of_stage("latency_seconds_count") == 9
    assert scraper.of_stage("cpu_seconds_total") == 3.0
    assert scraper.of_stage("in_flight_events") is None


def test_restarts_go_on_where_another_supervisor_runs_the_chain(scraper):
    for supervisor, restarts in [(5, 3), (None, 0), (9, 1)]:
        rows = {"integrate.0": {"restarts": restarts}}
        scraper.take(make_snapshot(CHAIN, supervisor=supervisor, **rows))
    assert scraper.of_stage("restarts_total") == 4


def test_a_page_that_a_successor_takes_over_just_now_counts_nothing(scraper):
    scraper.take(make_snapshot(CHAIN, {"integrate.0": ()}, **{"integrate.0": {"incarnation": 1}}))
    assert scraper.of_stage("sent_events_total") is None


def test_latencies_are_in_seconds_in_14_buckets_at_most(scraper):
    assert len(BUCKET_OCTAVES) + 1 <= 14
    fast_ns, slow_ns = 2_000_000, 300 * 10**9
    counts = latencies(*[fast_ns] * 3, slow_ns)
    rows = {"integrate.0": {"incarnation": 1}}
    scraper.take(make_snapshot(CHAIN, {"integrate.0": counts}, **rows))
    bound = (FIRST_NS << 12) / 1e9
    assert scraper.of_stage("latency_seconds_bucket", le=str(bound)) == 3
    assert scraper.of_stage("latency_seconds_bucket", le=str(bound / 4)) == 0
    assert scraper.of_stage("latency_seconds_bucket", le="+Inf") == 4
    assert scraper.of_stage("latency_seconds_count") == 4
    longest_s = (FIRST_NS << 28) / 1e9
    expected_s = 3 * 0.002 + longest_s
    assert scraper.of_stage("latency_seconds_sum") == pytest.approx(expected_s, rel=1 / 16)
