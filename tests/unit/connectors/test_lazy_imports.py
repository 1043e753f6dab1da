"""Each connector loads the client library of its own outside world, when it is first asked for."""

import json
import subprocess
import sys

import pytest

import arroyo.connectors

LIBRARIES = {"zmq", "redis", "confluent_kafka", "pika", "nats", "h5py", "numpy", "tifffile"}


def loaded_by(program):
    """Return which client libraries are loaded after a program has run."""
    program += f"; import sys, json; print(json.dumps(sorted({LIBRARIES!r} & set(sys.modules))))"
    command = [sys.executable, "-c", f"import arroyo.connectors as c; {program}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_importing_the_connectors_loads_no_library_of_theirs():
    assert loaded_by("pass") == []


@pytest.mark.parametrize(
    ("name", "libraries"),
    [
        ("DirectoryListener", []),
        ("HDF5Publisher", []),
        ("KafkaListener", ["confluent_kafka"]),
        ("KafkaPublisher", ["confluent_kafka"]),
        ("NATSListener", ["nats"]),
        ("NATSPublisher", ["nats"]),
        ("RabbitMQListener", ["pika"]),
        ("RabbitMQPublisher", ["pika"]),
        ("RedisListener", ["redis"]),
        ("RedisPublisher", ["redis"]),
        ("RedisStreamListener", ["redis"]),
        ("RedisStreamPublisher", ["redis"]),
        ("SyntheticListener", []),
        ("ZMQListener", ["zmq"]),
        ("ZMQPublisher", ["zmq"]),
    ],
)
def test_a_connector_loads_its_own_library_alone(name, libraries):
    assert loaded_by(f"c.{name}") == libraries


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [
        ("KafkaListener", "confluent_kafka", "kafka"),
        ("NATSListener", "nats", "nats"),
        ("NATSPublisher", "nats", "nats"),
        ("RabbitMQPublisher", "pika", "rabbitmq"),
        ("RedisListener", "redis", "redis"),
    ],
)
def test_without_the_library_the_sentence_says_how_to_install_it(name, library, extra):
    program = (
        f"import sys; sys.modules[{library!r}] = None; import arroyo.connectors as c; c.{name}"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    sentence = f'needs {library}, which is not installed: pip install "arroyo[{extra}]"'
    assert sentence in done.stderr.splitlines()[-1]
    assert "ConfigurationError" in done.stderr


def test_a_name_that_does_not_exist_is_an_attribute_error():
    assert not hasattr(arroyo.connectors, "Nothing")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("directory_watch", "DirectoryListener"),
        ("hdf5_files", "HDF5Publisher"),
        ("synthetic", "SyntheticListener"),
        ("zeromq", "ZMQListener"),
        ("zeromq", "ZMQPubSubPublisher"),
    ],
)
def test_module_paths_of_chain_files_in_use_still_work(module, name):
    """They were on the pages before `arroyo.connectors:NAME` was."""
    found = getattr(__import__(f"arroyo.connectors.{module}", fromlist=[name]), name)
    assert found is getattr(arroyo.connectors, name)
