import pytest

from arroyo.config.graph import Chain, Stage
from arroyo.config.run_directory import RunDirectory
from arroyo.identifiers import ReplicaName
from arroyo.links.addresses import Addresses


@pytest.fixture
def make(tmp_path):
    def make(**keys):
        stages = {"work": Stage("work", "operator", "own:Work", replicas=2, **keys)}
        chain = Chain("c", tmp_path, tmp_path / "c.toml", stages)
        return Addresses(chain, RunDirectory(tmp_path))

    return make


def test_sockets_are_in_the_run_directory(make, tmp_path):
    addresses, name = make(), ReplicaName("work", 1)
    assert addresses.data(name) == f"ipc://{tmp_path}/in/work.1"
    assert addresses.back(name) == f"ipc://{tmp_path}/back/work.1"
    assert addresses.publication(name) == f"ipc://{tmp_path}/pub/work.1"


def test_each_replica_takes_two_ports_of_a_stage_that_listens(make, tmp_path):
    addresses = make(listen="tcp://daq1:5000")
    found = [
        address(ReplicaName("work", number))
        for number in range(2)
        for address in (addresses.data, addresses.back)
    ]
    assert found == [f"tcp://daq1:{port}" for port in (5000, 5001, 5002, 5003)]
    assert addresses.publication(ReplicaName("work", 0)) == f"ipc://{tmp_path}/pub/work.0"
