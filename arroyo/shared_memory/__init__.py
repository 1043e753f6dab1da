"""Large payloads in shared memory: whose slab is whose, and the files they lie in."""
