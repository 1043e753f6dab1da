"""Users' parsers of foreign formats."""

import pytest

from arroyo import Event, MessageParser


class Lengths(MessageParser):
    def parse(self, frames):
        return Event({"lengths": [len(frame) for frame in frames]}) if frames else None


def test_a_parser_makes_a_message_of_frames_or_none():
    assert Lengths().parse([b"ab", memoryview(b"c")]).metadata == {"lengths": [2, 1]}
    assert Lengths().parse([]) is None


def test_one_without_parse_can_not_be_made():
    with pytest.raises(TypeError, match=r"abstract method '?parse"):
        MessageParser()
