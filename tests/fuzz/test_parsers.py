"""Whatever comes from outside is understood or refused in a sentence, and nothing else happens."""

import contextlib
import json
import selectors
import socket
import tomllib

import msgspec
from fuzz.effort import fuzzed
from fuzz.records import back_records, damaged, data_records, packed
from hypothesis import given
from hypothesis import strategies as st

from arroyo import Event, Message, Start, Stop
from arroyo.codec import MessageCodec, decode_back, decode_data, encode_record, join
from arroyo.config.graph import Chain
from arroyo.config.reader import survey_chain
from arroyo.config.run_directory import RunDirectory
from arroyo.connectors.directory_watch.complete_files import Stamp
from arroyo.connectors.directory_watch.file_journal import FileJournal
from arroyo.connectors.parsing import RawParser, TolerantParser
from arroyo.connectors.wire_format import OutwardParser, write_outward
from arroyo.control.notify import parse_fields
from arroyo.control.request_server import RequestServer
from arroyo.control.suspect_notes import SuspectNote, leave_suspect, take_suspect
from arroyo.durable.frames import HEAD_BYTES, pack_frame
from arroyo.errors import ArroyoError, ConfigurationError, DecodeError
from arroyo.identifiers import ReplicaName
from arroyo.protocol.fold.state import FoldState, OpenOutputs
from arroyo.protocol.recovery.journal import FrontierMoved, JournalState, RunOpened, Sent
from arroyo.protocol.recovery.unclosed_run import UnclosedRun
from arroyo.runner.state.fold_record import PLACE_BYTES, FoldRecord
from arroyo.runner.state.incarnations import next_incarnation
from arroyo.runner.state.source_journal import SourceJournal, open_journal
from arroyo.runner.state.unclosed_runs import UnclosedRuns
from arroyo.stages import MessageParser

frames = st.lists(st.binary(max_size=40), max_size=4)


# The outward format, and parsers


class Reading(Event):
    """An own type, with a field of each kind that JSON can express."""

    value: float = 0.0
    names: tuple[str, ...] = ()


PARSER = OutwardParser([Reading])
CODEC = MessageCodec([Reading])

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
dtypes = st.sampled_from(["<u2", ">f8", "|b1", "<M8[ns]", "|S3", "<U2", "|O", "", "u2", "<x9"])
headers = st.fixed_dictionaries(
    {"type": st.one_of(st.sampled_from(["Event", "Start", "Stop", "Reading"]), json_values)},
    optional={
        "run": st.one_of(st.text(max_size=5), json_values),
        "source": json_values,
        "sequence": json_values,
        "fragment": json_values,
        "path": json_values,
        "metadata": st.one_of(st.dictionaries(st.text(max_size=5), json_values), json_values),
        "data": st.one_of(
            st.fixed_dictionaries({}, optional={"value": json_values, "names": json_values}),
            json_values,
        ),
        "dtype": st.one_of(dtypes, json_values),
        "shape": st.one_of(st.lists(st.integers(-1, 4), max_size=4), json_values),
    },
)


def hold_good(message):
    """What a parser has made goes through a chain, and out again."""
    assert isinstance(message, Message)
    (again,) = CODEC.decode(*join([CODEC.encode(message)]))
    assert type(again) is type(message)
    if isinstance(message, Event) and message.dtype:
        assert message.array.nbytes == len(message.payload)
    write_outward(message)


def parse(given_frames):
    try:
        message = PARSER.parse(given_frames)
    except DecodeError:
        return
    hold_good(message)


@fuzzed(133)
@given(frames=frames)
def test_any_frames_for_the_outward_parser(frames):
    parse(frames)


@fuzzed(133)
@given(header=headers, payload=st.binary(max_size=16), topic=st.booleans())
def test_headers_with_anything_in_them(header, payload, topic):
    header = json.dumps(header).encode("utf-8", "surrogatepass")
    parse([b"topic", header, payload] if topic else [header, payload])
    parse([msgspec.msgpack.encode([header, payload])])


