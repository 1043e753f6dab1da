"""Parsers by name, and listeners that get messages which can't be read."""

from __future__ import annotations

import ast
import json
import logging
import zlib
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from outside import Recorder

from arroyo.connectors import parsing
from arroyo.connectors.parsing import (
    ParsingListener,
    RawParser,
    TolerantParser,
    check_texts,
    make_parser,
)
from arroyo.connectors.wire_format import OutwardParser
from arroyo.errors import ConfigurationError, DecodeError, EncodeError
from arroyo.messages import Event
from arroyo.stages import MessageParser
from arroyo.testing import FakeClock


class StrictJSON(MessageParser):
    """As a user would write one, without a thought of broken input."""

    def parse(self, frames):
        header = json.loads(bytes(frames[0]))
        assert header.get("version", 1) == 1
        return Event({"value": header["value"] + 100 // int(header.get("rows", 1000))})


class TakesTwo(MessageParser):
    def parse(self, topic, frames):
        pass


class Refusing(Recorder):
    """An operator to which one message can't be sent."""

    def process(self, message, token=None):
        if token == "spoilt":
            raise EncodeError("metadata holds a set")
        super().process(message, token)


class Ears(ParsingListener):
    def __init__(self, operator):
        super().__init__(operator)
        self._parser = TolerantParser(StrictJSON(), FakeClock())
        self.passed = []

    def start(self):
        for frame, token in (
            (b'{"value": 1}', "first"),
            (b"?", "second"),
            (b'{"value": 3}', "spoilt"),
        ):
            self.passed.append(self._pass_on([frame], token, f"message {token}"))

    def stop(self):
        pass


def test_a_listener_has_kept_what_it_can_not_read_or_send_on():
    ears, kept = Ears(Refusing()), []
    ears.have_refused_kept(lambda *each: kept.append(each))
    ears.start()
    assert [(frames, name) for frames, name, _ in kept] == [
        ([b"?"], "message second"),
        ([b'{"value": 3}'], "message spoilt"),
    ]
    assert kept[0][2].startswith("JSONDecodeError: ")
    assert kept[1][2] == "metadata holds a set"


def test_a_listener_counts_what_it_can_not_read_or_send_on(caplog):
    recorder = Refusing()
    listener = Ears(recorder)
    with caplog.at_level(logging.WARNING):
        listener.start()
    assert listener.passed == [True, False, False]
    assert recorder.messages == [Event({"value": 1})]
    assert recorder.tokens == ["first"]
    assert listener.rejected == 2
    listener.refuse(EncodeError("metadata holds a set"))
    assert listener.rejected == 3
    assert "the last (message second) because JSONDecodeError" in caplog.text


def test_raw_takes_the_last_frame_and_keeps_the_others():
    assert RawParser().parse([b"abc"]) == Event({}, b"abc")
    assert RawParser().parse([b"head", b"\xff", b"abc"]) == Event(
        {"frames": [b"head", b"\xff"]}, b"abc"
    )
    with pytest.raises(DecodeError):
        RawParser().parse([])


def test_raw_names_the_topic_where_the_transport_has_one():
    parser = RawParser(has_topic=True)
    assert parser.parse([b"abc"]) == Event({}, b"abc")
    assert parser.parse([b"det\xff", b"abc"]) == Event({"topic": "det\\xff"}, b"abc")
    assert parser.parse([b"det", b"head", b"abc"]) == Event(
        {"topic": "det", "frames": [b"head"]}, b"abc"
    )


def test_parsers_are_chosen_by_word_by_name_or_as_they_are():
    own = StrictJSON()
    assert make_parser(own) is own
    assert isinstance(make_parser(), OutwardParser)
    assert isinstance(make_parser("arroyo"), OutwardParser)
    assert make_parser("raw", has_topic=True).parse([b"t", b""]).metadata == {"topic": "t"}
    assert isinstance(make_parser("arroyo.connectors.wire_format:OutwardParser"), OutwardParser)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("arroio", 'write "arroyo", "raw" or "module:Class"'),
        (3, "3 is unknown"),
        ("no_such_module:Parser", "No module named 'no_such_module'"),
        ("json:Parser", "'json' has no attribute 'Parser'"),
        ("json:JSONDecoder", "gives a JSONDecoder, expected an arroyo.MessageParser"),
        ("a b:c", "can't be loaded"),
        (f"{__name__}:TakesTwo", r"parse\(topic, frames\) is called with a list of frames"),
    ],
)
def test_a_parser_that_does_not_exist_is_a_configuration_error(spec, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        make_parser(spec)


def test_a_single_text_is_not_taken_for_a_list_of_letters():
    assert check_texts("X", "topics", ["a", "b"]) == ("a", "b")
    for wrong in ("ab", [1]):
        with pytest.raises(ConfigurationError, match=r"X: topics = .* should be a list"):
            check_texts("X", "topics", wrong)


@pytest.mark.parametrize(
    "frame",
    [
        b"{",
        b"{}",
        b"[1]",
        b'{"value": null}',
        b"3",
        b"\xff",
        b"[" * 100_000,
        b'{"value": 1, "rows": 0}',
        b'{"value": 1, "rows": 1e400}',
        b'{"value": 1, "version": 2}',
    ],
)
def test_what_a_users_parser_raises_on_broken_input_is_counted(frame):
    parser = TolerantParser(StrictJSON(), FakeClock())
    assert parser.parse([frame]) is None
    assert parser.parse([]) is None
    assert parser.parse([b'{"value": 4}']) == Event({"value": 4})
    assert parser.rejected == 2


@pytest.mark.parametrize(
    "read",
    [zlib.decompress, ElementTree.fromstring, lambda frame: ast.literal_eval(frame.decode())],
)
def test_so_is_what_the_usual_libraries_raise(read):
    parser = TolerantParser(SimpleNamespace(parse=lambda frames: read(frames[0])), FakeClock())
    assert parser.parse([b"?"]) is None
    assert parser.rejected == 1


def test_a_flood_of_broken_messages_is_logged_once_per_interval(caplog):
    clock = FakeClock()
    parser = TolerantParser(OutwardParser(), clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(1000):
            parser.parse([b"?"])
        assert len(caplog.records) == 1
        clock.advance(parsing.LOG_INTERVAL_S)
        parser.parse([b"?"])
    assert [record.args[0] for record in caplog.records] == [1, 1000]
    assert parser.rejected == 1001
