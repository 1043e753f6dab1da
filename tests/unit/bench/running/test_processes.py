"""The processes of a chain by hand: who is connected to whom, and what follows if one fails."""

import pytest

from arroyo.bench.case import Case
from arroyo.bench.meter import MeasurementError
from arroyo.bench.running.processes import jobs_of, run_abreast, run_processes


def address(folder, name):
    return f"ipc://{folder}/{name}"


def test_each_stage_sends_to_all_replicas_of_the_next_one(tmp_path):
    jobs = jobs_of(Case(100, 10, length=2, replicas=2), tmp_path, address)
    assert [job.role for job in jobs] == ["sink", *["relay"] * 4, "source"]
    sink, *relays, source = jobs
    last, first = relays[:2], relays[2:]
    assert {job.outlets for job in last} == {(sink.inlet,)}
    assert {job.outlets for job in first} == {tuple(job.inlet for job in last)}
    assert source.outlets == tuple(job.inlet for job in first)
    assert len({job.inlet for job in jobs}) == 6


def test_a_module_that_is_not_there_is_no_measurement(capfd):
    case = Case(100, 10)
    with pytest.raises(MeasurementError, match="of no_such_module ended with code 1 before"):
        run_processes("no_such_module", case, address)
    with pytest.raises(MeasurementError, match="of no_such_module ended with code 1 before"):
        run_abreast("no_such_module", case, 1)
    assert "No module named no_such_module" in capfd.readouterr().err
