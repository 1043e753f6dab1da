"""chain.toml: schema and graph (PURE), one reader, and the run directory."""
