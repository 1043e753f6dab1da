import pytest

from arroyo.bench.case import Case
from arroyo.bench.running.limit import Bare, limit_of, mean_of, run_limit


def test_with_cores_for_all_the_busiest_stage_is_the_limit():
    found = limit_of(Case(1 << 20, 1, length=3), Bare(100.0, 250.0, 10.0), cores=8)
    assert found.messages_per_s == found.mib_per_s == pytest.approx(4000)
    assert found.cpu_us_per_message == 860.0


def test_replicas_share_the_work_of_a_stage():
    found = limit_of(Case(1 << 20, 1, length=1, replicas=5), Bare(100.0, 250.0, 10.0), cores=8)
    assert found.messages_per_s == pytest.approx(10_000)


def test_with_few_cores_all_stages_together_are_the_limit():
    found = limit_of(Case(1 << 20, 1, length=3), Bare(100.0, 250.0, 150.0), cores=2)
    assert found.messages_per_s == pytest.approx(2000)


def test_what_some_processes_have_not_measured_stays_unknown():
    found = mean_of([Bare(1.0, 2.0, 3.0, 4.0), Bare(3.0, 4.0, 5.0)])
    assert found == Bare(2.0, 3.0, 4.0)


def test_each_loop_of_small_messages_takes_time():
    found = run_limit(Case(100, 1))
    assert min(found.source_us, found.stage_us, found.sink_us) > 0
    assert found.work_us is None


def test_the_function_of_a_stage_is_timed_outside_of_any_chain():
    found = run_limit(Case(1 << 20, 1, work="transform"))
    assert 0 < found.source_us < found.stage_us
    assert found.work_us > 0
    assert found.work_cpu_us > 0
