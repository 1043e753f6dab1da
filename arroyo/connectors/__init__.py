"""Ready-made listeners and publishers: a folder for each outside world, and what they share.

Each class loads its module, and with it the client library of its outside world, when it is
first asked for: importing this package alone loads none of them.

All raise alike. `open()`: ConfigurationError for what only a change of the chain file or of the
environment mends (an option, a secret, a permission, a certificate), UnavailableError for what may
pass (no server, a full disk). `start()`, `publish()` and `flush()`: the same, later on; and of a
single message EncodeError (it can't be expressed), or RefusedError (the other side refuses it).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers, which can't follow `__getattr__`
    from .directory_watch import DirectoryListener as DirectoryListener
    from .hdf5_files import HDF5Publisher as HDF5Publisher
    from .kafka.listener import KafkaListener as KafkaListener
    from .kafka.publisher import KafkaPublisher as KafkaPublisher
    from .nats.listener import NATSListener as NATSListener
    from .nats.publisher import NATSPublisher as NATSPublisher
    from .rabbitmq.listener import RabbitMQListener as RabbitMQListener
    from .rabbitmq.publisher import RabbitMQPublisher as RabbitMQPublisher
    from .redis.pubsub import RedisListener as RedisListener
    from .redis.pubsub import RedisPublisher as RedisPublisher
    from .redis.stream_listener import RedisStreamListener as RedisStreamListener
    from .redis.stream_publisher import RedisStreamPublisher as RedisStreamPublisher
    from .synthetic import SyntheticListener as SyntheticListener
    from .zeromq import ZMQListener as ZMQListener
    from .zeromq import ZMQPublisher as ZMQPublisher
    from .zeromq import ZMQPubSubListener as ZMQPubSubListener
    from .zeromq import ZMQPubSubPublisher as ZMQPubSubPublisher

_MODULES = {
    "DirectoryListener": "directory_watch",
    "HDF5Publisher": "hdf5_files",
    "KafkaListener": "kafka.listener",
    "KafkaPublisher": "kafka.publisher",
    "NATSListener": "nats.listener",
    "NATSPublisher": "nats.publisher",
    "RabbitMQListener": "rabbitmq.listener",
    "RabbitMQPublisher": "rabbitmq.publisher",
    "RedisListener": "redis.pubsub",
    "RedisPublisher": "redis.pubsub",
    "RedisStreamListener": "redis.stream_listener",
    "RedisStreamPublisher": "redis.stream_publisher",
    "SyntheticListener": "synthetic",
    "ZMQListener": "zeromq",
    "ZMQPubSubListener": "zeromq",
    "ZMQPubSubPublisher": "zeromq",
    "ZMQPublisher": "zeromq",
}

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
