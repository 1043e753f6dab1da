"""A chain's figures for Prometheus, served by a process of its own."""
