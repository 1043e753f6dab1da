from arroyo.bench.restart_times import Restarts, measure_idle, measure_restarts, measure_start


def test_restarts_are_told_by_their_median():
    assert Restarts([30.0, 10.0, 500.0]).median_ms == 30.0


def test_a_killed_stage_is_timed_until_its_replacement_is_ready():
    found_ms = measure_restarts(2).kill_to_ready_ms
    assert len(found_ms) == 2
    assert all(0 < each < 30_000 for each in found_ms)


def test_a_chain_is_timed_from_its_start_to_its_stop():
    found = measure_start(3)
    assert found.stages == 3
    assert found.all_ready_s > 0
    assert found.stop_s > 0


def test_an_idle_chain_has_a_cost_in_each_of_its_processes():
    found = measure_idle(4, idle_s=0.1)
    assert found.supervisor_rss_mib > 1
    assert found.supervisor_cpu_percent >= 0
    assert set(found.stage_rss_mib) == {"source", "work", "sink"}
    assert min(found.stage_rss_mib.values()) > 1
