import pytest

from arroyo.config.listen import Listen


def test_each_replica_has_two_ports():
    listen = Listen.parse("tcp://[::1]:6000", 2)
    assert listen == Listen("[::1]", range(6000, 6004))
    assert list(listen.ports_of(0)) == [6000, 6001]
    assert list(listen.ports_of(1)) == [6002, 6003]


@pytest.mark.parametrize(
    "text",
    [
        "host:1",
        "tcp://host",
        "tcp://:1",
        "tcp://host:0",
        "tcp://host:65535",
        "ipc://x",
        "tcp://h:x",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match=r"expected|within"):
        Listen.parse(text, 1)


@pytest.mark.parametrize(
    ("one", "other", "port"),
    [
        ("tcp://h:6000", "tcp://h:6001", 6001),
        ("tcp://h:6000", "tcp://h:6002", None),
        ("tcp://h:6000", "tcp://g:6000", None),
        ("tcp://*:6000", "tcp://g:6000", 6000),
        ("tcp://h:6001", "tcp://0.0.0.0:6000", 6001),
    ],
)
def test_two_addresses_meet_on_a_port_of_one_host(one, other, port):
    first, second = Listen.parse(one, 1), Listen.parse(other, 1)
    assert first.first_common_port(second) == port
    assert second.first_common_port(first) == port
