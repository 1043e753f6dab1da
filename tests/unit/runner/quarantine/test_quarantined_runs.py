import threading

import pytest

from arroyo.runner.quarantine.quarantined_runs import QuarantinedRun, QuarantinedRuns

RUN = ("work", "src.0", "run")
NOTHING = QuarantinedRun(b"", b"", 0)


@pytest.fixture
def runs(tmp_path):
    return QuarantinedRuns(tmp_path / "runs")


def test_start_and_stop_of_a_run_are_there_while_a_message_of_it_is(runs):
    runs.add(*RUN, "one", b"start")
    runs.add(*RUN, "two", b"another start")
    runs.note_stop(*RUN, b"stop")
    assert runs.find(*RUN) == QuarantinedRun(b"start", b"stop", 0)
    runs.remove(*RUN, "one", returned=True)
    assert runs.find(*RUN) == QuarantinedRun(b"start", b"stop", 1)
    runs.remove(*RUN, "two", returned=False)
    assert runs.find(*RUN) == NOTHING


def test_runs_of_other_stages_and_sources_are_others(runs):
    runs.add(*RUN, "one", b"start")
    for other in (("out", "src.0", "run"), ("work", "src.1", "run"), ("work", "src.0", "next")):
        assert runs.find(*other) == NOTHING


def test_a_run_of_which_nothing_was_put_aside_leaves_nothing(runs, tmp_path):
    runs.note_stop(*RUN, b"stop")
    runs.remove(*RUN, "one", returned=True)
    assert list(tmp_path.iterdir()) == []


def test_what_a_death_left_in_the_midst_of_writing_goes_with_the_run(runs, tmp_path):
    runs.add(*RUN, "one", b"start")
    (next((tmp_path / "runs").iterdir()) / "stop.4711").touch()
    runs.remove(*RUN, "one", returned=False)
    assert list((tmp_path / "runs").iterdir()) == []


def test_everything_is_private(runs, tmp_path):
    runs.add(*RUN, "one", b"start")
    runs.note_stop(*RUN, b"stop")
    assert {path.stat().st_mode & 0o077 for path in tmp_path.rglob("*")} == {0}


def test_a_run_may_be_forgotten_while_the_next_message_is_put_aside(runs):
    found = set()

    def put_and_bring_back(number):
        for _ in range(200):
            runs.add(*RUN, number, b"start")
            found.add(runs.find(*RUN).start)
            runs.remove(*RUN, number, returned=True)

    threads = [threading.Thread(target=put_and_bring_back, args=(f"{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {b"start"}
    assert runs.find(*RUN) == NOTHING
