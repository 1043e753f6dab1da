"""Kafka, by confluent-kafka."""

from arroyo.connectors.extras import needed_for

with needed_for("the Kafka connector", "kafka"):
    import confluent_kafka as confluent_kafka
