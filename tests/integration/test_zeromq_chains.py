import signal

import pytest
import zmq
from chains import listener, wait_until
from zeromq_peers import endpoint

from arroyo.identifiers import ReplicaName
from arroyo.telemetry.status_page import read_status_page

pytest_plugins = ["zeromq_peers"]
MIB = 1 << 20


@pytest.mark.logs_errors("this stage was asked to stop, and the message stays with its source")
def test_a_stop_is_not_held_up_by_a_receiver_that_does_not_read(foreign, make_chain):
    pull = foreign(zmq.PULL)
    pull.rcvhwm = 1
    pull.bind("tcp://127.0.0.1:*")
    host, port = endpoint(pull).removeprefix("tcp://").split(":")
    chain = make_chain(
        listener("count", events=200, size_bytes=MIB),
        '[stages.out]\npublisher = "arroyo.connectors:ZMQPublisher"\ninputs = ["count"]\n'
        f'options = {{ host = "{host}", port = {port}, bind = false, linger_s = 0.1 }}\n',
    )
    count, out = chain.stage("count"), chain.stage("out")
    page = chain.run_directory.status_page(ReplicaName("out", 0))
    wait_until(lambda: (read_status_page(page) or {"waits": 0})["waits"], chain.text)
    out.send(signal.SIGTERM)
    assert out.wait(60) == 75, chain.text()
    assert "was asked to stop" in chain.text()
    out = chain.stage("out")
    while b'"Stop"' not in pull.recv_multipart()[1]:
        pass
    assert (count.wait(), out.wait()) == (0, 0), chain.text()
