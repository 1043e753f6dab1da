"""Addresses: which are refused at once, which when the socket is made, and with what words."""

import socket
from contextlib import closing

import pytest
import zmq
from outside import Recorder, opened

from arroyo.connectors import ZMQPublisher, ZMQPubSubListener
from arroyo.errors import ConfigurationError
from arroyo.messages import Event

pytest_plugins = ["zeromq_peers"]


def test_a_port_in_use_is_named_when_the_stage_opens():
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        publisher = ZMQPublisher(port=port)
        with pytest.raises(
            ConfigurationError, match=f"tcp://127.0.0.1:{port} can't be bound: another program"
        ):
            publisher.open()
        publisher.close()


def test_a_path_in_use_is_not_taken_away_from_its_holder(tmp_path, foreign):
    address = f"ipc://{tmp_path}/socket"
    with opened(ZMQPublisher(address)) as first:
        with pytest.raises(ConfigurationError, match="another program has it"):
            ZMQPublisher(address).open()
        pull = foreign(zmq.PULL, connect=address)
        first.publish(Event())
        assert len(pull.recv_multipart()) == 3


def test_a_path_that_a_killed_program_left_is_used_again(tmp_path):
    path = tmp_path / "socket"
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(path))
    with opened(ZMQPublisher(f"ipc://{path}")):
        assert path.exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"address": "tcp://203.0.113.9:5555"}, "no such network"),
        ({"address": "tcp://localhost.invalid:5555"}, "no such network"),
        ({"address": "ipc:///no/such/folder/socket"}, "the folder does not exist"),
        ({"address": "ipc:///" + "x" * 200}, "the path is too long"),
    ],
)
def test_an_address_that_cannot_be_bound_says_why(options, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        ZMQPublisher(**options).open()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "ZMQPublisher needs either address"),
        ({"address": "tcp://127.0.0.1:5555", "port": 5555}, "needs either"),
        ({"address": "tcp://127.0.0.1:5555", "host": "127.0.0.1"}, "needs either"),
        ({"host": "127.0.0.1"}, "needs either"),
        ({"address": "127.0.0.1:5555"}, "no address; write tcp://host:port"),
        ({"address": "http://127.0.0.1:5555"}, "no address"),
        ({"address": "tcp://127.0.0.1"}, "no address"),
        ({"port": 70_000}, "port 70000 .* is beyond 65535"),
        ({"port": -1}, "no address"),
        ({"port": 0, "bind": False}, "must name a host and a port"),
        ({"host": "*", "port": 5555, "bind": False}, "must name a host and a port"),
    ],
)
def test_options_that_make_no_address_are_refused_at_once(options, complaint):
    with pytest.raises(ConfigurationError, match=complaint):
        ZMQPublisher(**options)


def test_an_ipv6_host_is_put_in_brackets():
    assert ZMQPublisher(host="::1", port=5555).address == "tcp://[::1]:5555"


def test_topics_given_as_one_text_are_refused():
    with pytest.raises(ConfigurationError, match="topics = 'det' should be a list"):
        ZMQPubSubListener(Recorder(), port=5555, topics="det")
