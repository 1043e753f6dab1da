"""What a role and its loop work with, and which role a stage has."""

import pytest
from batches import make_batch
from stage_fakes import ScriptedContext

from arroyo import Event, Operator, Publisher, Start, Stop
from arroyo.codec import Kind, join
from arroyo.protocol.values.deliveries import origins_of
from arroyo.runner.relay.fold_role import FoldRole
from arroyo.runner.relay.relay_role import RelayRole
from arroyo.runner.relay.role import equip, make_role


class Works(Operator):
    def process(self, message):
        return message


class Folds(Works):
    folds = True


class Keeps(Publisher):
    def publish(self, message):
        pass


@pytest.fixture
def equipment_of(line):
    made = []

    def make(name):
        made.append(ScriptedContext(line, name, lambda action: ()))
        return equip(made[-1])

    yield make
    for context in made:
        context.__exit__()


@pytest.mark.parametrize(
    ("name", "made", "role"),
    [
        ("work", Works, RelayRole),
        ("work", Folds, FoldRole),
        ("sink", Keeps, RelayRole),
    ],
)
def test_the_role_follows_from_the_chain_file_and_the_class(equipment_of, name, made, role):
    assert type(make_role(equipment_of(name), made())) is role


@pytest.mark.parametrize(
    ("kind", "message"), [(Kind.START, Start()), (Kind.STOP, Stop()), (Kind.CLOSING, Stop())]
)
def test_a_start_or_stop_has_the_place_before_its_first_event(equipment_of, kind, message):
    batch = make_batch(kind=kind, base=7, ranges=((7, 8),))
    (found,) = equipment_of("work").take_controls(batch, [(7, (), message)])
    assert (found.origin.run, found.origin.source, found.origin.sequence) == ("run", "src.0", -1)


def test_a_stop_is_kept_for_what_comes_back_later_and_its_announcement_is_not(equipment_of):
    equipment = equipment_of("work")
    store = equipment.quarantine.store
    for kind, data in ((Kind.CLOSING, {"n": 1}), (Kind.STOP, {"n": 2})):
        noted = []
        store.runs.note_stop = lambda *place, noted=noted: noted.append(place)
        equipment.take_controls(make_batch(kind=kind, base=1), [(1, (), Stop(data))])
        assert [place[:3] for place in noted] == [("work", "src.0", "run")] * (kind is Kind.STOP)


def test_a_message_is_put_aside_as_it_came(equipment_of):
    equipment = equipment_of("work")
    codec = equipment.replica.codec
    body, places, payloads = join([codec.encode(Event({"n": 1}))])
    batch = make_batch(ranges=((0, 1),))
    _, (event,) = equipment.reader.read(batch, bytes(body), places, payloads)
    event._make_origin, event._origin = origins_of(batch), 0
    event.metadata["n"] = "spoilt"
    equipment.quarantine.put(event, ValueError("no"), 1)
    (entry,) = equipment.quarantine.store.entries()
    assert codec.unpack(equipment.quarantine.store.message(entry.id)).metadata == {"n": 1}
