"""Redis: pub/sub, which forgets, and streams, which keep."""

from arroyo.connectors.extras import needed_for

with needed_for("the Redis connector", "redis"):
    import redis as redis