@fuzzed(66)
@given(frame=damaged(headers.map(lambda header: json.dumps(header).encode())))
def test_damaged_headers(frame):
    parse([frame])


@fuzzed(66)
@given(frames=frames, has_topic=st.booleans())
def test_any_frames_for_the_raw_parser(frames, has_topic):
    try:
        event = RawParser(has_topic=has_topic).parse(frames)
    except DecodeError:
        assert not frames
    else:
        hold_good(event)


class OwnParser(MessageParser):
    """A user's parser that trusts what comes."""

    def parse(self, frames):
        meta = json.loads(frames[0])
        return Event({"value": meta["values"][0]}, frames[1], "<i4", (int(meta["n"]),))


@fuzzed(100)
@given(
    frames=st.one_of(
        frames, json_values.map(lambda value: [json.dumps({"values": value, "n": value}).encode()])
    )
)
def test_a_parser_that_trusts_what_comes_ends_no_listener(frames):
    parser = TolerantParser(OwnParser())
    message = parser.parse(frames)
    assert (message is None) == (parser.rejected == 1)


# Records and bodies


@fuzzed(100)
@given(header=st.one_of(st.binary(max_size=60), packed, damaged(data_records.map(encode_record))))
def test_any_header_of_data(header):
    with contextlib.suppress(DecodeError):
        record = decode_data(header)
        assert decode_data(encode_record(record)) == record


@fuzzed(100)
@given(header=st.one_of(st.binary(max_size=60), packed, damaged(back_records.map(encode_record))))
def test_any_header_from_below(header):
    with contextlib.suppress(DecodeError):
        record = decode_back(header)
        assert decode_back(encode_record(record)) == record


messages = st.one_of(
    st.builds(Start, st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3)),
    st.builds(Event, st.dictionaries(st.text(max_size=5), st.floats(), max_size=3), st.binary()),
    st.just(Stop()),
)
bodies = st.lists(messages, min_size=1, max_size=4).map(
    lambda each: bytes(join([CODEC.encode(message) for message in each])[0])
)


@fuzzed(100)
@given(
    body=st.one_of(st.binary(max_size=60), packed, damaged(bodies)),
    places=st.lists(st.integers(0, 4), max_size=2),
    payloads=st.lists(st.binary(max_size=8), max_size=2),
)
def test_any_body(body, places, payloads):
    with contextlib.suppress(DecodeError):
        for message in CODEC.decode(body, places, payloads):
            assert isinstance(message, Message)


# Control and readiness


@fuzzed(66)
@given(sent=st.lists(st.one_of(st.binary(max_size=50), packed), max_size=3), ends=st.booleans())
def test_any_request_leaves_the_server_well(tmp_path_factory, sent, ends):
    path = tmp_path_factory.getbasetemp() / "control"
    with selectors.DefaultSelector() as selector:
        server = RequestServer(
            path, selector, {"status": lambda _: {"state": "READY"}}, lambda: 0.0
        )
        with contextlib.closing(server):
            assert ask(path, selector, b"".join(sent) + (b"\n" if ends else b"")) is not None
            reply = ask(path, selector, b'{"verb":"status"}\n')
            assert json.loads(reply) == {"reply": {"state": "READY"}}


