"""Sending messages back from quarantine; `tests/unit/cli/test_quarantine.py` has the command."""

import os

import pytest
from quarantine_entries import make_entry

from arroyo.codec import MessageCodec
from arroyo.config.state_directory import StateDirectory
from arroyo.errors import UnavailableError, UsageError
from arroyo.messages import Event
from arroyo.runner.quarantine.returning import Returned, send_back, send_back_in_child
from arroyo.runner.quarantine.store import Quarantine

CHAIN = """
[chain]
name = "saxs"
messages = ["own_readings:Reading"]
[stages.src]
listener = "own:Listen"
[stages.work]
operator = "own:Work"
inputs = ["src"]
"""
READING = "from arroyo import Message\nclass Reading(Message):\n    index: int\n"


@pytest.fixture
def store():
    state = StateDirectory.locate("saxs", os.environ)
    state.create()
    store = Quarantine(state.quarantine)
    for number, changes in (("aa", {}), ("bb", {"enters": "gone"})):
        store.put(make_entry(number, **changes), MessageCodec(()).pack(Event({}, b"")))
    return store


@pytest.fixture
def file(tmp_path):
    (tmp_path / "own_readings.py").write_text(READING)
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN)
    return path


def test_a_chain_that_is_not_known_checks_when_it_runs(store):
    done = list(send_back(store, None, store.entries()))
    assert [str(each) for each in done] == [
        "aa (src.0/run/aa) goes back into work",
        "bb (src.0/run/bb) goes back into gone",
    ]
    assert store.entries() == []


def test_a_child_sends_back_what_the_chain_can_take(store, file):
    good, bad = send_back_in_child(file, ["aa", "bb"], os.environ)
    assert good == Returned("aa", "src.0/run/aa", "work")
    assert "below src the chain has work" in bad.refusal
    assert "bb (src.0/run/bb) stays in quarantine: " in str(bad)
    assert [entry.id for entry in store.requeued()] == ["aa"]


def test_what_is_not_there_is_told_by_the_child(store, file):
    with pytest.raises(UsageError, match="no message 'cc'"):
        send_back_in_child(file, ["cc"], os.environ)


@pytest.mark.parametrize("code", ["print('hello')", "import os\nos.write(1, b'hello')"])
def test_a_module_may_print(store, file, tmp_path, code):
    (tmp_path / "own_readings.py").write_text(f"{code}\n{READING}")
    assert send_back_in_child(file, ["aa"], os.environ)[0].refusal == ""


def test_a_module_that_ends_the_child_ends_nothing_else(store, file, tmp_path):
    (tmp_path / "own_readings.py").write_text("import os\nos._exit(3)\n")
    with pytest.raises(UnavailableError, match="importing the chain's classes failed"):
        send_back_in_child(file, ["aa"], os.environ)
    assert len(store.entries()) == 2
