"""`arroyo status --history` of who is not running, or not there."""

import pytest
from supervised_histories import make_chain

from arroyo.config.run_directory import RunDirectory
from arroyo.control.history_file import leave_history
from arroyo.control.locks import Lock
from arroyo.errors import UnavailableError, UsageError
from arroyo.identifiers import ReplicaName
from arroyo.supervision.reporting.history_report import read_history

CHAIN = make_chain({"images": (), "work": ("images",)}, work={"replicas": 2})


@pytest.fixture
def environ(tmp_path):
    return {"ARROYO_RUN_DIR": str(tmp_path / "run")}


@pytest.fixture
def run_directory(environ):
    made = RunDirectory.locate(CHAIN.name, environ)
    made.create()
    return made


def test_one_that_failed_tells_what_it_left(environ, run_directory):
    left = leave_history(run_directory.log(ReplicaName("work", 1)), "took batch 17\n")
    assert read_history(CHAIN, environ, "work") == (
        "work.0 is not running, and left no history\n\n"
        f"work.1 is not running; a process of it that failed left this in {left}:\n"
        "took batch 17\n\n"
    )


def test_one_that_is_starting_is_not_asked_as_a_signal_would_end_it(environ, run_directory):
    name = ReplicaName("images", 0)
    leave_history(run_directory.log(name), "took batch 17\n")
    lock = Lock.acquire(run_directory.lock(name))
    try:
        text = read_history(CHAIN, environ, "images.0")
    finally:
        lock.release()
    assert text.startswith("images.0 is starting; ask again; a process of it that failed left /")


@pytest.mark.usefixtures("run_directory")
@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("wokr", "chain chain has no stage or replica 'wokr'; did you mean 'work'?"),
        ("work.2", "chain chain has no stage or replica 'work.2'"),
    ],
)
def test_who_is_not_there_is_a_usage_error(environ, wanted, words):
    with pytest.raises(UsageError) as error:
        read_history(CHAIN, environ, wanted)
    assert str(error.value).startswith(words)


def test_without_a_supervisor_there_is_none_of_it(environ, run_directory):
    with pytest.raises(UnavailableError, match="chain chain does not run"):
        read_history(CHAIN, environ, "supervisor")
    lock = Lock.acquire(run_directory.lock(ReplicaName("images", 0)))
    with pytest.raises(UnavailableError, match="chain chain has no supervisor; its stages run"):
        read_history(CHAIN, environ, "supervisor")
    lock.release()
