"""How many messages a listener asks for."""

from arroyo.connectors.rabbitmq.prefetch import Prefetch


def test_a_listener_asks_for_more_when_it_knows_how_large_they_are():
    prefetch = Prefetch(None)
    assert (prefetch.first, prefetch.more) == (16, 0)
    assert [prefetch.note(1000) for _ in range(16)] == [False] * 15 + [True]
    assert prefetch.more == 8000 - 16


def test_a_listener_asks_for_less_when_they_get_large():
    prefetch = Prefetch(None)
    for _ in range(16):
        prefetch.note(1000)
    assert prefetch.note(8 << 20)
    assert prefetch.more == 32 - 16
    assert not prefetch.note(9 << 20)
    assert prefetch.note(100 << 20)
    assert prefetch.more == 0


def test_a_listener_asks_for_what_was_said():
    prefetch = Prefetch(50)
    assert not any(prefetch.note(100 << 20) for _ in range(100))
    assert (prefetch.first, prefetch.more) == (50, 0)