def ask(path, selector, data):
    """Send bytes and hang up; return what came back."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        client.setblocking(False)
        received = b""
        while True:
            for key, _ in selector.select(0):
                key.data()
            try:
                if not (came := client.recv(1 << 16)):
                    return received
            except BlockingIOError:
                continue
            except ConnectionResetError:
                return received
            received += came


@fuzzed(100)
@given(datagram=st.one_of(st.binary(max_size=60), damaged(st.just(b"READY=1\nSTATUS=well\n"))))
def test_any_word_of_a_stage(datagram):
    for key, value in parse_fields(datagram).items():
        assert key
        assert isinstance(value, str)


# Files that outlive a process


def hostile_files(content):
    """Any bytes, what damage makes of files, and frames that are whole and hold anything."""
    bodies = st.lists(st.one_of(st.binary(max_size=20), packed), max_size=4)
    frames = bodies.map(lambda each: content[:HEAD_BYTES] + b"".join(map(pack_frame, each)))
    return st.one_of(st.binary(max_size=60), damaged(st.just(content)), frames)


def files_of(path):
    """A journal as a directory listener leaves it."""
    path.unlink(missing_ok=True)
    journal = FileJournal(path)
    journal.forget(())
    numbers = [journal.hand_over(name, Stamp(5, 7)) for name in ("a", "b c", "\n\\")]
    journal.finish(numbers[0])
    journal.drop("b c")
    journal.close()
    return path.read_bytes()


@fuzzed(66)
@given(data=st.data())
def test_any_journal_of_files(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "files"
    path.write_bytes(data.draw(hostile_files(files_of(path))))
    try:
        journal = FileJournal(path)
    except ConfigurationError:
        return
    journal.forget(["a"])
    number = journal.hand_over("new\nfile", Stamp(1, 2))
    journal.close()
    following = FileJournal(path)
    assert following.in_flight[-1] == ("new\nfile", (number, Stamp(1, 2)))


def journal_of(path):
    """A journal as a source leaves it."""
    path.mkdir(exist_ok=True)
    (path / "journal").unlink(missing_ok=True)
    journal = SourceJournal(path)
    journal.note(RunOpened("run", False, 0, None))
    journal.note(Sent(1, (b"\x01", b"\x02")))
    journal.note(FrontierMoved(2, 0, {0: 1}, (), (b"\x01",)))
    journal.close()
    return (path / "journal").read_bytes()


@fuzzed(100)
@given(data=st.data())
def test_any_journal_of_a_source(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "source"
    content = journal_of(folder)
    path = folder / "journal"
    path.write_bytes(data.draw(hostile_files(content)))
    try:
        journal = open_journal(path)
    except ConfigurationError:
        return
    assert isinstance(journal.state, JournalState)


def runs_of(path):
    """Runs as a source leaves them."""
    path.unlink(missing_ok=True)
    kept = UnclosedRuns(path.with_name("no page"), path)
    kept.note([UnclosedRun("run", 7, 1, b"\x91"), UnclosedRun("next", 7, 9)])
    kept.note([UnclosedRun("next", 7, 9)])
    kept.close()
    return path.read_bytes()


@fuzzed(66)
@given(data=st.data())
def test_any_runs_that_are_not_closed(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "runs"
    content = runs_of(path)
    path.write_bytes(data.draw(hostile_files(content)))
    try:
        kept = UnclosedRuns(path.with_name("no page"), path)
    except ConfigurationError:
        return
    assert all(isinstance(run, UnclosedRun) for run in kept.former)
    kept.note(kept.former)
    kept.close()


def record_of(path):
    """A record as a fold leaves it, without what is zero at its end."""
    path.unlink(missing_ok=True)
    record = FoldRecord(path)
    record.note(FoldState((OpenOutputs("s.0", "r", 3),)))
    record.close()
    return path.read_bytes()


@fuzzed(66)
@given(data=st.data())
def test_any_record_of_a_fold(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fold"
    good = record_of(path)
    at = data.draw(st.sampled_from([0, 512, PLACE_BYTES, 512 + PLACE_BYTES]))
    damage = data.draw(st.one_of(st.binary(max_size=60), packed.map(pack_frame)))
    changed = good[:at] + damage + good[at + len(damage) :]
    path.write_bytes(data.draw(st.sampled_from([changed, changed[: at + 60]])))
    try:
        record = FoldRecord(path)
    except ConfigurationError:
        return
    assert isinstance(record.memory, FoldState)
    record.close()


def lives_of(path):
    """The numbers of lives as a replica leaves them."""
    path.unlink(missing_ok=True)
    next_incarnation(path, 1_800_000_000 * 10**9)
    return path.read_bytes()


@fuzzed(66)
@given(data=st.data())
def test_any_numbers_of_lives(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "lives"
    good = lives_of(path)
    at = data.draw(st.sampled_from([0, 512, 1024]))
    damage = data.draw(st.one_of(st.binary(max_size=60), packed.map(pack_frame)))
    changed = good[:at] + damage + good[at + len(damage) :]
    path.write_bytes(data.draw(st.one_of(st.just(changed), damaged(st.just(good)))))
    with contextlib.suppress(ConfigurationError):
        assert next_incarnation(path, 1_900_000_000 * 10**9) >= 1_900_000_000 * 10**9


@fuzzed(66)
@given(data=st.data())
def test_any_note_on_a_suspect(tmp_path_factory, data):
    directory = RunDirectory(tmp_path_factory.getbasetemp() / "run")
    name = ReplicaName("work", 0)
    path = directory.status_page(name).with_name("work.0.suspect")
    path.parent.mkdir(parents=True, exist_ok=True)
    suspect = SuspectNote("s.0", 1, 2, "died")
    leave_suspect(directory, name, suspect)
    path.write_bytes(data.draw(hostile_files(path.read_bytes())))
    found = take_suspect(directory, name)
    assert found is None or isinstance(found, SuspectNote)


# Chain files


CHAIN = b"""
[chain]
name = "powder"
env = { A = "1" }

