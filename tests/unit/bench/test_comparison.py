"""How the chains of a case are compared."""

from bench_figures import SLOW, SMALL, measurement, rounds

from arroyo.bench.comparison import compare


def test_the_ratio_is_the_median_of_the_rounds_ratios_not_the_ratio_of_medians():
    rates = [(100.0, 50.0), (1000.0, 100.0), (10.0, 8.0)]
    measured = [(measurement(other), measurement(ours)) for other, ours in rates]
    comparison = compare(SMALL, rounds(SMALL, *measured))
    assert comparison.ratios["handwritten"].rate == comparison.ratios["limit"].rate == 0.5
    assert comparison.figures["handwritten"].messages_per_s == 100.0
    assert comparison.figures["arroyo"].messages_per_s == 50.0
    assert comparison.headline == 0.5


def test_the_headline_is_the_ratio_to_the_raw_chain():
    [found] = rounds(SMALL, (measurement(200.0), measurement(100.0)))
    comparison = compare(SMALL, [{**found, "typed": measurement(50.0)}])
    assert comparison.ratios["typed"].rate == 2.0
    assert comparison.headline == 0.5


def test_a_latency_is_better_the_smaller_it_is():
    pair = measurement(100.0, latency_us=50.0), measurement(100.0, latency_us=200.0)
    comparison = compare(SLOW, rounds(SLOW, pair))
    assert comparison.ratios["handwritten"].latency == 4.0
    assert comparison.headline == 0.25
