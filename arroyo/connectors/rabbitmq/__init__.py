"""RabbitMQ, by pika."""

from arroyo.connectors.extras import needed_for

with needed_for("the RabbitMQ connector", "rabbitmq"):
    import pika as pika
