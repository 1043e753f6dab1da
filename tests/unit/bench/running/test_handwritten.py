import pytest

from arroyo.bench.case import Case
from arroyo.bench.running.handwritten import run_handwritten


@pytest.mark.parametrize(
    "case",
    [
        Case(100, 300, length=2, replicas=2),
        Case(64 * 1024, 30, length=1),
        Case(64 * 1024, 30, length=1, work="fill"),
    ],
    ids=["small", "frames", "frames that are made"],
)
def test_each_message_arrives_whoever_passes_it_on(case):
    found = run_handwritten(case)
    assert found.arrived == case.events
    assert min(found.source_us, found.stage_us, found.sink_us) > 0
    assert found.work_cpu_us is None or case.work == "fill"
    assert found.hop_p50_us is None


def test_the_work_of_its_stages_is_timed():
    found = run_handwritten(Case(1 << 20, 20, length=1, work="transform"))
    assert found.work_cpu_us > 0


def test_messages_that_are_sent_one_at_a_time_tell_how_long_each_took():
    found = run_handwritten(Case(100, 20, length=1, interval_s=0.001))
    assert found.hop_p50_us > 0
