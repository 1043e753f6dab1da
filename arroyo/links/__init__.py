"""The links between stages, driven by the protocol's state machines."""
