"""ZeroMQ, to and from programs of other projects: push/pull and publish/subscribe.

Publishers bind and listeners connect unless told otherwise: whoever has the data is the fixed point
that the others look for, as with detectors and their streams. Publishers send three frames,
``[topic][header][payload]``, in the format of `wire_format`.

What waits in a publisher's socket is bounded in bytes as well: see `send_queue`.

ZeroMQ acknowledges nothing. What is in its queues when either end dies is lost, and so is what a
subscriber is too slow for; readers can tell by gaps in ``sequence``.
"""

from .listeners import ZMQListener, ZMQPubSubListener
from .publishers import ZMQPublisher, ZMQPubSubPublisher

__all__ = ["ZMQListener", "ZMQPubSubListener", "ZMQPubSubPublisher", "ZMQPublisher"]