[stages.images]
listener = "own:Images"
options = { directory = "${DATA:-images}", pattern = "*.tif" }
window = 100
window_bytes = "256 MiB"

[stages.integrate]
operator = "own:Integrate"
inputs = ["images"]
replicas = 2
dispatch = "key:detector"
on_error = "retry:3"

[stages.live]
publisher = "own:Live"
inputs = [{ stage = "integrate", link = "pub-sub" }]
listen = "tcp://127.0.0.1:5000"
backoff_s = "5 s"

[supervisor]
stop_timeout_s = 3
"""


def survey(path, content):
    path.write_bytes(content)
    try:
        chain, problems, lines = survey_chain(path, {"DATA": "here"})
    except ArroyoError as error:
        assert str(error)
        return
    assert isinstance(chain, Chain)
    for problem in lines.sort(list(problems)):
        assert "\n" not in lines.locate(problem)


@fuzzed(100)
@given(content=st.one_of(st.binary(max_size=80), damaged(st.just(CHAIN))))
def test_any_chain_file(tmp_path_factory, content):
    survey(tmp_path_factory.getbasetemp() / "chain.toml", content)


def keys_in(tables):
    for key, value in tables.items():
        yield key
        if isinstance(value, dict):
            yield from keys_in(value)


toml_values = st.one_of(
    st.integers(-(1 << 62), 1 << 62),
    st.floats(),
    st.booleans(),
    st.text(st.characters(exclude_categories=["C"]), max_size=8),
    st.sampled_from(["images", "own:Images", "key:", "retry:3000", "${", "${A}", "-1 s", "1e9 s"]),
)


@fuzzed(100)
@given(data=st.data())
def test_any_value_at_any_place_of_a_chain_file(tmp_path_factory, data):
    tables = tomllib.loads(CHAIN.decode())
    table = tables
    key = data.draw(st.sampled_from(sorted(table)))
    while isinstance(table[key], dict) and data.draw(st.integers(0, 4)):
        table = table[key]
        key = data.draw(st.sampled_from(sorted(table)))
    inner = st.one_of(toml_values, st.lists(toml_values, max_size=3))
    table[key] = data.draw(
        st.one_of(inner, st.dictionaries(st.sampled_from(sorted(keys_in(tables))), inner))
    )
    survey(tmp_path_factory.getbasetemp() / "chain.toml", as_toml(tables).encode())


def as_toml(tables):
    """Write every table inline, so that a value may stand anywhere."""
    return "".join(f"{json.dumps(key)} = {inline(value)}\n" for key, value in tables.items())


def inline(value):
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)} = {inline(each)}" for key, each in value.items())
        return f"{{ {', '.join(pairs)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    if isinstance(value, float):
        return {"nan": "nan", "inf": "inf", "-inf": "-inf"}.get(repr(value), repr(value))
    return json.dumps(value, ensure_ascii=False)
