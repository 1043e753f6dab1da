"""NATS JetStream, by nats-py."""

from arroyo.connectors.extras import needed_for

with needed_for("the NATS connector", "nats"):
    import nats as nats
