from arroyo.bench.case import Case
from arroyo.bench.running.pool import run_pool


def test_a_pool_integrates_all_frames():
    found = run_pool(Case(1 << 20, 20, 1, 2, "integrate", pixels=100_000))
    assert found.arrived == 20
    assert found.messages_per_s > 0
    assert found.cpu_us_per_message > 50  # 100,000 pixels take longer
