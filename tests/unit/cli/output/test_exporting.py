"""Messages from quarantine as files that other programs read."""

import base64
import json

import msgspec
import numpy as np
import pytest
import tifffile
from quarantine_entries import make_entry
from small_disk import small_files

from arroyo.cli.output.exporting import export
from arroyo.codec import MessageCodec
from arroyo.errors import ConfigurationError, UsageError
from arroyo.messages import Event

PACKED = MessageCodec(()).pack(Event({"name": "aa"}, b"1234", "<u2", (2,)))
PIXELS = [0x3231, 0x3433]


def exported(packed, path, **changes):
    """Export a message as JSON, and return what is there."""
    export(make_entry("aa", **changes), packed, path)
    return json.loads(path.read_text())


def test_an_array_is_exported_for_numpy_and_as_an_image(tmp_path):
    for name, read in (("one.npy", np.load), ("one.tif", tifffile.imread)):
        export(make_entry("aa"), PACKED, tmp_path / name)
        assert read(tmp_path / name).tolist() == PIXELS


def test_all_of_a_message_is_exported_as_json(tmp_path):
    found = exported(PACKED, tmp_path / "one.json")
    assert found["metadata"] == {"name": "aa"}
    assert base64.b64decode(found["payload"]) == b"1234"
    assert (found["dtype"], found["shape"]) == ("<u2", [2])
    assert (found["reason"], found["run"]) == ("raised ValueError: no beam", "run")


def test_what_a_user_has_added_to_an_event_is_there_too(tmp_path):
    frame = msgspec.defstruct("Frame", [("gain", float, 1.0)], bases=(Event,))
    packed = MessageCodec([frame]).pack(frame({}, b"", gain=0.5))
    assert exported(packed, tmp_path / "one.json", type="Frame")["fields"] == [0.5]


@pytest.mark.parametrize(
    ("type", "packed", "key", "found"),
    [
        ("Reading", msgspec.msgpack.encode(["Reading", 5, [1.5]]), "fields", [5, [1.5]]),
        ("", msgspec.msgpack.encode([b"frame"]), "frames", [base64.b64encode(b"frame").decode()]),
        ("Reading", b"\xc1", "frame", base64.b64encode(b"\xc1").decode()),
    ],
    ids=["a user's own message", "frames that could not be told apart", "what is no message"],
)
def test_what_is_no_event_is_exported_as_far_as_it_is_known(tmp_path, type, packed, key, found):
    assert exported(packed, tmp_path / "one.json", type=type)[key] == found


def test_fields_that_json_can_not_hold_are_exported_as_python_writes_them(tmp_path):
    packed = msgspec.msgpack.encode(["Reading", {(1, 2): msgspec.msgpack.Ext(5, b"x")}])
    (found,) = exported(packed, tmp_path / "one.json", type="Reading")["fields"]
    assert "Ext object" in found["(1, 2)"]


@pytest.mark.parametrize("bits", [True, [True, False, True]])
def test_a_row_of_bits_is_an_image_too(tmp_path, bits):
    packed = MessageCodec(()).pack(Event.from_array(np.array(bits)))
    export(make_entry("aa"), packed, tmp_path / "one.tif")
    assert tifffile.imread(tmp_path / "one.tif").ravel().tolist() == np.ravel(bits).tolist()


def test_a_file_that_is_there_is_left_alone(tmp_path):
    path = tmp_path / "there.npy"
    path.write_text("precious")
    with pytest.raises(UsageError, match="exists already; choose another name"):
        export(make_entry("aa"), PACKED, path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["one.npy", "one.tif", "one.json"])
def test_where_there_is_no_room_for_all_of_it_nothing_is_left(tmp_path, name):
    large = MessageCodec(()).pack(Event.from_array(np.arange(50_000)))
    with small_files(4096), pytest.raises(ConfigurationError, match="written: File too large"):
        export(make_entry("aa"), large, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("packed", "name", "words"),
    [
        (PACKED, "one.txt", r"none of the suffixes \.npy, \.tif and \.json"),
        (msgspec.msgpack.encode(["Reading", 5]), "one.npy", "aa carries no array; export it to a"),
        (MessageCodec(()).pack(Event()), "one.npy", "aa carries no array"),
        (MessageCodec(()).pack(Event({}, b"123", "<u2", (2,))), "one.npy", "export it to a .json"),
        (msgspec.msgpack.encode(["Event", {}, b"1", "u1", ["a"]]), "one.npy", "export it to a .js"),
        (MessageCodec(()).pack(Event.from_array(np.array(["text"]))), "one.tif", "to a .npy file"),
    ],
)
def test_what_can_not_be_exported_so_is_refused(tmp_path, packed, name, words):
    with pytest.raises(UsageError, match=words):
        export(make_entry("aa"), packed, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match="can't be written: No such file or directory"):
        export(make_entry("aa"), PACKED, tmp_path / "none" / "one.json")
