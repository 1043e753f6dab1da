"""A source: numbers messages, keeps them until they are finished, sends them again. PURE."""
