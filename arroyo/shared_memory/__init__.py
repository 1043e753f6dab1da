"""Large payloads in shared memory: slabs, the pools that they are parts of, and their files."""
