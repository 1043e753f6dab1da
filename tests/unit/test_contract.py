"""What others build on stays as it is: public names, chain files, records on the wire, exit codes.

A test that fails here is not to be mended here alone: users' code, chain files and stages of the
release before break with it. What is new is entered, with its line in the changelog; what goes or
changes its meaning needs a decision record, and on the wire a new `PROTOCOL_VERSION`.
"""

import inspect
from importlib import import_module

import msgspec
import pytest

from arroyo import errors
from arroyo.codec import PROTOCOL_VERSION, records
from arroyo.config import schema
from arroyo.messages import Event, Fragment, SlabReference, Start, Stop
from arroyo.runner.process import stage_process
from arroyo.supervision.decisions import totals

PUBLIC = {
    "arroyo": """ArroyoError ConfigurationError DecodeError EncodeError Event IteratingListener
        Listener Message MessageParser Operator Origin PollingListener Publisher Start Stop
        UnavailableError run""",
    "arroyo.testing": "FakeClock InMemoryLink RecordingPublisher ScriptedListener",
}
CONNECTORS = """DirectoryListener HDF5Publisher RedisListener RedisPublisher RedisStreamListener
    RedisStreamPublisher SyntheticListener ZMQListener ZMQPubSubListener ZMQPubSubPublisher
    ZMQPublisher"""

# sysexits(3)
ERRORS = {
    "ArroyoError": 70,
    "UsageError": 64,
    "ConfigurationError": 78,
    "AlreadyRunningError": 75,
    "UnavailableError": 75,
    "RefusedError": 70,
    "ProgramError": 1,
    "StageError": 70,
    "EncodeError": 70,
    "DecodeError": 70,
}

# By the number that stands first on the wire; fields are told by their place.
RECORDS = {
    1: ("Open", "version stage replica incarnation link"),
    2: (
        "Batch",
        """sender link number kind run source epoch base frontier path attempt implicit reliable
        ranges tombstones fragments detached slabs suspect enters holders handed_ns sent_ns
        returned""",
    ),
    3: ("End", "sender link final"),
    16: ("Hello", "version stage replica incarnation sticky"),
    17: ("Bye", "stage replica incarnation"),
    18: ("Credit", "stage replica link number message_s"),
    19: (
        "Ack",
        "stage replica source epoch path ranges tombstones fragments taken paths replicas",
    ),
    20: ("Lost", "stage replica link"),
    21: ("Refuse", "stage replica version reason"),
    22: ("Suspect", "stage replica incarnation source epoch sequence reason stack"),
}
# What a record of the first release of this version has: later fields need a default.
REQUIRED = {1: 5, 2: 10, 3: 2, 16: 4, 17: 3, 18: 5, 19: 5, 20: 2, 21: 4, 22: 7}

CHAIN_FILE = {
    "ChainFile": "chain stages supervisor",
    "ChainTable": "name messages env",
    "SupervisorTable": """max_restarts within_s chain_max_restarts stop_timeout_s on_failed
        on_event http""",
    "OnEventTable": "command events",
    "StageTable": """listener operator publisher command ready options parameters inputs replicas
        order dispatch on_error restart backoff_s process_timeout_s start_timeout_s cpus nice
        memory_max_bytes open_files env listen window window_bytes when_full delivery""",
    "InputTable": "stage link",
}


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_these(module):
    assert sorted(import_module(module).__all__) == PUBLIC[module].split()


def test_no_connector_goes_and_each_can_be_had():
    connectors = import_module("arroyo.connectors")
    assert set(CONNECTORS.split()) - set(connectors.__all__) == set()
    assert set(connectors.__all__) <= set(connectors._MODULES)


def test_each_public_name_can_be_imported():
    for module in PUBLIC:
        made = import_module(module)
        assert [name for name in made.__all__ if not hasattr(made, name)] == []


def test_errors_and_the_exit_codes_of_commands_that_end_with_them_are_these():
    found = {
        name: kind.exit_code
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.ArroyoError)
    }
    assert found == ERRORS


def test_the_exit_codes_of_chains_and_stages_are_these():
    assert (totals.UNWELL, totals.QUARANTINED) == (1, 65)
    assert (stage_process.STOPPED_NOW, stage_process.CRASHED) == (1, 70)


@pytest.mark.parametrize("table", CHAIN_FILE)
def test_the_keys_of_a_chain_file_are_these(table):
    assert list(getattr(schema, table).__struct_encode_fields__) == CHAIN_FILE[table].split()


def test_the_version_of_the_protocol_is_this():
    assert PROTOCOL_VERSION == 1


def test_the_records_are_these_with_their_fields_in_this_order():
    found = {
        kind.__struct_config__.tag: (name, list(kind.__struct_fields__))
        for name, kind in inspect.getmembers(records, inspect.isclass)
        if issubclass(kind, records._Record) and kind is not records._Record
    }
    assert found == {number: (name, text.split()) for number, (name, text) in RECORDS.items()}


@pytest.mark.parametrize("number", RECORDS)
def test_fields_that_a_record_got_later_may_be_missing(number):
    kind = getattr(records, RECORDS[number][0])
    fields = msgspec.structs.fields(kind)
    assert sum(field.required for field in fields) == REQUIRED[number]
    assert all(field.required for field in fields[: REQUIRED[number]])


def test_a_record_is_an_array_that_begins_with_its_number():
    assert msgspec.msgpack.encode(records.Lost("sum", 1, 7)) == bytes.fromhex(
        "94 14 a373756d 01 07"
    )


def test_kinds_reasons_and_what_stands_within_records_are_these():
    assert [records.Kind.EVENTS, records.Kind.START, records.Kind.STOP] == [0, 1, 2]
    assert list(records.Kind) == [0, 1, 2, 3]  # the last announces a Stop
    reasons = ("FILTERED", "SKIPPED", "QUARANTINED", "FINISHED")
    assert [records.Reason[name] for name in reasons] == list(records.Reason) == [0, 1, 2, 3]
    assert records.Tombstone._fields == ("first", "end", "reason", "fragment")
    fields = "run epoch sequence path fragment start stop"
    assert list(records.Returned._fields) == fields.split()
    assert SlabReference._fields == ("pool", "offset", "length", "generation")
    assert Fragment == tuple[tuple[int, int], ...]


@pytest.mark.parametrize(
    ("message", "fields"),
    [(Start, "data"), (Event, "metadata payload dtype shape"), (Stop, "data")],
)
def test_a_message_has_these_fields(message, fields):
    assert list(message.__struct_encode_fields__) == fields.split()
