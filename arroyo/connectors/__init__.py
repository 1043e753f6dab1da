"""One file per outside world.

Each class loads its file, and with it the library of its outside world, when it is first asked
for: importing this package alone loads none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .directory_watch import DirectoryListener
    from .hdf5_files import HDF5Publisher
    from .kafka_listener import KafkaListener
    from .kafka_publisher import KafkaPublisher
    from .nats_listener import NATSListener
    from .nats_publisher import NATSPublisher
    from .rabbitmq_listener import RabbitMQListener
    from .rabbitmq_publisher import RabbitMQPublisher
    from .redis_pubsub import RedisListener, RedisPublisher
    from .redis_stream_publisher import RedisStreamPublisher
    from .redis_streams import RedisStreamListener
    from .synthetic import SyntheticListener
    from .zeromq import ZMQListener, ZMQPublisher, ZMQPubSubListener, ZMQPubSubPublisher

__all__ = [
    "DirectoryListener",
    "HDF5Publisher",
    "KafkaListener",
    "KafkaPublisher",
    "NATSListener",
    "NATSPublisher",
    "RabbitMQListener",
    "RabbitMQPublisher",
    "RedisListener",
    "RedisPublisher",
    "RedisStreamListener",
    "RedisStreamPublisher",
    "SyntheticListener",
    "ZMQListener",
    "ZMQPubSubListener",
    "ZMQPubSubPublisher",
    "ZMQPublisher",
]

_MODULES = {
    "DirectoryListener": "directory_watch",
    "HDF5Publisher": "hdf5_files",
    "KafkaListener": "kafka_listener",
    "KafkaPublisher": "kafka_publisher",
    "NATSListener": "nats_listener",
    "NATSPublisher": "nats_publisher",
    "RabbitMQListener": "rabbitmq_listener",
    "RabbitMQPublisher": "rabbitmq_publisher",
    "RedisListener": "redis_pubsub",
    "RedisPublisher": "redis_pubsub",
    "RedisStreamListener": "redis_streams",
    "RedisStreamPublisher": "redis_stream_publisher",
    "SyntheticListener": "synthetic",
    "ZMQListener": "zeromq",
    "ZMQPubSubListener": "zeromq",
    "ZMQPubSubPublisher": "zeromq",
    "ZMQPublisher": "zeromq",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
