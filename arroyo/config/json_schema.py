"""The JSON Schema of chain.toml, made of `schema`; ``chain.schema.json`` is a copy. PURE."""

from __future__ import annotations

import msgspec

from .schema import ChainFile


def render_schema() -> str:
    """Return the schema as JSON text for people, the same for each call."""
    schema = msgspec.json.schema(ChainFile)
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"
