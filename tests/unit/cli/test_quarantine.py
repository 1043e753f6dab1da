import json
import os

import msgspec
import pytest
from click.testing import CliRunner
from quarantine_entries import make_entry

from arroyo.cli.quarantine import command
from arroyo.codec import MessageCodec
from arroyo.config.state_directory import StateDirectory
from arroyo.control.quarantine import Quarantine
from arroyo.messages import Event


@pytest.fixture
def store():
    state = StateDirectory.locate("saxs", os.environ)
    state.create()
    store = Quarantine(state.quarantine)
    for number in ("aa", "bb"):
        put(store, number)
    return store


def put(store, number, **changes):
    packed = MessageCodec(()).pack(Event({"name": number}, b"1234", "<u2", (2,)))
    entry = make_entry(number, stack="Traceback\n  it was here\n")
    store.put(msgspec.structs.replace(entry, **changes), packed)


def run(*arguments, code=0):
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def test_a_list_for_people_names_message_stage_and_reason(store):
    text = run("list", "saxs")
    assert "aa" in text
    assert "work.0" in text
    assert "src.0/run/bb: raised ValueError: no beam" in text


def test_a_list_for_programs_says_what_is_on_its_way_back(store):
    run("requeue", "saxs", "bb")
    rows = json.loads(run("list", "saxs", "--json"))
    assert [(row["id"], row["state"]) for row in rows] == [
        ("aa", "quarantined"),
        ("bb", "requeued"),
    ]


def test_a_message_is_shown_with_metadata_payload_reason_and_stack(store):
    text = run("show", "saxs", "aa")
    for words in ('metadata: {"name": "aa"}', "payload bytes: 4", "dtype: <u2", "it was here"):
        assert words in text
    (shown,) = json.loads(run("show", "saxs", "aa", "--json"))
    assert (shown["shape"], shown["metadata"]) == ([2], {"name": "aa"})


def test_what_is_dropped_is_gone(store):
    run("drop", "saxs", "--all")
    assert store.entries() == []
    assert "nothing is in quarantine" in run("list", "saxs")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("drop", "saxs"), "give --all"),
        (("drop", "saxs", "aa", "--all"), "give --all"),
        (("show", "saxs", "cc"), "no message 'cc'"),
    ],
)
def test_a_mistake_is_one_sentence(store, arguments, words):
    text = run(*arguments, code=64)
    assert words in text
    assert "Traceback" not in text


def test_frames_that_could_not_be_read_are_not_sent_again(store):
    put(store, "cc", type="")
    assert "could not be read" in run("requeue", "saxs", "cc", code=64)
