"""Taps of a stage whose processes are played; the integration tests have real ones."""

import os
import threading

import pytest
from batches import make_batch

from arroyo.codec import encode_record
from arroyo.config.reader import load_chain
from arroyo.control.locks import Lock
from arroyo.control.tap_file import Sample, TappedFile
from arroyo.errors import UnavailableError
from arroyo.supervision.live.tapped_stage import TappedStage

FAST = 1e9


@pytest.fixture
def stage(chain_directory, chain_file):
    """A tap of `work`, which runs as far as its lock says."""
    lock = Lock.acquire(chain_directory.lock("work.0"))
    tapped = TappedStage(load_chain(chain_file), "work", os.environ)
    tapped.open()
    yield tapped
    tapped.close()
    lock.release()


def test_of_a_stage_whose_process_is_away_it_says_so(chain_directory, chain_file):
    supervisor = Lock.acquire(chain_directory.lock("supervisor"))
    with pytest.raises(UnavailableError, match="work of chain saxs has no process at the moment"):
        TappedStage(load_chain(chain_file), "work", os.environ)
    supervisor.release()


def give(chain_directory, number, header):
    file = TappedFile.find(chain_directory.tap("work.0"))
    assert file.wanted == number
    file.give(number, Sample(header, b"message"))
    file.close()


@pytest.fixture
def header():
    batch = make_batch()
    return encode_record(batch)


def test_nothing_is_given_before_it_is_asked_for(stage, chain_directory, header):
    assert list(stage.look(FAST, FAST)) == []
    give(chain_directory, 1, header)
    (seen,) = stage.look(FAST, FAST)
    assert (seen.replica, bytes(seen.sample.message)) == ("work.0", b"message")
    assert list(stage.look(FAST, FAST)) == []
    give(chain_directory, 2, header)


@pytest.mark.parametrize(("rate", "bytes_per_s"), [(0.001, FAST), (FAST, 0.001)])
def test_after_a_message_it_rests_as_long_as_it_should(
    stage, chain_directory, header, rate, bytes_per_s
):
    assert list(stage.look(rate, bytes_per_s)) == []
    give(chain_directory, 1, header)
    assert len(list(stage.look(rate, bytes_per_s))) == 1
    for _ in range(3):
        assert list(stage.look(rate, bytes_per_s)) == []
    assert not stage._taps["work.0"].waits


def test_it_rests_from_the_asking_whenever_the_message_comes(stage, chain_directory, header):
    rest_s = 0.2
    bytes_per_s = len(b"message") / rest_s
    assert list(stage.look(FAST, bytes_per_s)) == []
    threading.Event().wait(rest_s)
    give(chain_directory, 1, header)
    assert len(list(stage.look(FAST, bytes_per_s))) == 1
    assert list(stage.look(FAST, bytes_per_s)) == []
    assert stage._taps["work.0"].waits


def test_a_stage_that_does_not_run_is_named(chain_file):
    start = f"start it with: arroyo-supervise {chain_file}"
    with pytest.raises(UnavailableError, match=f"chain saxs does not run; {start} "):
        TappedStage(load_chain(chain_file), "images", os.environ)
