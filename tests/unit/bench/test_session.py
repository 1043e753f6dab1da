"""What is measured for each part, with figures that are made up."""

import pytest
from bench_figures import measurement

from arroyo.bench.reporting.results_file import ResultsFile
from arroyo.bench.session import QUICK, Session, throughput_cases
from arroyo.errors import UsageError


@pytest.fixture
def measured(monkeypatch):
    """The cases that were measured; Arroyo does 100 messages/s, all others 200."""
    cases = []

    def measure(case):
        cases.append(case)
        return {
            chain: measurement(100.0 if chain == "arroyo" else 200.0, latency_us=9.0)
            for chain in case.chains
        }

    monkeypatch.setattr("arroyo.bench.session.measure_round", measure)
    return cases


@pytest.fixture
def said():
    return []


@pytest.fixture
def session(said):
    return Session(QUICK, ResultsFile(None, None), say=said.append, tell_progress=said.append)


def test_cases_are_all_combinations_with_the_work_that_their_size_allows():
    cases = throughput_cases([100, 1 << 20], ["pass", "read"], [1, 2], [1], effort=1.0)
    assert [(case.length, case.payload_bytes, case.work) for case in cases] == [
        (1, 100, "pass"),
        (1, 1 << 20, "pass"),
        (1, 1 << 20, "read"),
        (2, 100, "pass"),
        (2, 1 << 20, "pass"),
        (2, 1 << 20, "read"),
    ]
    frames = throughput_cases([100, 1 << 20], ["read"], [1], [1], effort=1.0)
    assert [(case.payload_bytes, case.work) for case in frames] == [(1 << 20, "read")]
    alone = throughput_cases([100], [], [1], [1], effort=1.0)
    assert [case.work for case in alone] == ["pass", "lists"]
    with pytest.raises(UsageError, match="read is not for messages of 100 B, but pass, lists are"):
        throughput_cases([100], ["read"], [1], [1], effort=1.0)


def test_latency_is_measured_at_half_of_what_the_slower_chain_does(session, measured):
    session.latency(2)
    rate_case, *low, half = measured
    assert rate_case.interval_s == 0
    assert [case.interval_s for case in low] == [0.1, 0.001]
    assert half.interval_s == pytest.approx(1 / 50)
    assert [each.case for each in session.comparisons] == [*low, half]


def test_a_rate_that_is_known_is_not_measured_again(session, measured):
    session.throughput(throughput_cases([1024], ["pass"], [2], [1], QUICK.effort))
    session.latency(2)
    assert [case.interval_s for case in measured] == [0, 0.1, 0.001, pytest.approx(1 / 50)]


def test_what_delivery_costs_is_said_apart(session, measured, said):
    session.delivery([1024])
    assert [case.reference for case in measured] == ["best-effort"]
    assert session.comparisons == []
    assert "reliable" in said[-1]


def test_without_a_file_there_are_no_plots(session, measured, said):
    session.throughput(throughput_cases([100], (), [1], [1], QUICK.effort))
    said.clear()
    session.plot()
    assert said == []
