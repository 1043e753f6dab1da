"""The listener's threads and the main one, at every place where one may interrupt another."""

import os

import pytest
from interleaving import interleave

from arroyo.codec import Kind, MessageCodec, _writing
from arroyo.config.graph import Stage
from arroyo.messages import Event
from arroyo.runner.intake import (
    input_window,
    waiting_batches,
    window_counts,
    window_lock,
    window_room,
)
from arroyo.runner.intake.input_window import InputWindow
from arroyo.runner.intake.window_counts import Counts

SEEDS = int(os.environ.get("ARROYO_INTERLEAVINGS", "10"))
CODEC = MessageCodec(())
EACH = 8


def make_window(**settings):
    stage = Stage(name="source", role="listener", target="own:Source", **settings)
    return InputWindow(stage, CODEC, None, lambda: None, Counts([0], [0], [0]))


def handing(window, name, with_tokens=()):
    """A listener's thread."""

    def hand_over():
        for index in range(EACH):
            token = f"{name}{index}" if index in with_tokens else None
            window.process(Event({"from": name, "n": index}), token)

    return hand_over


def taking(window, expected, taken):
    """The main thread, which sends what there is, falls asleep in between, and makes room."""

    def take():
        found = 0
        while found < expected:
            while (batch := window.take()) is not None:
                assert batch.kind is Kind.EVENTS
                taken.extend(CODEC.decode(b"\x91" + item, (), ())[0] for item in batch.items)
                found += len(batch.items)
                window.release(len(batch.items), batch.size)
            window.fall_asleep()
            assert 0 <= window.received - found <= expected - found

    return take


@pytest.mark.parametrize("settings", [{}, {"window": 3}], ids=["roomy", "full"])
@pytest.mark.parametrize("with_tokens", [(), (2, 3)], ids=["plain", "tokens"])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_each_message_is_taken_once_in_its_order_whoever_is_interrupted(
    seed, with_tokens, settings
):
    window, taken = make_window(**settings), []
    names = "ab"
    interleave(
        seed,
        [input_window, waiting_batches, window_counts, window_room, window_lock, _writing],
        *(handing(window, name, with_tokens) for name in names),
        taking(window, EACH * len(names), taken),
    )
    for name in names:
        its = [event.metadata["n"] for event in taken if event.metadata["from"] == name]
        assert its == list(range(EACH))
    assert window.received == EACH * len(names)
    assert window.empty
