"""The sockets between stages, driven by the protocol's state machines."""
