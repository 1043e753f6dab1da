"""What the status page of a replica with stages above says, and how often it is written."""

from types import SimpleNamespace

import pytest
from stage_fakes import ScriptedContext, line_of

from arroyo.runner.relay.relay_status import STATUS_S, RelayStatus
from arroyo.runner.relay.role import equip


@pytest.fixture
def equipment(tmp_path):
    chain = line_of(
        tmp_path, ("listener", "src", "own:Src", {}), ("publisher", "sink", "own:Sink", {})
    )
    with ScriptedContext(chain, "sink", lambda action: ()) as context:
        yield equip(context)


@pytest.fixture
def status(equipment):
    role = SimpleNamespace(call=SimpleNamespace(errors=2))
    receiver = SimpleNamespace(dropped=5, redelivered=6)
    return RelayStatus(equipment, role, SimpleNamespace(in_flight=7, receiver=receiver))


def test_errors_are_those_of_the_code_what_could_not_be_read_and_what_was_no_record(
    status, equipment
):
    equipment.reader.unreadable = 10
    equipment.replica.rejected = 100
    status.write()
    found = equipment.replica.counts
    assert (found["errors"], found["rejected"]) == (112, 100)


def test_it_says_what_the_machine_and_the_counters_say(status, equipment):
    equipment.counters.received = 3
    equipment.counters.by_sender["src.0"] = 3
    status.write()
    found = equipment.replica.counts
    words = ("received", "input_0", "dropped", "redelivered", "in_flight")
    assert [found[word] for word in words] == [3, 3, 5, 6, 7]


def test_it_is_written_now_and_then(status, equipment):
    seen = []
    for now in (10.0, 10.0 + STATUS_S / 2, 10.0 + STATUS_S):
        equipment.counters.received += 1
        status.write_if_due(now)
        seen.append(equipment.replica.counts["received"])
    assert seen == [1, 1, 3]
